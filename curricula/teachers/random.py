"""No curriculum: uniform levels (domain randomisation)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teacher import Teacher, Told


@dataclass(frozen=True)
class RandomConfig:
    """Uniform levels have no constants."""

    told: ClassVar[Told] = "return"

    def build(self, dim: int, seed: int) -> "RandomTeacher":
        return RandomTeacher(dim, seed)


class RandomTeacher(Teacher):
    """What every other teacher is measured against."""

    def propose(self, n: int) -> Levels:
        return self._anywhere(n)

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        del levels, score_n  # unused
        return {}
