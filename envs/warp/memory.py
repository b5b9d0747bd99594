"""Says how many worlds would fit where there are too many."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quickstudy.envs.engine import Capacity
from quickstudy.envs.headless import mujoco
from quickstudy.envs.warp.package import mjw, wp

WORKING_SHARE = 2
"""Solver and integrator take at most about as much again as the state and its derived fields."""


@contextmanager
def told_how_many_fit(
    model: mujoco.MjModel, num_worlds: int, capacity: Capacity, device: Any
) -> Iterator[None]:
    """Turns Warp's failure to allocate on `device` into a `ValueError` for the user."""
    free = device.free_memory if device.is_cuda else 0
    try:
        yield
    except RuntimeError as error:  # Warp has no class of its own for it
        if not any(text in str(error) for text in ("Failed to allocate", "out of memory")):
            raise
        each = bytes_per_world(model, capacity)
        raise ValueError(
            f"num_worlds={num_worlds} do not fit into the memory of {device}: a world takes about "
            f"{each / 1e6:.2f} MB, so about {free // each} would fit into the {free / 1e9:.1f} GB "
            "that were free."
        ) from error


def bytes_per_world(model: mujoco.MjModel, capacity: Capacity) -> int:
    """About what one world takes."""
    with wp.ScopedDevice("cpu"):
        data = mjw.make_data(model, nworld=1, nconmax=capacity.contacts, njmax=capacity.constraints)
    return WORKING_SHARE * _bytes(data)


def _bytes(arrays: Any) -> int:
    """Of all arrays in a dataclass, and in those inside it."""
    total = 0
    for field in dataclasses.fields(arrays):
        value = getattr(arrays, field.name)
        if dataclasses.is_dataclass(value):
            total += _bytes(value)
        elif isinstance(value, wp.array):
            total += int(value.capacity)
    return total
