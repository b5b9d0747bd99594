"""What the reacher families share: the arm, its fingertip, its observation and its picture.

Shape legend: N worlds, D task parameters.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.headless import mujoco
from quickstudy.envs.mujoco_family import MujocoFamily

UPPER_ARM = 0.1
"""Metres from shoulder to elbow."""
FOREARM = 0.11
"""Metres from elbow to fingertip."""
REACH = UPPER_ARM + FOREARM

POSITION_NOISE = 0.1
VELOCITY_NOISE = 0.005


class Reacher(MujocoFamily):
    """Gymnasium's Reacher-v5 arm, bit for bit (RK4, 2 × 0.01 s), without its target."""

    model_file = "reacher.xml"
    substeps = 2
    observation_space = unbounded_box(8)
    action_space = unit_box(2)
    render_fps = 50
    goal_radius: ClassVar[float]
    """Metres, as drawn."""

    @abstractmethod
    def _goal(self, task_ND: Tensor) -> Tensor:
        """Goals `(N, 2)` in metres."""

    @abstractmethod
    def _reward(self, distance_N: Tensor) -> dict[str, Tensor]:
        """Named reward terms for the distance (m) to the goal after the step, control excepted."""

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        """Noise as in Reacher-v5: the stretched arm ± 0.1 rad, at up to ± 0.005 rad/s."""
        u_N22 = 2.0 * rng.uniform(rng.fold_in(key_N.unsqueeze(1), self._branches), 2) - 1.0
        return self._qpos0_Q + POSITION_NOISE * u_N22[:, 0], VELOCITY_NOISE * u_N22[:, 1]

    def _advance(self, action: Tensor) -> Outcome:
        self._simulate(action)
        away_N2 = _fingertip(self._qpos_NQ) - self._goal(self.task_ND)
        terms = self._reward(torch.linalg.vector_norm(away_N2, dim=1))
        terms["control"] = -action.square().sum(dim=1, dtype=torch.float64)
        # Only a time limit or divergence ends an episode.
        return Outcome(terms, self._never_N, self.engine.diverged)

    def _observe(self) -> Tensor:
        angle_N2 = self._qpos_NQ
        tip_N2 = _fingertip(angle_N2)
        return torch.cat([angle_N2.cos(), angle_N2.sin(), self._qvel_NV, tip_N2], dim=1)

    def _load_model(self) -> mujoco.MjModel:
        model = super()._load_model()
        model.site("goal").size[0] = self.goal_radius
        return model

    def _place_markers(self, data: mujoco.MjData, world: int) -> None:
        data.site("goal").xpos[:2] = self._goal(self.task_ND)[world].cpu().numpy()


def polar(radius_N: Tensor, angle_N: Tensor) -> Tensor:
    """Points `(N, 2)` at these distances from the shoulder, in these directions (rad)."""
    return torch.stack([radius_N * angle_N.cos(), radius_N * angle_N.sin()], dim=1)


def _fingertip(angle_N2: Tensor) -> Tensor:
    """Where the arm's end is, `(N, 2)` in metres, for shoulder and elbow angles.

    Computed, not read: MuJoCo's own positions lag the angles by a substep.
    """
    shoulder_N, elbow_N = angle_N2.unbind(1)
    return polar(torch.full_like(shoulder_N, UPPER_ARM), shoulder_N) + polar(
        torch.full_like(shoulder_N, FOREARM), shoulder_N + elbow_N
    )
