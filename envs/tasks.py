"""What a task is: named parameters with units, and the splits tasks are drawn from.

Shape legend: N worlds (or tasks), D task parameters.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.errors import unknown

SPLIT_SEED = 20261121
"""Fixes which cells of a task space are held out; part of every `-v0`."""

NUM_CELLS = 100
TEST_CELLS = 20


@dataclass(frozen=True)
class Parameter:
    """One task parameter: its name, range and unit."""

    name: str
    low: float
    high: float
    unit: str

    def shown(self, value: float) -> str:
        """A value of it, for people: whole numbers (seeds, signs) whole, others in three digits."""
        return f"{value:.0f}" if value.is_integer() else f"{value:.3g}"


Task = TypeVar("Task")
"""One task of a finite set."""

Listed = tuple[float, ...] | tuple[tuple[float, ...], ...]
"""Tasks one by one: numbers, or tuples of one number per parameter."""


_BELOW_ONE = 1.0 - 2.0**-53


class Table:
    """Numbers that draws look up, on every device they were asked for.

    Moving them at each draw would wait for the device, and could not be part of a captured graph.
    """

    def __init__(self, values: Tensor) -> None:
        self._on = {values.device: values}

    def on(self, device: torch.device) -> Tensor:
        """The table on a device, the same tensor at each call."""
        if device not in self._on:
            self._on[device] = next(iter(self._on.values())).to(device)
        return self._on[device]


class TaskSpace(ABC):
    """The tasks of a family and their named splits."""

    parameters: tuple[Parameter, ...]
    seeded: bool = False
    """True where the last parameter is a seed that decides details of the task."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits this space has, of `train`, `test` and `ood`."""

    @abstractmethod
    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        """Tasks `(N, D)` for uniforms `(N, D)`."""

    @abstractmethod
    def _list(self, split: str, num_tasks: int, key: Tensor) -> Tensor:
        """`num_tasks` tasks `(num_tasks, D)` that cover the split evenly."""

    @abstractmethod
    def contains(self, split: str, task_ND: Tensor) -> Tensor:
        """True, `(N,)`, where a task could have been drawn from the split."""

    @abstractmethod
    def _definition(self) -> object:
        """Everything the splits depend on, as plain JSON types."""

    @property
    def dim(self) -> int:
        return len(self.parameters)

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """The smallest and the largest value of each parameter in any split."""
        return tuple((p.low, p.high) for p in self.parameters)

    def check(self, task_ND: Tensor, num_worlds: int) -> None:
        """Raise `ValueError` unless these are finite tasks `(num_worlds, D)` within the ranges."""
        if task_ND.shape != (num_worlds, self.dim):
            raise _bad_task(self, f"shape {tuple(task_ND.shape)}", num_worlds)
        finite_N = task_ND.isfinite().all(dim=1)
        if not finite_N.all():
            raise _bad_task(self, str(task_ND[~finite_N][0].tolist()), num_worlds)
        self.check_range(task_ND)

    def check_range(self, task_ND: Tensor) -> None:
        """Raise `ValueError` where a parameter is outside the range of all splits; NaN is not."""
        low_D, high_D = torch.tensor(self.ranges, dtype=torch.float64).unbind(1)
        outside = ((task_ND < low_D) | (task_ND > high_D)).nonzero().tolist()
        if outside:
            world, index = outside[0]
            p, value = self.parameters[index], float(task_ND[world, index])
            raise ValueError(
                f"task has {p.name} = {value:g} ({p.unit}), which is outside the range of its "
                f"splits, {low_D[index]:g} to {high_D[index]:g}."
            )

    def check_split(self, split: str) -> None:
        """Raise `ValueError` unless this space has `split`."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)

    def sample(self, split: str, key_N: Tensor) -> Tensor:
        """One task per key, float64 `(N, D)`, independent across keys."""
        self.check_split(split)
        return self._draw(split, rng.uniform(key_N, self.dim))

    def from_unit(self, split: str, u_ND: Tensor) -> Tensor:
        """The split's tasks, float64 `(N, D)`, at these points `(N, D)` of the unit cube.

        Uniform points are independent draws from the split. Along a real parameter the map is
        continuous and rises, but for the gaps that belong to another split.
        """
        self.check_split(split)
        return self._draw(split, u_ND.clamp(max=_BELOW_ONE))

    def listing(self, split: str, num_tasks: int, seed: int) -> Tensor:
        """The fixed list an evaluation uses, float64 `(num_tasks, D)`.

        Finite spaces are covered evenly (task i is value i modulo their number), so both directions
        of a direction family are always there.
        """
        self.check_split(split)
        return self._list(split, num_tasks, rng.root_key(seed, rng.Stream.EVALUATION))

    def digest(self, split: str) -> str:
        """SHA-256 of the split: its definition and its first 256 tasks at seed 0."""
        tasks = self.listing(split, 256, seed=0)
        text = json.dumps([self._definition(), split], sort_keys=True)
        return hashlib.sha256(text.encode() + tasks.numpy().tobytes()).hexdigest()


def task_rows(space: TaskSpace, task: ArrayLike | None, num_worlds: int) -> Tensor:
    """A user's tasks as float64 `(N, D)`: one for all, one per world, or NaN where None is given.

    Raises:
        ValueError: unless `task` is `(D,)` or `(num_worlds, D)` finite numbers, each within the
            range that its parameter has in some split.
    """
    if task is None:
        return torch.full((num_worlds, space.dim), torch.nan, dtype=torch.float64)
    try:
        array = np.array(task, np.float64)
    except (TypeError, ValueError) as error:
        raise _bad_task(space, repr(task), num_worlds) from error
    if array.shape not in {(space.dim,), (num_worlds, space.dim)} or not np.isfinite(array).all():
        raise _bad_task(space, repr(task), num_worlds)
    task_ND = torch.from_numpy(np.broadcast_to(array, (num_worlds, space.dim)).copy())
    space.check_range(task_ND)
    return task_ND


def _bad_task(space: TaskSpace, got: str, num_worlds: int) -> ValueError:
    names = ", ".join(f"{p.name} ({p.unit})" for p in space.parameters)
    per_world = f", or {num_worlds} rows of them" if num_worlds > 1 else ""
    return ValueError(
        f"task must be finite numbers of shape ({space.dim},): {names}{per_world}; got {got}."
    )


class BoxTasks(TaskSpace):
    """A box of real parameters.

    The first parameter's range is cut into 100 cells, of which 20 (chosen by a fixed hash) belong
    to `test` and 80 to `train`: a test task can never be met in training. `ood` is another box.
    """

    def __init__(self, *parameters: Parameter, ood: tuple[tuple[float, float], ...] = ()) -> None:
        """`ood` gives one `(low, high)` per parameter; a space without it has no such split."""
        self.parameters = parameters
        self.ood_bounds = ood
        order = rng.permutation(rng.root_key(SPLIT_SEED, rng.Stream.SPLIT), NUM_CELLS)
        self._cells = {
            "test": Table(torch.sort(order[:TEST_CELLS]).values),
            "train": Table(torch.sort(order[TEST_CELLS:]).values),
        }
        self._bounds = {
            "box": _bounds([(p.low, p.high) for p in parameters]),
            "ood": _bounds(ood),
        }

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test", "ood") if self.ood_bounds else ("train", "test")

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        return _hull(super().ranges, self.ood_bounds or super().ranges)

    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        if split != "ood":
            u_ND = torch.cat([self._into_cells(split, u_ND[:, :1]), u_ND[:, 1:]], dim=1)
        low_D, high_D = self._range(split, u_ND.device)
        return low_D + u_ND * (high_D - low_D)

    def _list(self, split: str, num_tasks: int, key: Tensor) -> Tensor:
        return self._draw(split, rng.uniform(rng.fold_in(key, torch.arange(num_tasks)), self.dim))

    def contains(self, split: str, task_ND: Tensor) -> Tensor:
        low_D, high_D = self._range(split, task_ND.device)
        u_ND = (task_ND - low_D) / (high_D - low_D)
        inside = ((u_ND >= 0) & (u_ND <= 1)).all(dim=1)
        if split == "ood":
            return inside
        cell_N = (u_ND[:, 0] * NUM_CELLS).long().clamp(0, NUM_CELLS - 1)
        return inside & torch.isin(cell_N, self._cells[split].on(task_ND.device))

    def _definition(self) -> object:
        box = [[p.name, p.low, p.high, p.unit] for p in self.parameters]
        test_cells = self._cells["test"].on(torch.device("cpu")).tolist()
        return {"box": box, "ood": self.ood_bounds, "test": test_cells}

    def _range(self, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
        bounds = self._bounds["ood" if split == "ood" else "box"].on(device)
        return bounds[:, 0], bounds[:, 1]

    def _into_cells(self, split: str, u_N1: Tensor) -> Tensor:
        """Uniforms in [0, 1) onto the split's cells, still in [0, 1)."""
        cells = self._cells[split].on(u_N1.device)
        scaled = u_N1 * len(cells)
        index = scaled.long().clamp(max=len(cells) - 1)
        return (cells[index] + (scaled - index)) / NUM_CELLS


