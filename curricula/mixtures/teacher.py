"""What teachers that draw levels from a mixture of Gaussians, refitted at times, have in common.

Shape legend: n levels, d dimensions of the teacher's space, G Gaussians, R columns of a row.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.curricula.checks import require_share
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.mixtures.em import draw
from quickstudy.curricula.mixtures.fitted import FittedMixture, packed, unpacked
from quickstudy.curricula.mixtures.score_range import ScoreRange, bounded
from quickstudy.curricula.teacher import Mixture, Teacher
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive
from quickstudy.envs.nested_state import nested, part

_FITS = -1
"""The branch of the teacher's key that fits draw from; proposals have 0, 1, 2, …"""


class MixtureTeacher(Teacher):
    """Some levels uniform, the others from a mixture fitted to what was last observed.

    All levels are uniform until the first fit. What a fit draws depends on the seed and the number
    of fits before it, what a proposal draws on the seed and the number of calls of `propose`
    before: neither depends on how the levels observed are cut into batches.
    """

    history: list[FittedMixture]
    """The mixtures fitted so far; the last is the present one."""
    num_observed: int

    def __init__(
        self,
        dim: int,
        seed: int,
        *,
        fit_rate: int,
        random_share: float,
        score_range: tuple[float, ...] = (),
    ) -> None:
        """Fit when `fit_rate` new levels have been observed."""
        super().__init__(dim, seed)
        self.history = []
        self.num_observed = 0
        self._fit_rate = fit_rate
        self._random_share = random_share
        self._range = ScoreRange(*score_range)
        self._pending: list[Tensor] = []

    @abstractmethod
    def _rows(self, points_nd: Tensor, score_n: Tensor) -> Tensor:
        """What a fit needs of new levels, `(n, R)`."""

    @abstractmethod
    def _fitted(self, rows_nR: Tensor, key: Tensor) -> Mixture:
        """The mixture for these rows, weighted by learning progress."""

    def propose(self, n: int) -> Levels:
        present = self.mixture()
        if present is None:
            return self._anywhere(n)
        choice_n2 = self._uniform(n, 2)
        drawn_nd = draw(present, choice_n2[:, 0], self._normal(n, self.dim))
        anywhere_n1 = choice_n2[:, 1:] < self._random_share
        return self._levels(torch.where(anywhere_n1, self._uniform(n, self.dim), drawn_nd))

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        points_nd, score_n = levels.points, bounded(score_n)
        while len(points_nd):
            step = self._step(len(points_nd))
            self._take(points_nd[:step], score_n[:step])
            points_nd, score_n = points_nd[step:], score_n[step:]
        present = self.mixture()
        if present is None:
            return {"gaussians": 0.0, "learning_progress": 0.0}
        progress = float(present.weight_G.mean())
        return {"gaussians": float(len(present.weight_G)), "learning_progress": progress}

    def mixture(self) -> Mixture | None:
        """The mixture over the task's dimensions, weighted by learning progress.

        Where all weights are 0, each Gaussian is drawn from as often as the others.
        """
        return self.history[-1].mixture if self.history else None

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "num_observed": self.num_observed,
            "pending": self._pending_rows(),
            "range": self._range.state_dict(),
            **nested("history", packed(self.history, self.dim)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.num_observed = state["num_observed"]
        self._pending = [state["pending"]]
        self._range.load_state_dict(state["range"])
        self.history = unpacked(part("history", state))

    def _step(self, n: int) -> int:
        """How many of `n` levels to take in before it may be time to fit: up to the very level."""
        return min(n, self._fit_rate - self._num_pending())

    def _take(self, points_nd: Tensor, score_n: Tensor) -> None:
        self._range.add(score_n)
        self._pending.append(self._rows(points_nd, score_n))
        self.num_observed += len(points_nd)
        if self._num_pending() >= self._fit_rate:
            key = rng.fold_in(rng.fold_in(self._key, _FITS), len(self.history))
            mixture = self._fitted(self._pending_rows(), key)
            self.history.append(FittedMixture(self.num_observed, mixture))
            self._pending = []

    def _num_pending(self) -> int:
        return sum(len(rows_nR) for rows_nR in self._pending)

    def _pending_rows(self) -> Tensor:
        empty = self._rows(torch.empty(0, self.dim).double(), torch.empty(0).double())
        return torch.cat([empty, *self._pending])


def marginal(mixture: Mixture, dim: int, weight_G: Tensor) -> Mixture:
    """The mixture over the first `dim` dimensions, weighted anew."""
    return Mixture(weight_G, mixture.mean_Gd[:, :dim], mixture.covariance_Gdd[:, :dim, :dim])


def require_fit_constants(
    fit_rate: int, random_share: float, gaussians: Sequence[int], restarts: int
) -> None:
    """Raise `ValueError` for constants of a fit that make no sense."""
    require_positive("fit_rate", fit_rate)
    require_positive("restarts", restarts)
    require_share("random_share", random_share)
    least, most = gaussians
    if not 1 <= least <= most:
        raise ValueError(
            "min_gaussians must be at least 1 and at most max_gaussians, "
            f"got {least!r} and {most!r}."
        )
