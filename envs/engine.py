"""The physics interface that families are written against.

A family never sees which engine steps its worlds: the CPU's `BatchEngine` is one implementation, a
GPU engine is another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from quickstudy.envs.headless import mujoco


@dataclass(frozen=True)
class Capacity:
    """Room per world on a GPU. Memory and time grow with it; what does not fit is dropped."""

    contacts: int
    """On average over the worlds, which share this room; pairs of geoms that are close count."""
    constraints: int
    """At most, in any world: rows of contacts, limits, equalities and friction."""


class Engine(Protocol):
    """N worlds of one MuJoCo model.

    `data[name]` and `model[name]` are live tensors `(num_worlds, ...)`: what is written to a state
    field (qpos, qvel, ctrl, …) is the world's state at the next call. As after `mj_step`, derived
    fields (xpos, sensordata, …) lag the state by one substep until `forward` is called.
    """

    mjmodel: mujoco.MjModel
    """The model all worlds started as."""
    num_worlds: int
    substeps: int
    """Physics steps per `step()`."""
    dt: float
    """Seconds per `step()`: the model's timestep times `substeps`."""
    device: torch.device
    dtype: torch.dtype
    diverged: Tensor
    """`(num_worlds,)` bool: True where the last `step()` met a bad or non-finite state."""

    @property
    def data(self) -> Mapping[str, Tensor]:
        """Fields of `mjData`, `(num_worlds, …)`."""

    @property
    def model(self) -> Mapping[str, Tensor]:
        """Fields of `mjModel`, `(num_worlds, …)`: those that may differ between worlds."""

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

    def check_capacity(self) -> None:
        """Raise `RuntimeError` if contacts or constraints were ever dropped for want of room.

        It reads from the device, so call it once in a while (a rollout), not at each step.
        """

    def world_model(self, world: int) -> mujoco.MjModel:
        """World `world`'s model, for a renderer."""

    def mjdata(self, world: int) -> mujoco.MjData:
        """World `world`'s state with derived fields computed, for a renderer."""

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of everything that the next step depends on."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned, bit for bit (of another engine: as it rounds)."""
