"""What a task is: named parameters with units, and the splits tasks are drawn from.

Shape legend: N worlds (or tasks), D task parameters.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
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


class TaskSpace(ABC):
    """The tasks of a family and their named splits."""

    parameters: tuple[Parameter, ...]

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

    def check_split(self, split: str) -> None:
        """Raise `ValueError` unless this space has `split`."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)

    def sample(self, split: str, key_N: Tensor) -> Tensor:
        """One task per key, float64 `(N, D)`, independent across keys."""
        self.check_split(split)
        return self._draw(split, rng.uniform(key_N, self.dim))

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


class BoxTasks(TaskSpace):
    """A box of real parameters.

    The first parameter's range is cut into 100 cells, of which 20 (chosen by a fixed hash) belong
    to `test` and 80 to `train`: a test task can never be met in training. `ood` is another box.
    """

    def __init__(self, *parameters: Parameter, ood: tuple[tuple[float, float], ...]) -> None:
        """`ood` gives one `(low, high)` per parameter."""
        self.parameters = parameters
        self.ood_bounds = ood
        order = rng.permutation(rng.root_key(SPLIT_SEED, rng.Stream.SPLIT), NUM_CELLS)
        self._cells = {
            "test": torch.sort(order[:TEST_CELLS]).values,
            "train": torch.sort(order[TEST_CELLS:]).values,
        }
        self._bounds = {
            "box": torch.tensor([(p.low, p.high) for p in parameters], dtype=torch.float64),
            "ood": torch.tensor(ood, dtype=torch.float64),
        }

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test", "ood")

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
        return inside & torch.isin(cell_N, self._cells[split].to(task_ND.device))

    def _definition(self) -> object:
        box = [[p.name, p.low, p.high, p.unit] for p in self.parameters]
        return {"box": box, "ood": self.ood_bounds, "test": self._cells["test"].tolist()}

    def _range(self, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
        bounds = self._bounds["ood" if split == "ood" else "box"].to(device)
        return bounds[:, 0], bounds[:, 1]

    def _into_cells(self, split: str, u_N1: Tensor) -> Tensor:
        """Uniforms in [0, 1) onto the split's cells, still in [0, 1)."""
        cells = self._cells[split].to(u_N1.device)
        scaled = u_N1 * len(cells)
        index = scaled.long().clamp(max=len(cells) - 1)
        return (cells[index] + (scaled - index)) / NUM_CELLS


class ListedTasks(TaskSpace):
    """A finite set of tasks: `train` and `test` share it (there is nothing to hold out)."""

    def __init__(
        self, parameter: Parameter, values: tuple[float, ...], ood: tuple[float, ...] = ()
    ) -> None:
        """One parameter with these values; a space without `ood` values has no such split."""
        self.parameters = (parameter,)
        self._values = {"train": values, "test": values} | ({"ood": ood} if ood else {})

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._values)

    def _table(self, split: str, device: torch.device | str = "cpu") -> Tensor:
        return torch.tensor(self._values[split], dtype=torch.float64, device=device).unsqueeze(1)

    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        table = self._table(split, u_ND.device)
        return table[(u_ND[:, 0] * len(table)).long()]

    def _list(self, split: str, num_tasks: int, key: Tensor) -> Tensor:
        del key  # unused: every value appears equally often
        table = self._table(split)
        return table[torch.arange(num_tasks) % len(table)]

    def contains(self, split: str, task_ND: Tensor) -> Tensor:
        return torch.isin(task_ND[:, 0], self._table(split, task_ND.device)[:, 0])

    def _definition(self) -> object:
        p = self.parameters[0]
        values = {split: list(values) for split, values in self._values.items()}
        return {"parameter": [p.name, p.low, p.high, p.unit], "values": values}
