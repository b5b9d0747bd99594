"""What a teacher proposes: levels, each a point of the task space and a seed.

Shape legend: n levels, d dimensions of the teacher's space.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Levels:
    """Levels in the teacher's own space, the unit cube; `curricula/curriculum.py` makes them tasks.

    Where a family's tasks have details that a seed decides (the heights of single obstacles, say),
    point and seed together are the same level again, exactly; elsewhere the seed means nothing.
    """

    points: Tensor
    """`(n, d)` float64 in [0, 1]."""
    seeds: Tensor
    """`(n,)` int64 in [0, 2³²)."""
    practise: Tensor
    """`(n,)` bool: False where the student is only to be scored, and must not learn."""

    def __len__(self) -> int:
        return len(self.points)

    def rows(self, index: Tensor) -> "Levels":
        """Those of the levels that `index` (integers, or a mask) names."""
        return Levels(self.points[index], self.seeds[index], self.practise[index])


def blank_levels(n: int, dim: int) -> Levels:
    """`n` levels at the origin under seed 0, to be filled."""
    return Levels(
        torch.zeros(n, dim, dtype=torch.float64),
        torch.zeros(n, dtype=torch.int64),
        torch.ones(n, dtype=torch.bool),
    )


def joined(first: Levels, second: Levels) -> Levels:
    """The levels of both, one after the other."""
    return Levels(
        torch.cat([first.points, second.points]),
        torch.cat([first.seeds, second.seeds]),
        torch.cat([first.practise, second.practise]),
    )
