"""ALP-GMM: practise where the score changes most (Portelas, Colas, Hofmann & Oudeyer 2019).

Shape legend: n levels, d dimensions of the teacher's space.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from quickstudy.curricula.mixtures.em import fit_best
from quickstudy.curricula.mixtures.neighbours import NearestEarlier, NearestRecent
from quickstudy.curricula.mixtures.score_range import require_score_range
from quickstudy.curricula.mixtures.teacher import MixtureTeacher, marginal, require_fit_constants
from quickstudy.curricula.teacher import Mixture, Told
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.nested_state import nested, part

_TOO_FEW = 5
"""With no more levels than this before it, a level counts as no progress."""


@dataclass(frozen=True)
class ALPGMMConfig:
    """The constants of the paper's own code (github.com/flowersteam/teachDeepRL)."""

    told: ClassVar[Told] = "return"
    mode: Literal["paper", "batched"] = "paper"
    """paper: level by level, over all of history; batched: for thousands of levels at once."""
    fit_rate: int = 250
    """New levels between two fits."""
    random_share: float = 0.2
    """Share of uniform levels."""
    min_gaussians: int = 2
    max_gaussians: int = 10
    restarts: int = 1
    """Fits per number of Gaussians, of which the best is kept."""
    memory: int = 8192
    """Levels that batched looks for the nearest among: the last ones."""
    score_range: tuple[float, ...] = ()
    """The lowest and the highest score there can be, where that is known; else those seen."""

    def build(self, dim: int, seed: int) -> "ALPGMMTeacher":
        require_score_range(self.score_range)
        gaussians = self.min_gaussians, self.max_gaussians
        require_fit_constants(self.fit_rate, self.random_share, gaussians, self.restarts)
        require_positive("memory", self.memory)
        if self.mode not in ("paper", "batched"):
            raise unknown("mode", self.mode, ("paper", "batched"))
        return ALPGMMTeacher(self, dim, seed)


class ALPGMMTeacher(MixtureTeacher):
    """Gaussians over (level, absolute learning progress), drawn from by their mean progress.

    Absolute learning progress (ALP) is how far a score is from that of the nearest earlier level,
    as part of `score_range` (or of the range of all scores so far, at the time of the fit), so that
    it is in [0, 1].
    Every `fit_rate` levels, mixtures of `min_gaussians` to `max_gaussians` are fitted to the levels
    since the last fit, and the one of the lowest AIC is kept.

    `paper` follows the paper's code whatever the sizes of the batches: levels are taken one after
    the other, each is compared with all before it, and a fit comes at each `fit_rate`-th level.
    `batched` compares all levels of a batch with those of earlier batches (the last `memory` of
    them) and fits at most once per batch, to all levels since the last fit.
    """

    def __init__(self, config: ALPGMMConfig, dim: int, seed: int) -> None:
        super().__init__(
            dim,
            seed,
            fit_rate=config.fit_rate,
            random_share=config.random_share,
            score_range=config.score_range,
        )
        self._config = config
        self._batched = config.mode == "batched"
        self._memory = NearestRecent(dim, config.memory) if self._batched else NearestEarlier(dim)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **nested("memory", self._memory.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._memory.load_state_dict(part("memory", state))

    def _step(self, n: int) -> int:
        return n if self._batched else super()._step(n)

    def _rows(self, points_nd: Tensor, score_n: Tensor) -> Tensor:
        """Points, and how far their scores are from those of the nearest earlier levels."""
        num_before_n = self.num_observed + torch.arange(len(score_n))
        change_n = (score_n - self._memory.add(points_nd, score_n)).abs().nan_to_num(nan=0.0)
        change_n = torch.where(num_before_n > _TOO_FEW, change_n, 0.0)
        return torch.cat([points_nd, change_n.unsqueeze(1)], dim=1)

    def _fitted(self, rows_nR: Tensor, key: Tensor) -> Mixture:
        config = self._config
        rows_nR[:, -1] = self._range.share(rows_nR[:, -1])
        counts = range(config.min_gaussians, config.max_gaussians + 1)
        fitted = fit_best(rows_nR, counts, key, config.restarts).mixture
        return marginal(fitted, self.dim, fitted.mean_Gd[:, -1].clamp(min=0.0))
