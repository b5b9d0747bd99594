"""What the tasks of the control suite's finger share.

Shape legend: N worlds, A actions.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.linalg import vector_norm

from quickstudy.envs import rng
from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.family import unbounded_box, unit_box
from quickstudy.envs.headless import mujoco


class Finger(DMCFamily):
    """A finger beside a body that is free to turn about a hinge."""

    model_file = "finger.xml"
    substeps = 2
    camera = "cam0"
    action_space = unit_box(2)

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        model = self.engine.mjmodel
        first = model.sensor("touchtop").adr.item()
        assert model.sensor("touchbottom").adr.item() == first + 1
        self._forces_N2 = self.engine.data["sensordata"][:, first : first + 2]
        self._tip_length = float(model.site("tip").pos[2])

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        return self._random_joints(rng.uniform(key_N, 3)), torch.zeros_like(self._qvel_NV)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        super()._start_episode(mask_N, key_N)
        self._keep("touch", mask_N, self._forces_N2.log1p())

    def _simulate(self, action_NA: Tensor) -> None:
        super()._simulate(action_NA)
        # Forces are of the last substep: the present state alone would not give them again.
        self._drawn["touch"] = self._forces_N2.log1p()

    def _tip(self) -> Tensor:
        """The free body's tip, x and z, from its hinge (which turns about −y)."""
        angle_N1 = self._qpos_NQ[:, 2:]
        return self._tip_length * torch.cat([-angle_N1.sin(), angle_N1.cos()], dim=1)

    def _observe(self) -> Tensor:
        joints_N2 = self._qpos_NQ[:, :2]
        return torch.cat([joints_N2, self._tip(), self._qvel_NV, self._drawn["touch"]], dim=1)


class FingerTurn(Finger):
    """The body's tip must be turned into a target.

    The target is no part of the physics, so it is a number per world instead of a changed model.
    """

    observation_space = unbounded_box(12)
    term = "turn"
    target_size: ClassVar[float]

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._radius = float(self.engine.mjmodel.geom("cap1").size.sum())

    def _load_model(self) -> mujoco.MjModel:
        model = super()._load_model()
        model.site("target").size[0] = self.target_size
        return model

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        super()._start_episode(mask_N, rng.fold_in(key_N, 0))
        angle_N1 = math.pi * (2.0 * rng.uniform(rng.fold_in(key_N, 1), 1) - 1.0)
        target_N2 = self._radius * torch.cat([angle_N1.sin(), angle_N1.cos()], dim=1)
        self._keep("target", mask_N, target_N2)

    def _distance(self) -> Tensor:
        """From the tip to the target's surface `(N,)`, negative inside."""
        to_target_N2 = self._drawn["target"] - self._tip()
        distance_N: Tensor = vector_norm(to_target_N2, dim=1) - self.target_size
        return distance_N

    def _observe(self) -> Tensor:
        distance_N1 = self._distance().unsqueeze(1)
        return torch.cat([super()._observe(), self._drawn["target"], distance_N1], dim=1)

    def _reward(self, action_NA: Tensor) -> Tensor:
        del action_NA  # unused
        return (self._distance() <= 0.0).to(torch.float64)

    def _place_markers(self, data: mujoco.MjData, world: int) -> None:
        target_2 = self._drawn["target"][world].cpu().numpy()
        data.site("target").xpos[[0, 2]] = data.body("spinner").xpos[[0, 2]] + target_2
