"""Self-paced learning: from easy levels to all, as fast as scores allow (Klink et al. 2020, 2021).

Shape legend: n levels, d dimensions of the teacher's space.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.curricula.checks import corner, require_above
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.mixtures.gaussians import Gaussian, Step, kl_divergence, steepest
from quickstudy.curricula.mixtures.score_range import ScoreRange, bounded
from quickstudy.curricula.teacher import Mixture, Teacher, Told
from quickstudy.envs.errors import require_positive

_LINE = 10
"""Sizes tried along a step: the largest allowed, a half, a quarter, …"""
_NARROWEST = 1e-6
"""The least variance in any direction."""
_LEAST_KL, _MOST_PULL = 1e-10, 1e5
"""Bounds of the authors' code on KL and α where the target is all but reached."""


@dataclass(frozen=True)
class SelfPacedConfig:
    """The constants tuned in TeachMyAgent (Romac et al. 2021), where they know no levels.

    There an update comes every 50 000 steps of the student, which is some hundred levels.
    """

    told: ClassVar[Told] = "return"
    start: tuple[float, ...] = ()
    """Where easy levels are: the first Gaussian's mean, by default the middle of the cube."""
    start_std: float = 0.1
    target: tuple[float, ...] = ()
    """The last Gaussian's mean, by default the middle."""
    target_std: float = 12**-0.5
    """By default that of uniform levels."""
    update_rate: int = 100
    """New levels between two updates."""
    max_kl: float = 0.1
    """Bound on KL(before ‖ after) of an update, in nats."""
    zeta: float = 0.25
    """How strongly the target pulls: ζ in α = ζ · mean score / KL(present ‖ target)."""
    free_updates: int = 10
    """Updates before the target begins to pull (α = 0)."""

    def build(self, dim: int, seed: int) -> "SelfPacedTeacher":
        require_positive("update_rate", self.update_rate)
        if self.free_updates != 0:
            require_positive("free_updates", self.free_updates)
        for name in ("start_std", "target_std", "max_kl", "zeta"):
            require_above(name, getattr(self, name), 0.0)
        return SelfPacedTeacher(self, dim, seed)

    def first(self, dim: int) -> Gaussian:
        """The Gaussian to begin with."""
        return _round(corner("start", self.start, dim, 0.5), self.start_std)

    def last(self, dim: int) -> Gaussian:
        """The Gaussian to end with."""
        return _round(corner("target", self.target, dim, 0.5), self.target_std)


class SelfPacedTeacher(Teacher):
    """Levels from one Gaussian q (clipped to the cube), which moves towards a target.

    An update makes E_q[score] − α KL(q ‖ target) larger, the expectation by importance weights,
    under KL(before ‖ q) ≤ `max_kl`; α is a share ζ of the mean score in units of the distance left
    (Klink, D'Eramo, Peters & Pajarinen 2020, eqs. 7 and 8). As in the authors' code it is one step
    along the natural gradient with a line search; here gradient and Fisher matrix are exact, the
    best of the sizes tried is taken, never one beyond the bound, and the mean score is a baseline
    (it changes no expectation, and takes out noise).

    The score stands for the value of a level, and is taken as part of the range of all scores so
    far and 0. All levels since the last update count as drawn from the present Gaussian; so there
    is at most one update per call of `observe`.
    """

    def __init__(self, config: SelfPacedConfig, dim: int, seed: int) -> None:
        super().__init__(dim, seed)
        self._config = config
        self._present = config.first(dim)
        self._target = config.last(dim)
        self._range = ScoreRange(0.0, 0.0)
        self._points_nd = torch.empty(0, dim, dtype=torch.float64)
        self._score_n = torch.empty(0, dtype=torch.float64)
        self._num_updates = 0

    def propose(self, n: int) -> Levels:
        return self._levels(self._present.drawn(self._normal(n, self.dim)))

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        score_n = bounded(score_n)
        self._range.add(score_n)
        self._points_nd = torch.cat([self._points_nd, levels.points])
        self._score_n = torch.cat([self._score_n, score_n])
        if len(self._score_n) >= self._config.update_rate:
            self._update(self._points_nd, self._range.unit(self._score_n))
            self._points_nd, self._score_n = self._points_nd[:0], self._score_n[:0]
        return {"kl_to_target": kl_divergence(self._present, self._target)}

    def mixture(self) -> Mixture:
        """The present Gaussian."""
        mean_d, covariance_dd = self._present.mean_d, self._present.covariance_dd
        return Mixture(torch.ones(1).to(mean_d), mean_d.unsqueeze(0), covariance_dd.unsqueeze(0))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "mean": self._present.mean_d,
            "covariance": self._present.covariance_dd,
            "points": self._points_nd,
            "scores": self._score_n,
            "range": self._range.state_dict(),
            "num_updates": self._num_updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._present = Gaussian(state["mean"], state["covariance"])
        self._points_nd, self._score_n = state["points"], state["scores"]
        self._range.load_state_dict(state["range"])
        self._num_updates = state["num_updates"]

    def _update(self, points_nd: Tensor, score_n: Tensor) -> None:
        pull = self._pull(float(score_n.mean()))
        self._num_updates += 1
        worth_n = score_n - score_n.mean()
        step = steepest(self._present, points_nd, worth_n)
        step = step.plus(self._present.steepest_to(self._target), pull)
        before_n = self._present.log_density(points_nd)

        def merit(gaussian: Gaussian) -> float:
            ratio_n = (gaussian.log_density(points_nd) - before_n).exp()
            return float((ratio_n * worth_n).mean()) - pull * kl_divergence(gaussian, self._target)

        self._present = max([self._present, *self._within_reach(step)], key=merit)

    def _pull(self, mean_score: float) -> float:
        """α."""
        if self._num_updates < self._config.free_updates:
            return 0.0
        left = max(kl_divergence(self._present, self._target), _LEAST_KL)
        return min(self._config.zeta * mean_score / left, _MOST_PULL)

    def _within_reach(self, step: Step) -> list[Gaussian]:
        """Gaussians along a step, none beyond the bound, the farthest first."""
        if step.length() < 1e-12:
            return []
        size = _largest(self._present, step, self._config.max_kl)
        along = [self._present.stepped(step, size / 2**i) for i in range(_LINE)]
        return [g for g in along if torch.linalg.eigvalsh(g.covariance_dd)[0] > _NARROWEST]


def _largest(gaussian: Gaussian, step: Step, max_kl: float) -> float:
    """The largest size of a step within the bound, to one part in a thousand."""
    low, high = 0.0, math.sqrt(2 * max_kl) / step.length()
    while kl_divergence(gaussian, gaussian.stepped(step, high)) <= max_kl:
        low, high = high, 2 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if kl_divergence(gaussian, gaussian.stepped(step, middle)) <= max_kl:
            low = middle
        else:
            high = middle
    return low


def _round(mean_d: Tensor, std: float) -> Gaussian:
    return Gaussian(mean_d, std**2 * torch.eye(len(mean_d)).to(mean_d))
