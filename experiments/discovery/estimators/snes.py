"""Separable natural evolution strategies: every parameter has a σ of its own, which adapts.

Schaul, Glasmachers & Schmidhuber (2011, GECCO), with the utilities and rates of Wierstra et al.
(2014, JMLR 15), in antithetic pairs. The estimate is the natural gradient of the mean, σ Σ u ε, so
a plain step of size 1 is theirs; σ moves in `combine` by exp(η_σ/2 · Σ u (ε² − 1)).

Utilities are ranks among all: a win within each pair, summed over it, says nothing about σ.

Shape legend: M parameters of a rule, p pairs; the 2 rows are the one and the other of each pair.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.experiments.discovery.estimators.estimator import Estimate, Shard
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig
from quickstudy.experiments.discovery.estimators.pairs import (
    SHARD,
    scores,
    steps,
    weighted_perturbations,
)
from quickstudy.experiments.discovery.estimators.shaping import described, ranks
from quickstudy.experiments.discovery.estimators.whole_lives import WholeLivesES


@dataclass(frozen=True)
class SNESConfig:
    """Constants of the natural evolution strategy."""

    pairs: int = 64
    """Antithetic pairs per generation."""
    sigma: float = 0.1
    """Standard deviation of the perturbations at first."""
    sigma_rate: float | None = None
    """η_σ; None: (3 + ln M)/(5 √M), as in the paper."""
    shard: int = SHARD
    """Candidates per piece of work."""

    optimiser: ClassVar[OptimiserConfig] = OptimiserConfig("sgd", 1.0, decay=1.0)

    def build(self, lifetimes: Lifetimes, seed: int) -> "SNES":
        """Raise `ValueError` for constants that make no sense."""
        return SNES(lifetimes, seed, self)


class SNES(WholeLivesES):
    """Natural gradients of a separable normal distribution; its spread is part of the state."""

    def __init__(self, lifetimes: Lifetimes, seed: int, config: SNESConfig) -> None:
        super().__init__(lifetimes, seed, config.pairs, config.sigma, config.shard)
        self.config = config
        size = lifetimes.num_parameters
        self.sigma_M = torch.full((size,), config.sigma, dtype=torch.float64)
        usual = (3.0 + math.log(size)) / (5.0 * math.sqrt(size))
        self._rate = usual if config.sigma_rate is None else config.sigma_rate

    def spread(self) -> Tensor:
        return self.sigma_M

    def combine(self, results: Sequence[Shard]) -> Estimate:
        score_2p, size = scores(results), self.lifetimes.num_parameters
        first_p, second_p = utilities(score_2p)
        mean_M = self.sigma_M * weighted_perturbations(results, first_p - second_p, size)
        both_p = first_p + second_p
        spread_M = weighted_perturbations(results, both_p, size, power=2) - both_p.sum()
        metrics = described(score_2p) | {"sigma": float(self.sigma_M.mean())}
        self.sigma_M = self.sigma_M * (0.5 * self._rate * spread_M).exp()
        self.generation += 1
        return Estimate(mean_M, steps(results), metrics)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"sigma": self.sigma_M}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.sigma_M = state["sigma"]


def utilities(score_2p: Tensor) -> Tensor:
    """What each of λ = 2p candidates counts, `(2, p)`, in all 0 (Wierstra et al. 2014, sec. 3.1).

    u_k ∝ max(0, ln(λ/2 + 1) − ln k), less 1/λ, for the k-th best; the worse half counts alike.
    """
    count = score_2p.numel()
    place_2p = count + 1.0 - ranks(score_2p)
    weight_2p = (math.log(count / 2 + 1) - place_2p.log()).clamp(min=0.0)
    return weight_2p / weight_2p.sum() - 1.0 / count
