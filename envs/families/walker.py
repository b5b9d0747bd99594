"""What the walker and hopper families share: the bodies, what they see, and when they have fallen.

Shape legend: N worlds, Q generalised positions, V generalised velocities (as many, in a plane).
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.mujoco_family import MujocoFamily

CONTROL_REWARD = -1e-3
"""Per unit of squared action."""

RESET_NOISE = 0.005
"""Largest deviation of a position or velocity at an episode's start, as in Gymnasium's v5."""

SEEN_SPEED = 10.0
"""Velocities are shown up to this magnitude."""


class Walker(MujocoFamily):
    """Gymnasium's Walker2d-v5 body; elliptic cone, implicitfast, 4 × 0.004 s per step."""

    model_file = "walker2d.xml"
    substeps = 4
    observation_space = unbounded_box(17)
    action_space = unit_box(6)
    render_fps = 62
    healthy_height: ClassVar[tuple[float, float]] = (0.8, 2.0)
    healthy_pitch: ClassVar[float] = 1.0

    @abstractmethod
    def _terms(self, velocity_N: Tensor, control_N: Tensor) -> dict[str, Tensor]:
        """Reward terms for the forward velocity (m/s) and the control reward."""

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        """Uniform noise around the rest pose, positions from branch 0 and velocities from 1."""
        branches_N2 = rng.fold_in(key_N.unsqueeze(1), self._branches)
        noise_N2V = RESET_NOISE * (2.0 * rng.uniform(branches_N2, len(self._qpos0_Q)) - 1.0)
        return self._qpos0_Q + noise_N2V[:, 0], noise_N2V[:, 1]

    def _observe(self) -> Tensor:
        velocity_NV = self._qvel_NV.clamp(-SEEN_SPEED, SEEN_SPEED)
        return torch.cat([self._qpos_NQ[:, 1:], velocity_NV], dim=1)

    def _advance(self, action: Tensor) -> Outcome:
        x_before_N = self._qpos_NQ[:, 0].clone()
        self._simulate(action)
        velocity_N = (self._qpos_NQ[:, 0] - x_before_N) / self.engine.dt
        control_N = CONTROL_REWARD * action.square().sum(dim=1, dtype=torch.float64)
        return Outcome(self._terms(velocity_N, control_N), self._fallen(), self.engine.diverged)

    def _fallen(self) -> Tensor:
        """`(N,)`: True where height or pitch has left its range."""
        height_N, pitch_N = self._qpos_NQ[:, 1], self._qpos_NQ[:, 2]
        low, high = self.healthy_height
        upright_N = (height_N > low) & (height_N < high) & (pitch_N.abs() < self.healthy_pitch)
        return ~upright_N


class Hopper(Walker):
    """Gymnasium's Hopper-v5 body; elliptic cone, implicitfast, 4 × 0.004 s per step."""

    model_file = "hopper.xml"
    observation_space = unbounded_box(11)
    action_space = unit_box(3)
    healthy_height = (0.7, float("inf"))
    healthy_pitch = 0.2
    healthy_state: ClassVar[float] = 100.0
    """Largest angle (rad) or velocity (m/s, rad/s) of a hopper that has not fallen."""

    def _fallen(self) -> Tensor:
        state_NK = torch.cat([self._qpos_NQ[:, 2:], self._qvel_NV], dim=1)
        return super()._fallen() | (state_NK.abs() >= self.healthy_state).any(dim=1)
