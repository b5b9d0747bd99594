"""Keeping what finished trials leave, until somebody asks: as lists, or without a look.

Shape legend: N worlds, R rows of a buffer.
"""

import warnings
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

Rows = dict[str, Tensor]
"""Named columns with as many rows each."""

MOST_ROWS = 2**22
"""Rows of a buffer, unless 16 per world are more: about 250 MB."""


class FinishedRows(Protocol):
    """Rows of finished trials, in the order in which these finished."""

    def add(self, mask_N: Tensor, columns: Mapping[str, Tensor]) -> None:
        """Keep the rows of each column `(N, …)` in which `mask_N` is True."""

    def take(self) -> Rows:
        """What was added since the last call, on the CPU."""

    def clear(self) -> None:
        """Forget it."""

    def __len__(self) -> int:
        """How many were added since."""


class PickedRows:
    """Picks the rows out, where looking costs nothing."""

    def __init__(self, like: Mapping[str, Tensor]) -> None:
        """`like`: columns of the types and shapes to come, `(N, …)`."""
        self._blank = {name: column[:0] for name, column in like.items()}
        self._parts: list[Rows] = []

    def add(self, mask_N: Tensor, columns: Mapping[str, Tensor]) -> None:
        self._parts.append({name: column[mask_N] for name, column in columns.items()})

    def take(self) -> Rows:
        parts = self._parts or [self._blank]
        self._parts = []
        return {name: torch.cat([part[name] for part in parts]) for name in self._blank}

    def clear(self) -> None:
        self._parts.clear()

    def __len__(self) -> int:
        return sum(len(next(iter(part.values()))) for part in self._parts)


class BufferedRows:
    """A fixed buffer on the device, written without a look: `add` never waits for the device.

    It has room for as many trials per world as asked for, but at most 2²² rows (or 16 per world, if
    these are more). What does not fit is left out and counted, and `take` warns of it.
    """

    def __init__(self, like: Mapping[str, Tensor], per_world: int) -> None:
        """`like`: columns of the types and shapes to come, `(N, …)`."""
        num_worlds, device = next((len(c), c.device) for c in like.values())
        self.capacity = min(num_worlds * per_world, max(MOST_ROWS, 16 * num_worlds))
        # The last row takes what is not to be kept.
        self._rows = {
            name: column.new_zeros(self.capacity + 1, *column.shape[1:])
            for name, column in like.items()
        }
        self._count = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, mask_N: Tensor, columns: Mapping[str, Tensor]) -> None:
        slot_N = (self._count - 1 + mask_N.cumsum(dim=0)).clamp(max=self.capacity)
        slot_N = slot_N.masked_fill(~mask_N, self.capacity)
        for name, rows in self._rows.items():
            rows.index_copy_(0, slot_N, columns[name])
        self._count += mask_N.sum()

    def take(self) -> Rows:
        count = int(self._count)
        self._count.zero_()
        if count > self.capacity:
            warnings.warn(
                f"{count - self.capacity} of {count} finished trials are missing from the results: "
                f"there is room for {self.capacity}. Call `finished` more often, or use fewer "
                "worlds.",
                RuntimeWarning,
                stacklevel=3,
            )
        kept = slice(min(count, self.capacity))
        return {name: rows[kept].to("cpu", copy=True) for name, rows in self._rows.items()}

    def clear(self) -> None:
        self._count.zero_()

    def __len__(self) -> int:
        return int(self._count)
