"""What the grid families share: a square board, five moves, an agent that sees its own cell only.

Shape legend: N worlds, C cells of the board, O observation features.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs.family import Family, Outcome

Cell = tuple[int, int]
Colour = tuple[int, int, int]

MOVES: tuple[Cell, ...] = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
"""Where each action leads: stay, up (+y), right (+x), down, left."""
STAY, UP, RIGHT, DOWN, LEFT = range(5)

PICTURE_SIZE = 240
LINE, FLOOR, AGENT = (205, 205, 205), (248, 248, 248), (40, 90, 170)
GOAL = (120, 195, 120)


class Mark(NamedTuple):
    """A coloured cell of the picture."""

    cell: Cell
    colour: Colour


class Grid(Family):
    """An agent on a `size` × `size` board of cells (x, y); walls stop it at the edge."""

    size: ClassVar[int]
    start: ClassVar[Cell]
    action_space = spaces.Discrete(5)

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._start_cell = self.start[0] + self.size * self.start[1]
        self._next_cell = next_cells(self.size).to(self.device)
        self._seen_CO = one_hot_cells(self.size).to(self.device)
        # Cells are numbered by rows: x + size · y.
        self._cell_N = torch.full((num_worlds,), self._start_cell, device=self.device)

    @abstractmethod
    def _arrive(self) -> tuple[dict[str, Tensor], Tensor]:
        """Named rewards for being at `self._cell_N`, and where that ends the episode."""

    @abstractmethod
    def _marks(self, world: int) -> list[Mark]:
        """What the picture shows below the agent."""

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        del key_N  # unused: every episode starts at the same cell
        self._cell_N = self._cell_N.masked_fill(mask_N, self._start_cell)

    def _advance(self, action: Tensor) -> Outcome:
        self._cell_N = self._next_cell[self._cell_N * len(MOVES) + action]
        terms, terminated_N = self._arrive()
        return Outcome(terms, terminated_N, self._never_N)

    def _observe(self) -> Tensor:
        return self._seen_CO[self._cell_N]

    def _at(self, x_N: Tensor, y_N: Tensor) -> Tensor:
        """True, `(N,)`, where the agent stands on cell (x, y)."""
        return self._cell_N == x_N + self.size * y_N

    def _move_towards(self, x_N: Tensor, y_N: Tensor) -> Tensor:
        """The action of a shortest path: along x first, then along y, then stay."""
        right_N = (x_N - self._cell_N % self.size).sign()
        up_N = (y_N - self._cell_N // self.size).sign()
        along_x = torch.where(right_N > 0, RIGHT, LEFT)
        along_y = torch.where(up_N > 0, UP, torch.where(up_N < 0, DOWN, STAY))
        return torch.where(right_N != 0, along_x, along_y)

    def state_dict(self) -> dict[str, Tensor]:
        return {"task": self.task_ND.clone(), "cell": self._cell_N.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._cell_N = self._restored(state["cell"])

    def render(self, world: int = 0) -> np.ndarray:
        """The board from above, y upwards: the agent a blue square within its cell."""
        cell = int(self._cell_N[world])
        here = (cell % self.size, cell // self.size)
        return draw_board(self.size, self._marks(world), here)


def next_cells(size: int) -> Tensor:
    """Int64 `(5 C,)`: entry 5 c + a is the cell that action a leads to from cell c."""
    edge = size - 1
    return torch.tensor(
        [
            min(max(x + dx, 0), edge) + size * min(max(y + dy, 0), edge)
            for y in range(size)
            for x in range(size)
            for dx, dy in MOVES
        ]
    )


def one_hot_cells(size: int) -> Tensor:
    """Float32 `(C, O)`: x one-hot, then y one-hot."""
    eye = torch.eye(size)
    return torch.cat([eye.repeat(size, 1), eye.repeat_interleave(size, dim=0)], dim=1)


def board(size: int) -> Iterator[Cell]:
    """All cells, row by row."""
    return ((x, y) for y in range(size) for x in range(size))


def draw_board(size: int, marks: list[Mark], agent: Cell) -> np.ndarray:
    """An RGB picture, uint8 `(240, 240, 3)`."""
    picture = np.empty((PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
    picture[:] = LINE
    for cell in board(size):
        _fill(picture, size, cell, 1, FLOOR)
    for cell, colour in marks:
        _fill(picture, size, cell, 1, colour)
    _fill(picture, size, agent, PICTURE_SIZE // size // 4, AGENT)
    return picture


def _fill(picture: np.ndarray, size: int, cell: Cell, margin: int, colour: Colour) -> None:
    left, right = (PICTURE_SIZE * (cell[0] + i) // size for i in (0, 1))
    top, bottom = (PICTURE_SIZE * (size - 1 - cell[1] + i) // size for i in (0, 1))
    picture[top + margin : bottom - margin, left + margin : right - margin] = colour
