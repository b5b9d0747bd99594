"""PPO whose entropy bonus and discount are learned functions of the lifetime.

Both are straight lines between knots that divide a life into equal parts:

    entropy coefficient = c·exp(a(n/N)),   discount = σ(logit γ + b(n/N))

so that a rule of zeros is PPO with c and γ. What such a schedule looks like tells what its
estimator could see: gradients through a few updates are said to give near-static ones (Jackson et
al. 2024).

Shape legend: P rules (or none), M parameters, K knots, T time, B worlds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.objectives.layout import Layout
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.envs.errors import require_positive


@dataclass(frozen=True)
class ScheduleConfig:
    """Where a schedule starts from, and how finely it may change."""

    entropy_coefficient: float = 0.01
    """c."""
    discount: float = 0.99
    """γ."""
    knots: int = 5
    """K; the first at n/N = 0, the last at 1. With 1 nothing changes over a life."""

    def __post_init__(self) -> None:
        require_positive("knots", self.knots)
        if not self.entropy_coefficient > 0.0 or not 0.0 < self.discount < 1.0:
            raise ValueError(
                "A schedule starts from an entropy coefficient above 0 and a discount between 0 "
                f"and 1, got {self.entropy_coefficient!r} and {self.discount!r}."
            )


class Schedule:
    """The schedule's shape; its parameters are a rule, a row of M = 2 K numbers."""

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        self.layout = Layout({"log_entropy": (config.knots,), "discount_logit": (config.knots,)})

    def first_rule(self, seed: int) -> Tensor:
        """`(M,)` float32: nothing changes."""
        return self.layout.random_row(seed)

    def __call__(self, rule: Tensor, lifetime: Lifetime) -> tuple[Tensor, Tensor]:
        """Entropy coefficient and discount, `()` or `(P,)` each; differentiable in the rule."""
        parts = self.layout.parts(rule)
        share = _knot_shares(lifetime.fraction.to(rule), self.config.knots)
        entropy = self.config.entropy_coefficient * (parts["log_entropy"] * share).sum(-1).exp()
        start = torch.logit(torch.tensor(self.config.discount, dtype=torch.float64)).to(rule)
        return entropy, torch.sigmoid(start + (parts["discount_logit"] * share).sum(-1))


def _knot_shares(fraction: Tensor, knots: int) -> Tensor:
    """How much each knot counts, `(…, K)`: the two nearest by distance, in sum 1."""
    position = (fraction * (knots - 1)).unsqueeze(-1)
    distance = (position - torch.arange(knots, device=fraction.device)).abs()
    return (1.0 - distance).clamp(min=0.0)


class ScheduledObjective(PPO):
    """PPO under a given schedule, which stays as it is.

    The learner's scale of rewards goes by the discount of `PPOConfig`, which is only its unit.
    """

    def __init__(self, config: PPOConfig, schedule: Schedule, rule_M: Tensor) -> None:
        super().__init__(config)
        self.schedule = schedule
        self.register_buffer("rule_M", rule_M)
        self.rule_M: Tensor
        self._now: tuple[Tensor, float] | None = None

    def begin_update(self, lifetime: Lifetime) -> None:
        entropy_coefficient, discount = self.schedule(self.rule_M, lifetime)
        self._now = entropy_coefficient, float(discount)

    @property
    def discount(self) -> float:
        assert self._now is not None, "begin_update comes before an update"
        return self._now[1]

    @property
    def entropy_coefficient(self) -> float | Tensor:
        assert self._now is not None, "begin_update comes before an update"
        return self._now[0]
