"""The contract of a teacher: it proposes levels and is told how the student did on them.

A teacher knows nothing of families, agents or files. It sees points of the unit cube and one number
per level, the score; what the score means (a return, a success, a gain) is chosen above it.

Shape legend: n levels, d dimensions of the teacher's space, G Gaussians.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from quickstudy.curricula.levels import Levels
from quickstudy.envs import rng
from quickstudy.envs.level_tasks import SEEDS


@dataclass(frozen=True)
class Mixture:
    """Gaussians over the unit cube, to draw levels from and to show in pictures."""

    weight_G: Tensor
    """Chances of being drawn from, in any unit; not negative."""
    mean_Gd: Tensor
    covariance_Gdd: Tensor


class Teacher(ABC):
    """Chooses what a student practises.

    Everything a teacher draws is a function of its seed and of how often it drew before, so a
    teacher restored from `state_dict` goes on bit for bit.
    """

    def __init__(self, dim: int, seed: int) -> None:
        """Teach in the unit cube of `dim` dimensions."""
        self.dim = dim
        self._key = rng.root_key(seed, rng.Stream.TEACHER)
        self._num_draws = 0

    @abstractmethod
    def propose(self, n: int) -> Levels:
        """The next `n` levels, drawn given all that was observed.

        The first ones are the likeliest to be played; those that never are, are dropped in silence.
        """

    @abstractmethod
    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        """Take in levels that were played, in the order in which they ended.

        Args:
            levels: as proposed, though not necessarily all, and some more than once.
            score_n: float64 `(n,)`, finite.

        Returns:
            Figures about the teacher's present state, by name, for the log.
        """

    def state_dict(self) -> dict[str, Any]:
        """Everything that later proposals depend on, as tensors and plain types."""
        return {"num_draws": self._num_draws}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, in a teacher built alike."""
        self._num_draws = state["num_draws"]

    def mixture(self) -> Mixture | None:
        """The Gaussians that levels are drawn from at present; None where there are none."""
        return None

    def _uniform(self, n: int, size: int) -> Tensor:
        """Fresh uniforms `(n, size)`, float64 in [0, 1)."""
        key = rng.fold_in(self._key, self._num_draws)
        self._num_draws += 1
        return rng.uniform(rng.fold_in(key, torch.arange(n)), size)

    def _normal(self, n: int, size: int) -> Tensor:
        """Fresh standard normal draws `(n, size)`, float64."""
        return rng.box_muller(self._uniform(n, 2 * ((size + 1) // 2)))[:, :size]

    def _levels(self, points: Tensor) -> Levels:
        """These points (clipped to the cube) under fresh seeds, all to be practised."""
        seeds = (self._uniform(len(points), 1)[:, 0] * SEEDS).long()
        practise = torch.ones(len(points), dtype=torch.bool)
        return Levels(points.clamp(0.0, 1.0), seeds, practise)

    def _anywhere(self, n: int) -> Levels:
        """Uniform levels."""
        return self._levels(self._uniform(n, self.dim))


Told = Literal["return", "success", "regret"]
"""What kind of score a teacher is made for."""


class TeacherConfig(Protocol):
    """A teacher's constants: a frozen dataclass, one per teacher."""

    told: ClassVar[Told]
    """What it is told where nobody chooses."""

    def build(self, dim: int, seed: int) -> Teacher:
        """The teacher, before its first proposal.

        Raises:
            ValueError: for a constant that makes no sense in `dim` dimensions.
        """
