"""The step that follows an estimate."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from quickstudy.envs.errors import unknown

OptimiserName = Literal["adam", "sgd"]
OPTIMISERS: tuple[OptimiserName, ...] = get_args(OptimiserName)


@dataclass(frozen=True)
class OptimiserConfig:
    """Constants of the outer optimiser."""

    name: OptimiserName = "adam"
    """adam, or sgd: plain steps along the estimate."""
    learning_rate: float = 1e-2
    """Of the first generation (Jackson et al. 2024, as corrected in their repository)."""
    decay: float = 0.999
    """The learning rate is multiplied by this once per generation."""
    floor: float = 1e-5
    """The learning rate falls no lower, unless it is lower to begin with."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for an unknown name, a learning rate or decay not above 0."""
        if self.name not in OPTIMISERS:
            raise unknown("optimiser", self.name, OPTIMISERS)
        for name in ("learning_rate", "decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}.")

    def build(self, rule: nn.Parameter) -> torch.optim.Optimizer:
        """The optimiser, torch's own, of one rule."""
        if self.name == "adam":
            return torch.optim.Adam([rule], lr=self.learning_rate)
        return torch.optim.SGD([rule], lr=self.learning_rate)

    def learning_rate_at(self, generation: int) -> float:
        """The learning rate after so many generations."""
        floor = min(self.floor, self.learning_rate)
        return max(self.learning_rate * self.decay**generation, floor)


def climb(optimiser: torch.optim.Optimizer, gradient_M: Tensor, learning_rate: float) -> None:
    """One step uphill."""
    (group,) = optimiser.param_groups
    (rule,) = group["params"]
    group["lr"] = learning_rate
    rule.grad = -gradient_M.to(rule.dtype)
    optimiser.step()
