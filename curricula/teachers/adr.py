"""Automatic domain randomisation, ADR (OpenAI et al. 2019, "Solving Rubik's cube", algorithm 1).

Shape legend: n levels, d dimensions; 2 sides, low and high.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.curricula.checks import corner, require_above, require_share
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teacher import Teacher, Told
from quickstudy.envs.errors import require_positive

_OUTWARD_2d = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)


@dataclass(frozen=True)
class ADRConfig:
    """Thresholds are in the unit of the score; their defaults suit a success.

    Sources: flowersteam/meta-acl (`adr.py`, `run.py`) and flowersteam/TeachMyAgent, whose returns
    in [−150, 350] are mapped to [0, 1] here.
    """

    told: ClassVar[Told] = "success"
    easy: tuple[float, ...] = ()
    """The level that all begins with, one number per dimension; by default all 0."""
    boundary: float = 0.5
    """Chance that a level tests a side of the box (OpenAI, meta-acl)."""
    step: float = 0.02
    """How far a side moves, in sides of the cube (OpenAI, meta-acl's default)."""
    queue: int = 10
    """Scores at a side before it may move (meta-acl)."""
    widen: float = 0.76
    """A side moves outwards where their mean is at least this (meta-acl: 230)."""
    narrow: float = 0.3
    """A side moves inwards where their mean is at most this (TeachMyAgent: 0)."""

    def build(self, dim: int, seed: int) -> "ADRTeacher":
        return ADRTeacher(dim, seed, self)


class ADRTeacher(Teacher):
    """Uniform levels from a box that grows around an easy level, side by side.

    A level counts for a side if it lies on it exactly; those proposed before the side moved lie
    there no longer. Inner levels tell nothing.
    """

    def __init__(self, dim: int, seed: int, config: ADRConfig) -> None:
        super().__init__(dim, seed)
        require_positive("queue", config.queue)
        require_share("boundary", config.boundary)
        require_above("step", config.step, 0.0)
        require_above("widen", config.widen, config.narrow)
        self._config = config
        self._side_2d = corner("easy", config.easy, dim, 0.0).repeat(2, 1)
        self._sum_2d = torch.zeros(2, dim, dtype=torch.float64)
        self._count_2d = torch.zeros(2, dim, dtype=torch.int64)

    def box(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest corner, `(d,)` each."""
        return self._side_2d[0].clone(), self._side_2d[1].clone()

    def propose(self, n: int) -> Levels:
        low_d, high_d = self._side_2d
        point_nd = low_d + self._uniform(n, self.dim) * (high_d - low_d)
        tests_n, dim_n, side_n = self._uniform(n, 3).unbind(1)
        row = (tests_n < self._config.boundary).nonzero()[:, 0]
        dim, side = (dim_n[row] * self.dim).long(), (side_n[row] * 2).long()
        point_nd[row, dim] = self._side_2d[side, dim]
        return self._levels(point_nd)

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        for point_d, score in zip(levels.points, score_n.tolist(), strict=True):
            self._take(point_d, score)
        return {"box_side": float((self._side_2d[1] - self._side_2d[0]).mean())}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "side": self._side_2d.clone(),
            "sum": self._sum_2d.clone(),
            "count": self._count_2d.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._side_2d.copy_(state["side"])
        self._sum_2d.copy_(state["sum"])
        self._count_2d.copy_(state["count"])

    def _take(self, point_d: Tensor, score: float) -> None:
        """One level; the order counts, for a side that moves ends what came before."""
        on_2d = self._side_2d == point_d
        self._sum_2d += score * on_2d
        self._count_2d += on_2d
        full_2d = self._count_2d == self._config.queue
        if full_2d.any():
            self._move(full_2d)

    def _move(self, full_2d: Tensor) -> None:
        """Move the sides that were tested often enough, or leave them, and empty their queues."""
        mean_2d = self._sum_2d / self._config.queue
        out_2d = full_2d & (mean_2d >= self._config.widen)
        in_2d = full_2d & (mean_2d <= self._config.narrow)
        moved_2d = self._side_2d + _OUTWARD_2d * self._config.step * (out_2d.long() - in_2d.long())
        low_d = torch.minimum(moved_2d[0], self._side_2d[1])
        high_d = torch.maximum(moved_2d[1], low_d)
        self._side_2d = torch.stack([low_d, high_d]).clamp(0.0, 1.0)
        self._sum_2d[full_2d] = 0.0
        self._count_2d[full_2d] = 0
