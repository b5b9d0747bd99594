"""Gradients through a few updates (Xu et al. 2018; Oh et al. 2020; §4.2 of Jackson et al. 2024).

Each generation the agents make K more updates, and what the policies earn then is differentiated
with respect to the rule. Agents live on; what lies beyond the window is not seen, unless a critic
of lives (`lifetime_value.py`) says what gains are worth in the end.

An agent whose gradient is not finite, or beyond all measure, counts as 0 and is replaced.

Shape legend: P agents, M parameters of a rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import (
    DifferentiableLifetimes,
    Lifetimes,
    Rows,
    detached,
    rows_of,
)
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.estimators.estimator import Estimate, Estimator, Shard
from quickstudy.experiments.discovery.estimators.lifetime_value import (
    NUM_FEATURES,
    LifetimeValue,
    features,
    slope,
)
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig
from quickstudy.experiments.discovery.estimators.pairs import SHARD, chunks, steps
from quickstudy.experiments.discovery.estimators.particles import (
    Particles,
    advance,
    prefixed,
    under,
)
from quickstudy.experiments.discovery.estimators.shaping import described, sound


@dataclass(frozen=True)
class MetaGradientConfig:
    """Constants of the gradient through K updates."""

    agents: int = 64
    """Lives side by side (the public code of Jackson et al. has 512)."""
    window: int = 5
    """K: updates per generation, all differentiated."""
    lifetime_value: bool = False
    """Weigh what a window gains by what a critic says is left of it at the end of life."""
    clip: float | None = None
    """The largest norm of one agent's gradient; None: no limit, and no bias from one."""
    stagger: bool = True
    """Cut the first lives short, so that all ages are there at any time."""
    shard: int = SHARD
    """Agents per piece of work."""

    optimiser: ClassVar[OptimiserConfig] = OptimiserConfig(learning_rate=1e-3, decay=1.0)

    def build(self, lifetimes: Lifetimes, seed: int) -> "MetaGradient":
        """Raise `ValueError` for constants that make no sense."""
        return MetaGradient(lifetimes, seed, self)


class LivingGradient(Estimator):
    """What gradients through windows of lives have in common."""

    lifetimes: DifferentiableLifetimes

    def __init__(
        self, lifetimes: Lifetimes, seed: int, agents: int, window: int, shard: int, stagger: bool
    ) -> None:
        super().__init__(require_differentiable(lifetimes), seed)
        for name, value in {"agents": agents, "window": window, "shard": shard}.items():
            require_positive(name, value)
        self._shard = shard
        self._agents = agents
        self.particles = Particles(
            lifetimes,
            seed,
            agents,
            window,
            sides=("life",),
            memory=self.blank_memory(agents),
            stagger=stagger,
        )

    def shards(self, rule_M: Tensor) -> list[Shard]:
        self.particles.replace_the_dead()
        parts = chunks(self._agents, self._shard)
        return [{"rule": rule_M} | self.particles.shard(part) for part in parts]

    def combine(self, results: Sequence[Shard]) -> Estimate:
        whole = {name: torch.cat([r[name] for r in results]) for name in _per_agent(results[0])}
        broken_P = ~(sound(whole["gradient"]).all(dim=1) & sound(whole["climbed"]))
        metrics = described(whole["final"][whole["ended"]])
        metrics["broken"] = float(broken_P.sum())
        gradient_M = whole["gradient"].where(~broken_P[:, None], 0.0).mean(dim=0)
        metrics |= self.take_in(whole)
        self.particles.go_on({"life": under("life", whole)}, broken_P)
        self.generation += 1
        return Estimate(gradient_M, steps(results), metrics)

    def blank_memory(self, agents: int) -> Rows:
        """What is kept beside each life."""
        return {}

    def take_in(self, whole: Shard) -> dict[str, float]:
        """Learn from all agents' results; returns figures for the log."""
        return {}

    def finished(self, rows: Rows) -> Shard:
        """What the lives that have just ended came to: for the log, so its steps do not count."""
        ended_P = rows["updates"] == rows["total"]
        final_P = torch.full(ended_P.shape, torch.nan, dtype=torch.float64)
        if bool(ended_P.any()):
            with torch.no_grad():
                final_P[ended_P] = self.lifetimes.score(rows_of(rows, ended_P))[0].double()
        return {"ended": ended_P, "final": final_P}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"particles": self.particles.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.particles.load_state_dict(state["particles"])


