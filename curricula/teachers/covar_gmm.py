"""Covar-GMM: practise where scores rise with time (Moulin-Frier, Nguyen & Oudeyer 2014).

Shape legend: n levels, d dimensions of the teacher's space.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.curricula.mixtures.em import fit_best
from quickstudy.curricula.mixtures.teacher import MixtureTeacher, marginal, require_fit_constants
from quickstudy.curricula.teacher import Mixture, Told


@dataclass(frozen=True)
class CovarGMMConfig:
    """The constants tuned in TeachMyAgent (Romac, Portelas, Hofmann & Oudeyer 2021)."""

    told: ClassVar[Told] = "return"
    fit_rate: int = 150
    """Levels between two fits, each of which is to the levels since the last."""
    random_share: float = 0.1
    """Share of uniform levels."""
    min_gaussians: int = 2
    max_gaussians: int = 14
    restarts: int = 1
    """Fits per number of Gaussians, of which the best is kept."""

    def build(self, dim: int, seed: int) -> "CovarGMMTeacher":
        gaussians = self.min_gaussians, self.max_gaussians
        require_fit_constants(self.fit_rate, self.random_share, gaussians, self.restarts)
        return CovarGMMTeacher(self, dim, seed)


class CovarGMMTeacher(MixtureTeacher):
    """Gaussians over (level, time, score), drawn from by how time and score vary together.

    Time runs from 0 to 1 over the levels since the last fit; scores are parts of the range of all
    scores so far. A Gaussian's learning progress is its covariance of time and score, or 0 where
    that is negative: what is being forgotten is not sought (as ALP-GMM does).
    """

    def __init__(self, config: CovarGMMConfig, dim: int, seed: int) -> None:
        super().__init__(dim, seed, fit_rate=config.fit_rate, random_share=config.random_share)
        self._config = config

    def _rows(self, points_nd: Tensor, score_n: Tensor) -> Tensor:
        return torch.cat([points_nd, score_n.unsqueeze(1)], dim=1)

    def _fitted(self, rows_nR: Tensor, key: Tensor) -> Mixture:
        config, n = self._config, len(rows_nR)
        time_n = torch.arange(n, dtype=torch.float64) / n
        score_n = self._range.unit(rows_nR[:, -1])
        rows_nR = torch.cat([rows_nR[:, :-1], time_n[:, None], score_n[:, None]], dim=1)
        counts = range(config.min_gaussians, config.max_gaussians + 1)
        fitted = fit_best(rows_nR, counts, key, config.restarts).mixture
        return marginal(fitted, self.dim, fitted.covariance_Gdd[:, -2, -1].clamp(min=0.0))
