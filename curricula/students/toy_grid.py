"""The toy student of Meta-ACL: a grid of skills, each learnt only after one beside it.

Portelas et al. 2020 (arXiv 2011.08463, section 5.1); constants as in the authors' code
(`flowersteam/meta-acl`, `classroom_toy_env.py`).

Shape legend: n levels, P test points; a cell is an integer, 20 × column + row.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.student import Student
from quickstudy.envs.errors import unknown

SIDE = 20
"""Cells along each axis."""
FULL = 100
"""A cell's highest competence."""
OPENS = 75
"""The competence at which a cell opens those behind it; above it, the cell is mastered."""
MASTERED = OPENS / FULL
"""Scores above this are mastered."""

ROTATIONS = ("0", "90", "180", "270")


@dataclass(frozen=True)
class ToyGridConfig:
    """Version 1, of four types: skills spread from one corner to the opposite one."""

    rotation: Literal["0", "90", "180", "270"] = "0"
    """By how many degrees a task is turned about the square's centre, counterclockwise; at 0,
    learning starts in the cell at the origin."""

    @property
    def dim(self) -> int:
        return 2

    @property
    def space(self) -> dict[str, Any]:
        return {"name": "toy-grid", "side": SIDE}

    def build(self, seed: int) -> "ToyGrid":
        """Nothing about it is random.

        Raises:
            ValueError: for another rotation.
        """
        del seed  # unused
        if self.rotation not in ROTATIONS:
            raise unknown("rotation", self.rotation, ROTATIONS)
        turned = [_turned(cell, ROTATIONS.index(self.rotation)) for cell in range(SIDE**2)]
        cell_at = {place: cell for cell, place in enumerate(turned)}
        steps = [(1, 0), (0, 1), (1, 1)]
        behind = [_beside(turned[cell], steps, cell_at) for cell in range(SIDE**2)]
        return ToyGrid(cell_at[0, 0], behind)


@dataclass(frozen=True)
class ToyGridV2Config:
    """Version 2, of 400 types: skills spread from any cell to the four beside it."""

    column: int = 0
    """The start cell's place along the first axis, 0 … 19."""
    row: int = 0
    """Its place along the second axis."""

    @property
    def dim(self) -> int:
        return 2

    @property
    def space(self) -> dict[str, Any]:
        return {"name": "toy-grid-v2", "side": SIDE}

    def build(self, seed: int) -> "ToyGrid":
        """Nothing about it is random.

        Raises:
            ValueError: for a start cell outside the grid.
        """
        del seed  # unused
        if not (0 <= self.column < SIDE and 0 <= self.row < SIDE):
            raise ValueError(
                f"column and row must be 0 to {SIDE - 1}, got {self.column} and {self.row}."
            )
        cell_at = {divmod(cell, SIDE): cell for cell in range(SIDE**2)}
        steps = [(1, 0), (0, 1), (-1, 0), (0, -1)]
        behind = [_beside(divmod(cell, SIDE), steps, cell_at) for cell in range(SIDE**2)]
        return ToyGrid(SIDE * self.column + self.row, behind)


class ToyGrid(Student):
    """Each visit to an open cell adds 1 to its competence, up to 100; the score is competence/100.

    The start cell is open; another is once a cell that it lies behind has a competence of 75.
    """

    def __init__(self, start: int, behind: list[list[int]]) -> None:
        """Know nothing; `behind[cell]` lists the cells that `cell` opens."""
        self._behind = behind
        self._open = [cell == start for cell in range(len(behind))]
        self._competence = [0] * len(behind)
        self._steps = 0

    @property
    def steps(self) -> int:
        return self._steps

    def train(self, levels: Levels) -> Tensor:
        cells = _cells(levels.points).tolist()
        scores = [
            self._visit(cell) if practise else self._competence[cell]
            for cell, practise in zip(cells, levels.practise.tolist(), strict=True)
        ]
        self._steps += len(scores)
        return torch.tensor(scores, dtype=torch.float64) / FULL

    def test(self, point_Pd: Tensor) -> Tensor:
        competence = torch.tensor(self._competence, dtype=torch.float64)
        return competence[_cells(point_Pd)] / FULL

    def _visit(self, cell: int) -> int:
        if self._open[cell] and self._competence[cell] < FULL:
            self._competence[cell] += 1
            if self._competence[cell] == OPENS:
                for other in self._behind[cell]:
                    self._open[other] = True
        return self._competence[cell]


def _cells(point_nd: Tensor) -> Tensor:
    """The cells of points; a point at 1 belongs to the last."""
    column_row = (point_nd * SIDE).long().clamp(max=SIDE - 1)
    return column_row[:, 0] * SIDE + column_row[:, 1]


def _turned(cell: int, quarters: int) -> tuple[int, int]:
    """Where the cell lies after quarter turns about the centre, as (column, row)."""
    column, row = divmod(cell, SIDE)
    for _ in range(quarters):
        column, row = SIDE - 1 - row, column
    return column, row


def _beside(
    place: tuple[int, int], steps: list[tuple[int, int]], cell_at: dict[tuple[int, int], int]
) -> list[int]:
    """The cells that lie these steps from `place`, where the grid has one."""
    places = [(place[0] + step[0], place[1] + step[1]) for step in steps]
    return [cell_at[there] for there in places if there in cell_at]
