"""What grid-worlds are like, but for where the start and the objects lie.

Shape legend: P tasks, C cells of the largest board (x + size · y), O objects.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.tabular.tabular_tasks import Rows

Cell = tuple[int, int]


class Branch(IntEnum):
    """What is drawn below a task's key."""

    SIZE = 0
    LENGTH = 1
    NUM_OBJECTS = 2
    WALLS = 3
    REWARD = 4
    ENDS = 5
    RESPAWNS = 6
    PLACES = 7


class GridObject(NamedTuple):
    """What the agent collects by stepping on it."""

    reward: float
    ends: float
    """The chance that collecting it ends the episode."""
    respawns: float
    """The chance per step that it is back, once collected."""


class GridRules(ABC):
    """A distribution of boards and objects."""

    @property
    @abstractmethod
    def max_size(self) -> int:
        """Cells along the side of the largest board."""

    @property
    @abstractmethod
    def max_objects(self) -> int:
        """O."""

    @abstractmethod
    def sample(self, key_P: Tensor) -> Rows:
        """For each key: `blocked` (P, C) bool, True for walls and cells beyond the board; `length`
        (P,) int64, steps of an episode; `num_objects` (P,) int64; and `reward`, `ends`, `respawns`
        (P, O) float32 as in `GridObject`.
        """

    def _require_room(self, smallest: int, num_walls: int) -> None:
        """Raise `ValueError` unless the start always finds a cell, and so do all objects on the
        largest board.
        """
        if num_walls >= smallest**2 or num_walls + self.max_objects >= self.max_size**2:
            raise ValueError(
                f"{num_walls} walls and {self.max_objects} objects leave no free cell on a board "
                f"of {smallest} × {smallest} (smallest) or {self.max_size} × {self.max_size} cells."
            )


@dataclass(frozen=True)
class RandomGrids(GridRules):
    """Boards drawn anew for each task; ranges are inclusive.

    The defaults are the distribution that GROOVE and the temporally-aware objectives were trained
    on (mode `all` of EmptyJackson/groove@0c091c0, environments/gridworld/configs.py). As there,
    walls are drawn among all cells of the largest board, so smaller boards have fewer.
    """

    size: tuple[int, int] = (4, 10)
    """Cells along a side, uniform."""
    length: tuple[int, int] = (20, 750)
    """Steps of an episode, log-uniform."""
    num_objects: tuple[int, int] = (1, 5)
    """Uniform."""
    num_walls: int = 15
    """On the largest board."""
    reward: tuple[float, float] = (-1.0, 1.0)
    """Uniform; the first object's from 0 to the upper end."""
    ends: tuple[float, float] = (0.01, 1.0)
    """Log-uniform."""
    respawns: tuple[float, float] = (0.001, 0.1)
    """Log-uniform."""

    def __post_init__(self) -> None:
        for name in ("size", "length", "num_objects", "reward", "ends", "respawns"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be (lowest, highest), got {(low, high)!r}.")
        self._require_room(self.size[0], self.num_walls)

    @property
    def max_size(self) -> int:
        return self.size[1]

    @property
    def max_objects(self) -> int:
        return self.num_objects[1]

    def sample(self, key_P: Tensor) -> Rows:
        size_P, length_P, num_P = (
            _draw(key_P, branch, 1)[:, 0]
            for branch in (Branch.SIZE, Branch.LENGTH, Branch.NUM_OBJECTS)
        )
        reward_PO, ends_PO, respawns_PO = (
            _draw(key_P, branch, self.max_objects)
            for branch in (Branch.REWARD, Branch.ENDS, Branch.RESPAWNS)
        )
        return {
            "blocked": self._blocked(_whole(size_P, *self.size), key_P),
            "length": _log_uniform(length_P, *self.length).round().long(),
            "num_objects": _whole(num_P, *self.num_objects),
            "reward": self._rewards(reward_PO).float(),
            "ends": _log_uniform(ends_PO, *self.ends).float(),
            "respawns": _log_uniform(respawns_PO, *self.respawns).float(),
        }

    def _blocked(self, size_P: Tensor, key_P: Tensor) -> Tensor:
        order_PC = _draw(key_P, Branch.WALLS, self.max_size**2).argsort(dim=1)
        cell_C = torch.arange(self.max_size**2)
        furthest_C = torch.maximum(cell_C % self.max_size, cell_C // self.max_size)
        beyond_PC = furthest_C >= size_P.unsqueeze(1)
        return beyond_PC.scatter(1, order_PC[:, : self.num_walls], True)

    def _rewards(self, u_PO: Tensor) -> Tensor:
        low, high = self.reward
        reward_PO = low + (high - low) * u_PO
        return torch.cat([high * u_PO[:, :1], reward_PO[:, 1:]], dim=1)


@dataclass(frozen=True)
class GridMap(GridRules):
    """One board with the same objects in every task; only places differ."""

    size: int
    """Cells along a side."""
    length: int
    """Steps of an episode."""
    objects: tuple[GridObject, ...]
    walls: tuple[Cell, ...] = ()
    """As (x, y)."""

    def __post_init__(self) -> None:
        self._require_room(self.size, len(self.walls))

    @property
    def max_size(self) -> int:
        return self.size

    @property
    def max_objects(self) -> int:
        return len(self.objects)

    def sample(self, key_P: Tensor) -> Rows:
        count = len(key_P)
        blocked_C = torch.zeros(self.size**2, dtype=torch.bool)
        for x, y in self.walls:
            blocked_C[x + self.size * y] = True
        columns = torch.tensor(self.objects).T.repeat(count, 1, 1).unbind(1)
        return {
            "blocked": blocked_C.repeat(count, 1),
            "length": torch.full((count,), self.length),
            "num_objects": torch.full((count,), len(self.objects)),
            **dict(zip(GridObject._fields, columns, strict=True)),
        }


def places(blocked_PC: Tensor, key_P: Tensor, num_places: int) -> Tensor:
    """Different cells at random, `(P, num_places)` int64: free ones first, as long as there are."""
    order_PC = _draw(key_P, Branch.PLACES, blocked_PC.shape[1]) + blocked_PC
    return order_PC.argsort(dim=1)[:, :num_places]


def _draw(key_P: Tensor, branch: Branch, count: int) -> Tensor:
    return rng.uniform(rng.fold_in(key_P, int(branch)), count)


def _whole(u: Tensor, low: int, high: int) -> Tensor:
    """Integers from low to high, from uniform draws."""
    return low + (u * (high - low + 1)).long()


def _log_uniform(u: Tensor, low: float, high: float) -> Tensor:
    return torch.exp(math.log(low) + math.log(high / low) * u)
