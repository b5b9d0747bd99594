"""A discovery in progress: the rule, what moves it, and what it has cost.

Shape legend: M parameters of a rule, n lives.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.experiments.discovery.config import DiscoverConfig, build_estimator, resolve
from quickstudy.experiments.discovery.estimators.estimator import Shard
from quickstudy.experiments.discovery.estimators.optimiser import climb
from quickstudy.experiments.discovery.estimators.pairs import SHARD
from quickstudy.experiments.discovery.estimators.shaping import sound
from quickstudy.experiments.discovery.jobs import estimate_jobs, live_jobs
from quickstudy.experiments.discovery.keys import Purpose, keys
from quickstudy.experiments.discovery.workers import Workers
from quickstudy.experiments.statistics import mean_interval


@dataclass(frozen=True)
class Generation:
    """What one generation brought."""

    metrics: dict[str, float]
    """Functions of configuration and seed alone."""
    seconds: float
    steps: int
    """Environment steps of the estimate and of scoring the centre."""


@dataclass(frozen=True)
class Verdict:
    """What a discovery came to, on n lives that had no part in it."""

    score_n: Tensor
    """Scores of the final rule, life by life, the longest lives first."""
    first_n: Tensor
    """Scores, in the same lives, of the rule that it began with."""
    steps: int
    """Environment steps of both."""

    def figures(self) -> dict[str, float]:
        """Means with their 95 % intervals over lives; the gain is the mean of their differences.

        Only lives that did not break count (for a gain, under neither rule).
        """
        return {
            "final/broken": float((~sound(self.score_n)).sum()),
            **_mean_figures("final/score", self.score_n),
            **_mean_figures("first/score", self.first_n),
            **_mean_figures("final/gain", self.score_n - self.first_n),
        }


class Discovery:
    """Climbs from generation to generation; all that the next depends on is in `state_dict`."""

    def __init__(self, config: DiscoverConfig) -> None:
        """Before the first generation.

        Raises:
            ValueError: for a configuration that cannot be run.
        """
        self.config = config
        self.plan = resolve(config)
        self.estimator = build_estimator(config)
        self.lifetimes = self.estimator.lifetimes
        self.rule = nn.Parameter(self.lifetimes.first_rule(config.seed).clone())
        self.optimiser = self.plan.optimiser.build(self.rule)
        self.generation = 0
        self.steps = 0
        """Environment steps spent on estimates."""
        self.centre_steps = 0
        """Environment steps spent on looking at the rule itself."""

    @property
    def finished(self) -> bool:
        return self.part_done >= 1.0

    @property
    def part_done(self) -> float:
        """How much of the budget is spent, from 0 to 1."""
        return self.plan.part_done(self.generation, self.steps)

    @property
    def centre(self) -> Tensor:
        """The rule as it is, a copy."""
        return self.rule.detach().clone()

    def next_generation(self, workers: Workers) -> Generation:
        """Estimate around the rule, score the rule itself, then take a step.

        Raises:
            ChildProcessError: if a process died.
        """
        began, before = time.perf_counter(), self.steps + self.centre_steps
        own = estimate_jobs(self.estimator.shards(self.centre))
        key_n = keys(self.config.seed, Purpose.CENTRE, self.generation, self.config.centre_lives)
        results = workers.run(own + live_jobs(self.lifetimes, self.centre, key_n, SHARD))
        measures = self._measures()
        metrics = self._climb(results[: len(own)]) | measures
        self.centre_steps += _steps(results[len(own) :])
        metrics |= centre_figures(_scores(results[len(own) :]))
        metrics["centre/steps"] = float(self.centre_steps)
        self.generation += 1
        spent = self.steps + self.centre_steps - before
        return Generation(metrics, time.perf_counter() - began, spent)

    def judge(self, workers: Workers) -> Verdict:
        """The present rule beside the one that the discovery began with, on fresh lives."""
        key_n = keys(self.config.seed, Purpose.CONCLUSION, 0, self.config.final_lives)
        first = self.lifetimes.first_rule(self.config.seed)
        jobs = [live_jobs(self.lifetimes, rule, key_n, SHARD) for rule in (self.centre, first)]
        results = workers.run([*jobs[0], *jobs[1]])
        final, begun = results[: len(jobs[0])], results[len(jobs[0]) :]
        return Verdict(_scores(final), _scores(begun), _steps(results))

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain types."""
        return {
            "preset": self.config.preset,
            "rule": self.centre,
            "optimiser": self.optimiser.state_dict(),
            "estimator": self.estimator.state_dict(),
            "generation": self.generation,
            "steps": self.steps,
            "centre_steps": self.centre_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, in a discovery of the same configuration."""
        self.rule.data.copy_(state["rule"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.estimator.load_state_dict(state["estimator"])
        self.generation = state["generation"]
        self.steps = state["steps"]
        self.centre_steps = state["centre_steps"]

    def _measures(self) -> dict[str, float]:
        """Figures of the rule as it is."""
        measure = self.plan.preset.measure
        found = {} if measure is None else measure(self.plan.lives, self.centre)
        return {f"rule/{name}": value for name, value in found.items()}

    def _climb(self, results: Sequence[Shard]) -> dict[str, float]:
        """One step of the optimiser; the figures are of the rule before it, but for its length."""
        estimate = self.estimator.combine(results)
        assert bool(estimate.gradient_M.isfinite().all())
        rate = self.plan.optimiser.learning_rate_at(self.generation)
        climb(self.optimiser, estimate.gradient_M, rate)
        self.steps += estimate.steps
        metrics = {f"discovery/{name}": value for name, value in estimate.metrics.items()}
        return metrics | {
            "discovery/gradient_norm": float(estimate.gradient_M.norm()),
            "discovery/rule_norm": float(self.rule.detach().norm()),
            "discovery/learning_rate": rate,
        }


def centre_figures(score_n: Tensor) -> dict[str, float]:
    """Mean of a rule's scores and its 95 % interval, over the lives that did not break."""
    broken = float((~sound(score_n)).sum())
    return {"centre/broken": broken} | _mean_figures("centre/score", score_n)


def _mean_figures(name: str, x_n: Tensor) -> dict[str, float]:
    """Mean and interval of what is finite, under three names; nothing of nothing."""
    finite = x_n[sound(x_n)]
    if len(finite) == 0:
        return {}
    interval = mean_interval(finite.numpy())
    return {name: interval.point, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _scores(results: Sequence[Shard]) -> Tensor:
    return torch.cat([result["score"] for result in results])


def _steps(results: Sequence[Shard]) -> int:
    return sum(int(result["steps"].sum()) for result in results)
