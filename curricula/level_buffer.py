"""Levels kept in slots, and found again by what they are.

Shape legend: n levels, C slots, d dimensions of the teacher's space.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from quickstudy.curricula.levels import Levels, blank_levels
from quickstudy.envs import rng


def level_keys(levels: Levels) -> Tensor:
    """A 64-bit hash of each level's point and seed, `(n,)`; `practise` is no part of a level."""
    bits_nd = (levels.points + 0.0).view(torch.int64)  # −0 is 0
    dim_d = rng.mix(torch.arange(bits_nd.shape[1]))
    return rng.fold_in(levels.seeds, rng.fold_in(dim_d, bits_nd).sum(1))


def last_of_each(key_n: Tensor) -> Tensor:
    """Where each key stands for the last time, in order."""
    sorted_n, order_n = key_n.sort(stable=True)
    is_last_n = torch.ones_like(key_n, dtype=torch.bool)
    is_last_n[:-1] = sorted_n[1:] != sorted_n[:-1]
    return order_n[is_last_n].sort().values


class LevelBuffer:
    """A fixed number of slots for levels."""

    def __init__(self, capacity: int, dim: int) -> None:
        """All slots are free."""
        self._levels = blank_levels(capacity, dim)
        self._key_C = torch.zeros(capacity, dtype=torch.int64)
        self.used_C = torch.zeros(capacity, dtype=torch.bool)

    def find(self, levels: Levels) -> Tensor:
        """Each level's slot, int64 `(n,)`; −1 where it is in none."""
        key_n = level_keys(levels)
        sorted_C, slot_C = self._key_C.sort()
        at_n = torch.searchsorted(sorted_C, key_n).clamp(max=len(slot_C) - 1)
        found_n = (sorted_C[at_n] == key_n) & self.used_C[slot_C[at_n]]
        return torch.where(found_n, slot_C[at_n], -1)

    def put(self, slot_n: Tensor, levels: Levels) -> None:
        """Keep levels in these slots, in place of what was there."""
        self._levels.points[slot_n] = levels.points
        self._levels.seeds[slot_n] = levels.seeds
        self._key_C[slot_n] = level_keys(levels)
        self.used_C[slot_n] = True

    def free(self, slot_n: Tensor) -> None:
        """Forget what is in these slots."""
        self.used_C[slot_n] = False
        self._key_C[slot_n] = 0

    def levels(self, slot_n: Tensor) -> Levels:
        """What is in these slots, to be practised."""
        return self._levels.rows(slot_n)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything, as tensors of their own."""
        points, seeds = self._levels.points.clone(), self._levels.seeds.clone()
        return {"points": points, "seeds": seeds, "used": self.used_C.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave, into a buffer of the same size."""
        self.free(torch.arange(len(self.used_C)))
        slot = state["used"].nonzero()[:, 0]
        self._levels.points.copy_(state["points"])
        self._levels.seeds.copy_(state["seeds"])
        self.put(slot, self._levels.rows(slot))