class MetaGradient(LivingGradient):
    """Differentiates K updates and what the policy earns after them."""

    def __init__(self, lifetimes: Lifetimes, seed: int, config: MetaGradientConfig) -> None:
        sizes = (config.agents, config.window, config.shard, config.stagger)
        self.config = config
        super().__init__(lifetimes, seed, *sizes)
        self.value = LifetimeValue() if config.lifetime_value else None

    def shards(self, rule_M: Tensor) -> list[Shard]:
        shards = super().shards(rule_M)
        if self.value is None:
            return shards
        return [shard | {"coefficients": self.value.coefficients_F} for shard in shards]

    def work(self, shard: Shard) -> Shard:
        before = under("life", shard)
        with torch.enable_grad():
            rule_PM = rule_for_each(shard["rule"], len(shard["todo"]))
            rows = advance(self.lifetimes, rule_PM, before, shard["todo"])
            value_P, cost_P = self.lifetimes.surrogate(rows)
            seen = self._look(rows, shard.get("coefficients"))
            (gradient_PM,) = torch.autograd.grad((seen["weight"] * value_P).sum(), rule_PM)
        rows = detached(rows)
        spent = (rows["steps"] - before["steps"]).sum() + cost_P.sum() + seen.pop("cost").sum()
        return {
            **prefixed("life", rows),
            **self.finished(rows),
            **seen,
            "climbed": value_P.detach().double(),
            "gradient": clipped(gradient_PM.double(), self.config.clip),
            "steps": spent,
        }

    def take_in(self, whole: Shard) -> dict[str, float]:
        """Train the critic on windows that began in sight; remember where this one has ended."""
        if self.value is None:
            return {}
        memory = self.particles.memory
        known_P, *before = memory["seen"].unbind(dim=1)
        known_P = known_P > 0
        at_start_PF = features(before[0], before[1])
        trace_PF = memory["trace"] + at_start_PF.where(known_P[:, None], 0.0)
        now = (whole["fraction"], whole["score"])
        error = self.value.train(
            (before[0][known_P], before[1][known_P]),
            (now[0][known_P], now[1][known_P]),
            whole["ended"][known_P],
            trace_PF[known_P],
        )
        seen_P3 = torch.stack([torch.ones_like(now[0]), *now], dim=1)
        self.particles.memory = {"seen": seen_P3, "trace": trace_PF}
        return {"lifetime_value_error": error}

    def blank_memory(self, agents: int) -> Rows:
        """Of the last look (if there was one, n/N, score), and the critic's trace."""
        if not self.config.lifetime_value:
            return {}
        sizes = {"seen": 3, "trace": NUM_FEATURES}
        return {name: torch.zeros(agents, k, dtype=torch.float64) for name, k in sizes.items()}

    def state_dict(self) -> dict[str, Any]:
        critic = {} if self.value is None else {"value": self.value.state_dict()}
        return super().state_dict() | critic

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.value is not None:
            self.value.load_state_dict(state["value"])

    def _look(self, rows: Rows, coefficients_F: Tensor | None) -> Shard:
        """Where the agents are now, and how much a gain would be worth there."""
        if coefficients_F is None:
            nothing_P = torch.zeros(len(rows["updates"]), dtype=torch.int64)
            return {"weight": torch.ones(len(nothing_P)), "cost": nothing_P}
        with torch.no_grad():
            score_P, cost_P = self.lifetimes.score(detached(rows))
        fraction_P = rows["updates"].double() / rows["total"].double()
        over_P = rows["updates"] == rows["total"]
        return {
            "weight": slope(coefficients_F, fraction_P).where(~over_P, 1.0),
            "fraction": fraction_P,
            "score": score_P,
            "cost": cost_P,
        }


def rule_for_each(rule_M: Tensor, count: int) -> Tensor:
    """`(P, M)`: a leaf for each agent, so that one that breaks spoils no other's gradient."""
    return rule_M.detach().expand(count, -1).clone().requires_grad_()


def clipped(gradient_PM: Tensor, limit: float | None) -> Tensor:
    """Rows no longer than the limit."""
    if limit is None:
        return gradient_PM
    shrink_P1 = (limit / gradient_PM.norm(dim=1, keepdim=True)).clamp(max=1.0)
    return gradient_PM.mul(shrink_P1)


def require_differentiable(lifetimes: Lifetimes) -> DifferentiableLifetimes:
    """Raise `ValueError` for lifetimes that cannot be differentiated."""
    if not isinstance(lifetimes, DifferentiableLifetimes):
        raise ValueError(
            f"{type(lifetimes).__name__} cannot be differentiated: use an evolution strategy "
            "(open-es, snes, pes or truncated-es)."
        )
    return lifetimes


def _per_agent(result: Shard) -> list[str]:
    return [name for name in result if name != "steps"]
