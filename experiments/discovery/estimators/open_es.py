"""Evolution strategies with antithetic pairs over whole lifetimes.

Salimans et al. (2017, arXiv 1703.03864); the win/lose shaping is that of Jackson et al. (2024,
arXiv 2402.05828, eq. 12):

    g = 1/(2 σ n) Σ_pairs (F̃₊ − F̃₋) ε

With raw scores it is unbiased for the gradient of the score smoothed by the perturbations.

Shape legend: M parameters of a rule, p pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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
from quickstudy.experiments.discovery.estimators.shaping import (
    Shaping,
    described,
    require_shaping,
    shaped,
)
from quickstudy.experiments.discovery.estimators.whole_lives import WholeLivesES


@dataclass(frozen=True)
class OpenESConfig:
    """Constants of the evolution strategy."""

    pairs: int = 64
    """Antithetic pairs per generation (the paper has 512)."""
    sigma: float = 0.1
    """Standard deviation of the perturbations."""
    shaping: Shaping = "pairwise"
    """What counts: pairwise (who of a pair won), centred-ranks (among all), or raw scores."""
    shard: int = SHARD
    """Candidates per piece of work."""

    optimiser: ClassVar[OptimiserConfig] = OptimiserConfig()

    def build(self, lifetimes: Lifetimes, seed: int) -> "OpenES":
        """Raise `ValueError` for constants that make no sense."""
        return OpenES(lifetimes, seed, self)


class OpenES(WholeLivesES):
    """Finite differences along random directions, over whole lives."""

    def __init__(self, lifetimes: Lifetimes, seed: int, config: OpenESConfig) -> None:
        super().__init__(lifetimes, seed, config.pairs, config.sigma, config.shard)
        require_shaping(config.shaping)
        self.config = config

    def spread(self) -> Tensor:
        return torch.tensor(self.config.sigma, dtype=torch.float64)

    def combine(self, results: Sequence[Shard]) -> Estimate:
        score_2p = scores(results)
        first_p, second_p = shaped(score_2p, self.config.shaping)
        weight_p = (first_p - second_p) / (2.0 * self.config.sigma * self.config.pairs)
        gradient_M = weighted_perturbations(results, weight_p, self.lifetimes.num_parameters)
        self.generation += 1
        return Estimate(gradient_M, steps(results), described(score_2p))