class ListedTasks(TaskSpace):
    """A finite set of tasks, drawn with equal chances.

    `train` and `test` share it, unless tasks of their own are listed for `test` (see `hold_out`).
    """

    def __init__(
        self,
        parameter: Parameter | tuple[Parameter, ...],
        values: Listed,
        ood: Listed = (),
        *,
        test: Listed = (),
    ) -> None:
        """A task is a number, or with several parameters a tuple of as many.

        A space without `ood` values has no such split.
        """
        self.parameters = parameter if isinstance(parameter, tuple) else (parameter,)
        self._values = {"train": values, "test": test or values} | ({"ood": ood} if ood else {})
        self._tables = {
            split: Table(torch.tensor(listed, dtype=torch.float64).view(len(listed), self.dim))
            for split, listed in self._values.items()
        }

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._values)

    def _table(self, split: str, device: torch.device | str = "cpu") -> Tensor:
        return self._tables[split].on(torch.device(device))

    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        table = self._table(split, u_ND.device)
        return table[(u_ND[:, 0] * len(table)).long()]

    def _list(self, split: str, num_tasks: int, key: Tensor) -> Tensor:
        del key  # unused: every value appears equally often
        table = self._table(split)
        return table[torch.arange(num_tasks) % len(table)]

    def contains(self, split: str, task_ND: Tensor) -> Tensor:
        listed_1LD = self._table(split, task_ND.device).unsqueeze(0)
        return (task_ND.unsqueeze(1) == listed_1LD).all(dim=2).any(dim=1)

    def _definition(self) -> object:
        rows = [[p.name, p.low, p.high, p.unit] for p in self.parameters]
        values = {split: list(values) for split, values in self._values.items()}
        if len(rows) > 1:
            return {"parameters": rows, "values": values}
        return {"parameter": rows[0], "values": values}


