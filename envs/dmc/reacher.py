"""What the two tasks of the control suite's reacher share.

Shape legend: N worlds, A actions.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.linalg import vector_norm

from quickstudy.envs import rng
from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.dmc.tolerance import within
from quickstudy.envs.family import unbounded_box, unit_box
from quickstudy.envs.headless import mujoco

NEAREST, FARTHEST = 0.05, 0.20


class SuiteReacher(DMCFamily):
    """A planar arm that must reach a target.

    The target is no part of the physics, so it is a number per world instead of a changed model.
    """

    model_file = "reacher.xml"
    observation_space = unbounded_box(6)
    action_space = unit_box(2)
    term = "reach"
    target_size: ClassVar[float]

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        model = self.engine.mjmodel
        lengths = (model.body("hand").pos[0], model.body("finger").pos[0])
        self._lengths_2 = self._constant(lengths)
        self._reach = self.target_size + float(model.geom("finger").size[0])

    def _load_model(self) -> mujoco.MjModel:
        model = super()._load_model()
        model.geom("target").size[0] = self.target_size
        return model

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        super()._start_episode(mask_N, rng.fold_in(key_N, 0))
        angle_N, radius_N = rng.uniform(rng.fold_in(key_N, 1), 2).unbind(1)
        angle_N, radius_N = 2.0 * math.pi * angle_N, NEAREST + (FARTHEST - NEAREST) * radius_N
        target_N2 = torch.stack([radius_N * angle_N.sin(), radius_N * angle_N.cos()], dim=1)
        self._keep("target", mask_N, target_N2)

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        return self._random_joints(rng.uniform(key_N, 2)), torch.zeros_like(self._qvel_NV)

    def _to_target(self) -> Tensor:
        angle_N2 = self._qpos_NQ.cumsum(dim=1)
        x_N = (self._lengths_2 * angle_N2.cos()).sum(dim=1)
        y_N = (self._lengths_2 * angle_N2.sin()).sum(dim=1)
        return self._drawn["target"] - torch.stack([x_N, y_N], dim=1)

    def _observe(self) -> Tensor:
        return torch.cat([self._qpos_NQ, self._to_target(), self._qvel_NV], dim=1)

    def _reward(self, action_NA: Tensor) -> Tensor:
        del action_NA  # unused
        return within(vector_norm(self._to_target(), dim=1), 0.0, self._reach)

    def _place_markers(self, data: mujoco.MjData, world: int) -> None:
        data.geom("target").xpos[:2] = self._drawn["target"][world].cpu().numpy()
