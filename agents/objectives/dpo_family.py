"""DPO's closed form with other constants: what learned drifts are distilled into.

    A ≥ 0:  D = ReLU((r − 1)A − α tanh((r − 1)A/α))
    A < 0:  D = ReLU(log(r) A − β tanh(log(r) A/β))

α and β run straight from what they are at birth (n/N = 0) to what they are at n/N = 1. A rule is
the logarithms of what the four are divided by DPO's: any four numbers make a drift, and a rule of
zeros is DPO (Lu et al. 2022, arXiv 2210.05639).

Shape legend: P rules (or none), M parameters, B any axes of steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.objectives.drifts import DPO_ALPHA, DPO_BETA, clipped, dpo_drift
from quickstudy.agents.objectives.layout import Layout
from quickstudy.agents.objectives.lifetime import Lifetime


@dataclass(frozen=True)
class DPOFamilyConfig:
    """What a rule says beside its drift."""

    entropy_coefficient: float | None = None
    """Weight of the entropy bonus; None: the learner's own stands."""


class DPOFamily:
    """The family's shape; its parameters are a rule, a row of M = 4 numbers."""

    def __init__(self, config: DPOFamilyConfig) -> None:
        self.config = config
        self.layout = Layout({"log_alpha": (2,), "log_beta": (2,)})

    def first_rule(self, seed: int) -> Tensor:
        """`(M,)` float32: DPO, whatever the seed."""
        return self.layout.random_row(seed)

    def ends(self, rule: Tensor) -> tuple[Tensor, Tensor]:
        """α and β at n/N = 0 and 1, `(2,)` or `(P, 2)` each."""
        parts = self.layout.parts(rule)
        return DPO_ALPHA * parts["log_alpha"].exp(), DPO_BETA * parts["log_beta"].exp()

    def __call__(
        self, rule: Tensor, log_ratio: Tensor, advantage: Tensor, lifetime: Lifetime
    ) -> Tensor:
        """D, of the shape of `log_ratio`; arguments as those of `LearnedDrift`."""
        fraction = lifetime.fraction.to(rule)
        alpha, beta = (torch.lerp(ends[..., 0], ends[..., 1], fraction) for ends in self.ends(rule))
        shape = (*alpha.shape, *[1] * (log_ratio.dim() - alpha.dim()))
        return dpo_drift(clipped(log_ratio), advantage, alpha.view(shape), beta.view(shape))

    def entropy_coefficient(self, rule: Tensor) -> Tensor | None:
        """`()`; None where the rule does not say it."""
        weight = self.config.entropy_coefficient
        return None if weight is None else rule.new_tensor(weight)
