"""What the ant families share: the body, its observation, its step and its fall.

Shape legend: N worlds, A action dimensions.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.mujoco_family import MujocoFamily

HEALTHY_HEIGHT = (0.2, 1.0)
"""Metres; an ant whose torso is lower or higher has fallen."""


class Ant(MujocoFamily):
    """Gymnasium's ant with an elliptic friction cone and implicitfast, 5 × 0.01 s per step."""

    model_file = "ant.xml"
    substeps = 5
    observation_space = unbounded_box(27)
    action_space = unit_box(8)
    render_fps = 20

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._xy_N2 = self._qpos_NQ[:, :2]
        self._height_N = self._qpos_NQ[:, 2]
        self._seen = [self._qpos_NQ[:, 2:], self._qvel_NV]

    @abstractmethod
    def _terms(self, velocity_N2: Tensor, effort_N: Tensor) -> dict[str, Tensor]:
        """Reward terms after a step.

        Args:
            velocity_N2: the torso's mean velocity in the plane over the step, m/s.
            effort_N: Σ action².
        """

    def _observe(self) -> Tensor:
        return torch.cat(self._seen, dim=1)

    def _advance(self, action: Tensor) -> Outcome:
        xy_before_N2 = self._xy_N2.clone()
        self._simulate(action)
        velocity_N2 = (self._xy_N2 - xy_before_N2) / self.engine.dt
        effort_N = action.square().sum(dim=1).to(torch.float64)
        return Outcome(self._terms(velocity_N2, effort_N), self._fallen(), self.engine.diverged)

    def _fallen(self) -> Tensor:
        """True, `(N,)`, where the task's rule ends the episode."""
        low, high = HEALTHY_HEIGHT
        return (self._height_N < low) | (self._height_N > high)
