"""Families whose worlds differ in the model itself: masses, friction, limbs, gears.

Shape legend: N worlds, D task parameters.
"""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.mujoco_family import MujocoFamily


class BodyFamily(MujocoFamily):
    """Adds model fields of each world's own, always written from the model's base values.

    A world is rebuilt when its task changes, not at every episode. Its fields are a pure function
    of its task, so nothing compounds and a checkpoint needs to hold the task alone.
    """

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._base = {name: self.engine.model[name][:1].clone() for name in self.body_fields}
        """The fields of the unchanged model, each `(1, …)`."""
        self._built_ND = torch.full_like(self.task_ND, torch.nan)
        self._rendered_world = 0

    @abstractmethod
    def _body(self, task_ND: Tensor) -> dict[str, Tensor]:
        """Every field of `body_fields` under these tasks, `(N, …)`, computed from `_base`."""

    def reset(self, mask_N: Tensor, task_ND: Tensor, key_N: Tensor) -> None:
        """As `Family.reset`; worlds whose task changes get another body."""
        self._build(mask_N & (task_ND != self._built_ND).any(dim=1), task_ND)
        super().reset(mask_N, task_ND, key_N)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._build((self.task_ND != self._built_ND).any(dim=1), self.task_ND)

    def render(self, world: int = 0) -> np.ndarray:
        if world != self._rendered_world:
            self.close()  # the renderer draws the body it was made with
        self._rendered_world = world
        return super().render(world)

    def _build(self, mask_N: Tensor, task_ND: Tensor) -> None:
        if self.placement.peeks and not mask_N.any():
            return
        for name, values in self._body(task_ND).items():
            field = self.engine.model[name]
            field.copy_(torch.where(mask_N.view(-1, *[1] * (field.ndim - 1)), values, field))
        self.engine.set_const(mask_N)
        self._built_ND = torch.where(mask_N.unsqueeze(1), task_ND, self._built_ND)
        self.close()
