"""The physics interface that families are written against.

A family never sees which engine steps its worlds: the CPU's `BatchEngine` is one implementation, a
GPU engine is another.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor


class Engine(Protocol):
    """N worlds of one MuJoCo model.

    `data[name]` and `model[name]` are live tensors `(num_worlds, ...)`: what is written to a state
    field (qpos, qvel, ctrl, …) is the world's state at the next call. As after `mj_step`, derived
    fields (xpos, sensordata, …) lag the state by one substep until `forward` is called.
    """

    num_worlds: int
    substeps: int
    """Physics steps per `step()`."""
    dt: float
    """Seconds per `step()`: the model's timestep times `substeps`."""
    device: torch.device
    dtype: torch.dtype
    diverged: Tensor
    """`(num_worlds,)` bool: True where the last `step()` met a bad or non-finite state."""
    data: Mapping[str, Tensor]
    model: Mapping[str, Tensor]

    def step(self, mask: Tensor | None = None) -> None:
        """Advance the masked worlds (all if None) by `dt` under `data["ctrl"]`."""

    def reset(self, mask: Tensor) -> None:
        """Put the worlds where `mask` `(num_worlds,)` is True back to the model's defaults."""

    def forward(self, mask: Tensor) -> None:
        """Recompute derived fields of the masked worlds from their state."""

    def set_const(self, mask: Tensor) -> None:
        """Recompute what MuJoCo derives from model fields, after writing to `model`.

        Masses, bounds and inverse weights derived from them become each masked world's own.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of everything that the next step depends on."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned, bit for bit."""
