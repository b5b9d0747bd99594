"""What the half-cheetah families share: the body, its observation and its control cost."""

import torch
from torch import Tensor

from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.mujoco_family import MujocoFamily

CONTROL_COST = 0.05


class HalfCheetah(MujocoFamily):
    """Gymnasium's HalfCheetah-v5 body, bit for bit (Euler, pyramidal friction, 5 × 0.01 s)."""

    model_file = "half_cheetah.xml"
    substeps = 5
    observation_space = unbounded_box(17)
    action_space = unit_box(6)
    render_fps = 20

    def _observe(self) -> Tensor:
        return torch.cat([self._qpos_NQ[:, 1:], self._qvel_NV], dim=1)

    def _run(self, action_NA: Tensor) -> tuple[Tensor, Tensor]:
        """Simulate one step; returns forward velocity (m/s) and control cost, each `(N,)`."""
        x_before_N = self._qpos_NQ[:, 0].clone()
        self._simulate(action_NA)
        velocity_N = (self._qpos_NQ[:, 0] - x_before_N) / self.engine.dt
        cost_N = CONTROL_COST * action_NA.square().sum(dim=1)
        return velocity_N, cost_N.to(torch.float64)

    def _outcome(self, **reward_terms: Tensor) -> Outcome:
        """A step of an episode that only a time limit or divergence ends."""
        never = torch.zeros_like(self.engine.diverged)
        return Outcome(reward_terms, never, self.engine.diverged)
