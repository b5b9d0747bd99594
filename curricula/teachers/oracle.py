"""The oracle: a window that slides from easy to hard levels, for who knows which is which.

Shape legend: n levels, d dimensions, W scores of the window.
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


@dataclass(frozen=True)
class OracleConfig:
    """Sources: flowersteam/meta-acl (`oracle_teacher.py`, `run.py`)."""

    told: ClassVar[Told] = "success"
    easy: tuple[float, ...] = ()
    """Where the window begins, one number per dimension; by default all 0."""
    hard: tuple[float, ...] = ()
    """Where it ends, one number per dimension; by default all 1."""
    width: float = 1 / 6
    """The window's side, as a share of the way from easy to hard."""
    step: float = 1 / 30
    """How far it moves, as a share of the way (meta-acl's stumps: 0.1 of 3, 0.2 of 6)."""
    threshold: float = 0.76
    """It moves where the mean score is above this, in the unit of the score; the default suits a
    success (meta-acl: a return of 230 in [−150, 350], mapped to [0, 1])."""
    scores: int = 50
    """Scores in that mean."""

    def build(self, dim: int, seed: int) -> "OracleTeacher":
        return OracleTeacher(dim, seed, self)


class OracleTeacher(Teacher):
    """Uniform levels from a box, moved as soon as the student is good in it.

    A dimension in which `easy` equals `hard` keeps that value. Levels outside the window do not
    count, they were proposed before it moved; nor does what else was observed together with the
    score that moved it.
    """

    def __init__(self, dim: int, seed: int, config: OracleConfig) -> None:
        super().__init__(dim, seed)
        require_positive("scores", config.scores)
        require_share("width", config.width)
        require_above("step", config.step, 0.0)
        self._config = config
        self._easy_d = corner("easy", config.easy, dim, 0.0)
        self._way_d = corner("hard", config.hard, dim, 1.0) - self._easy_d
        self._offset = 0.0  # the window's beginning, as a share of the way
        self._score_W = torch.empty(0, dtype=torch.float64)

    def window(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest corner, `(d,)` each."""
        first_d = self._within(torch.zeros_like(self._easy_d))
        last_d = self._within(torch.ones_like(self._easy_d))
        return torch.minimum(first_d, last_d), torch.maximum(first_d, last_d)

    def propose(self, n: int) -> Levels:
        return self._levels(self._within(self._uniform(n, self.dim)))

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        low_d, high_d = self.window()
        inside_n = ((levels.points >= low_d) & (levels.points <= high_d)).all(1)
        self._score_W = torch.cat([self._score_W, score_n[inside_n]])[-self._config.scores :]
        if self._is_mastered():
            self._offset = min(self._offset + self._config.step, 1.0 - self._config.width)
            self._score_W = self._score_W[:0]
        return {"window_offset": self._offset}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"offset": self._offset, "score": self._score_W.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._offset = state["offset"]
        self._score_W = state["score"].clone()

    def _within(self, share: Tensor) -> Tensor:
        """The point at these shares of the window, from its easy end (0) to its hard one (1)."""
        return self._easy_d + (self._offset + self._config.width * share) * self._way_d

    def _is_mastered(self) -> bool:
        enough = len(self._score_W) == self._config.scores
        return enough and bool(self._score_W.mean() > self._config.threshold)