def hold_out(values: tuple[Task, ...]) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """Cut a finite set by the fixed hash: four fifths for `train`, one fifth for `test`.

    Both are in hashed order, so that the first tasks of a listing are spread over the set.
    """
    key = rng.root_key(SPLIT_SEED, rng.Stream.SPLIT)
    order = rng.permutation(key, len(values)).tolist()
    hashed = tuple(values[i] for i in order)
    num_test = round(len(values) * TEST_CELLS / NUM_CELLS)
    return hashed[num_test:], hashed[:num_test]


class PriorTasks(TaskSpace):
    """Independent draws from a uniform prior over a box, the same for `train` and `test`.

    Scores are thus comparable with what is optimal under the prior; nothing is held out but the
    draws themselves, which never coincide: each split draws from its own stream. `ood` is another
    box, which may overlap.
    """

    def __init__(self, *parameters: Parameter, ood: tuple[tuple[float, float], ...]) -> None:
        """`ood` gives one `(low, high)` per parameter."""
        self.parameters = parameters
        own = tuple((p.low, p.high) for p in parameters)
        self._bounds = {"train": own, "test": own, "ood": ood}
        self._tables = {split: _bounds(ranges) for split, ranges in self._bounds.items()}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._bounds)

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        return _hull(super().ranges, self._bounds["ood"])

    def sample(self, split: str, key_N: Tensor) -> Tensor:
        self.check_split(split)
        return super().sample(split, rng.fold_in(key_N, self.splits.index(split)))

    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        low_D, high_D = self._range(split, u_ND.device)
        return low_D + u_ND * (high_D - low_D)

    def _list(self, split: str, num_tasks: int, key: Tensor) -> Tensor:
        return self.sample(split, rng.fold_in(key, torch.arange(num_tasks)))

    def contains(self, split: str, task_ND: Tensor) -> Tensor:
        low_D, high_D = self._range(split, task_ND.device)
        return ((task_ND >= low_D) & (task_ND <= high_D)).all(dim=1)

    def _definition(self) -> object:
        parameters = [[p.name, p.low, p.high, p.unit] for p in self.parameters]
        return {"prior": parameters, "ood": self._bounds["ood"]}

    def _range(self, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
        bounds = self._tables[split].on(device)
        return bounds[:, 0], bounds[:, 1]


def _bounds(ranges: Sequence[tuple[float, float]]) -> Table:
    """Ranges as a table `(D, 2)`."""
    return Table(torch.tensor(ranges, dtype=torch.float64))


def _hull(
    first: tuple[tuple[float, float], ...], second: tuple[tuple[float, float], ...]
) -> tuple[tuple[float, float], ...]:
    """The ranges that hold both boxes."""
    return tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(first, second, strict=True))


class SeedTasks(TaskSpace):
    """Tasks generated from an integer seed: even seeds are `train`, odd ones `test`."""

    def __init__(self, bits: int) -> None:
        """Seeds below 2^`bits`; at most 53 bits, which float64 holds exactly."""
        assert 1 <= bits <= 53
        self._pairs: int = 2 ** (bits - 1)
        self.parameters = (Parameter("seed", 0.0, 2.0**bits - 1.0, "1"),)

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test")

    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        return 2.0 * torch.floor(u_ND * self._pairs) + self.splits.index(split)

    def _list(self, split: str, num_tasks: int, key: Tensor) -> Tensor:
        return self.sample(split, rng.fold_in(key, torch.arange(num_tasks)))

    def contains(self, split: str, task_ND: Tensor) -> Tensor:
        seed_N = task_ND[:, 0]
        in_split = torch.remainder(seed_N, 2.0) == self.splits.index(split)
        return in_split & (seed_N >= 0) & (seed_N < 2 * self._pairs)

    def _definition(self) -> object:
        return {"seeds": 2 * self._pairs, "train": "even", "test": "odd"}
