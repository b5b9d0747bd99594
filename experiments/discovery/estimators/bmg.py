"""Bootstrapped meta-gradients (Flennerhag et al. 2022, ICLR, arXiv 2109.04504).

K updates are differentiated; L − 1 more, and one step on the true objective, lead to a target
without a graph. The rule is to bring the policy after K updates closer to it:

    g = −∇ KL(π_target ‖ π_K)

It looks K + L updates ahead for the price of differentiating K. The lives go on from where the most
recent update under the rule has led them, K + L − 1 updates on.

Shape legend: P agents, M parameters of a rule.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows, detached
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.estimators.estimator import Shard
from quickstudy.experiments.discovery.estimators.meta_gradient import (
    LivingGradient,
    clipped,
    rule_for_each,
)
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig
from quickstudy.experiments.discovery.estimators.pairs import SHARD
from quickstudy.experiments.discovery.estimators.particles import advance, prefixed, under


@dataclass(frozen=True)
class BMGConfig:
    """Constants of bootstrapped meta-gradients."""

    agents: int = 64
    """Lives side by side."""
    differentiated: int = 3
    """K: updates that are differentiated."""
    target: int = 8
    """L: updates from there to the target, the last one on the true objective."""
    clip: float | None = None
    """The largest norm of one agent's gradient; None: no limit."""
    stagger: bool = True
    """Cut the first lives short, so that all ages are there at any time."""
    shard: int = SHARD
    """Agents per piece of work."""

    optimiser: ClassVar[OptimiserConfig] = OptimiserConfig(learning_rate=1e-3, decay=1.0)

    def build(self, lifetimes: Lifetimes, seed: int) -> "BMG":
        """Raise `ValueError` for constants that make no sense."""
        return BMG(lifetimes, seed, self)


class BMG(LivingGradient):
    """Pulls the policy towards what it will be; near the end of a life the way there is shorter."""

    def __init__(self, lifetimes: Lifetimes, seed: int, config: BMGConfig) -> None:
        require_positive("differentiated", config.differentiated)
        require_positive("target", config.target)
        window = config.differentiated + config.target - 1
        super().__init__(lifetimes, seed, config.agents, window, config.shard, config.stagger)
        self.config = config

    def work(self, shard: Shard) -> Shard:
        before, todo_P = under("life", shard), shard["todo"]
        near_P = todo_P.clamp(max=self.config.differentiated)
        with torch.enable_grad():
            rule_PM = rule_for_each(shard["rule"], len(todo_P))
            rows = advance(self.lifetimes, rule_PM, before, near_P)
            after, target = self._target(rule_PM, rows, todo_P - near_P)
            distance_P = self.lifetimes.divergence(target, rows)
            (gradient_PM,) = torch.autograd.grad(-distance_P.sum(), rule_PM)
        return {
            **prefixed("life", after),
            **self.finished(after),
            "gradient": clipped(gradient_PM.double(), self.config.clip),
            "climbed": -distance_P.detach().double(),
            "steps": (target["steps"] - before["steps"]).sum(),
        }

    def take_in(self, whole: Shard) -> dict[str, float]:
        distance_P = -whole["climbed"]
        return {"distance_to_target": float(distance_P[distance_P.isfinite()].mean())}

    @torch.no_grad()
    def _target(self, rule_PM: Tensor, rows: Rows, todo_P: Tensor) -> tuple[Rows, Rows]:
        """Where the rule leads from here, and where the true objective leads from there."""
        after = advance(self.lifetimes, rule_PM, detached(rows), todo_P)
        return after, detached(self.lifetimes.improve(after))
