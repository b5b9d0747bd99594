"""What the half-cheetah families share: the body, its observation, its costs and its fast lane."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.batch_engine import BatchEngine
from quickstudy.envs.family import OneStep, Outcome, unbounded_box, unit_box
from quickstudy.envs.mujoco_family import MujocoFamily

CONTROL_REWARD = -0.05
"""Per unit of squared action."""

Real = TypeVar("Real", float, Tensor)
"""One world's number, or `(N,)` of them."""


class HalfCheetah(MujocoFamily):
    """Gymnasium's HalfCheetah-v5 body, bit for bit (Euler, pyramidal friction, 5 × 0.01 s)."""

    model_file = "half_cheetah.xml"
    substeps = 5
    observation_space = unbounded_box(17)
    action_space = unit_box(6)
    render_fps = 20

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._x_N = self._qpos_NQ[:, 0]
        self._seen = [self._qpos_NQ[:, 1:], self._qvel_NV]
        self._flag = {diverged: torch.tensor([diverged]) for diverged in (False, True)}

    @cached_property
    def _row(self) -> list[np.ndarray]:
        """Positions, velocities and controls of the first world, live; on the CPU only."""
        return [self.engine.data[name].numpy()[0] for name in ("qpos", "qvel", "ctrl")]

    @abstractmethod
    def _terms(self, velocity: Real, control: Real, task: Sequence[Real]) -> dict[str, Real]:
        """Reward terms for a forward velocity (m/s), a control reward and the task's parameters."""

    def _observe(self) -> Tensor:
        return torch.cat(self._seen, dim=1)

    def _advance(self, action: Tensor) -> Outcome:
        x_before_N = self._x_N.clone()
        self._simulate(action)
        velocity_N = (self._x_N - x_before_N) / self.engine.dt
        terms = self._terms(velocity_N, _control(action), self.task_ND.unbind(1))
        # Only a time limit or divergence ends an episode.
        return Outcome(terms, self._never_N, self.engine.diverged)

    def step_one(self, action_A: np.ndarray) -> OneStep:
        """As `step`, without tensors: those of one world cost several times its physics."""
        assert isinstance(self.engine, BatchEngine)
        qpos_Q, qvel_V, ctrl_A = self._row
        action_A = np.minimum(np.maximum(action_A, self.action_space.low), self.action_space.high)
        ctrl_A[:] = action_A
        x_before = qpos_Q.item(0)
        self.engine.step()
        velocity = (qpos_Q.item(0) - x_before) / self.engine.dt
        control = CONTROL_REWARD * sum((action_A * action_A).tolist())
        terms = self._terms(velocity, control, self.task_ND.numpy()[0].tolist())
        reward = sum(terms.values())
        diverged = self.engine.any_diverged or not math.isfinite(reward)
        self._diverged_N = self._flag[diverged]
        self.may_have_diverged = diverged
        if diverged:
            return OneStep(np.zeros(17, np.float32), dict.fromkeys(terms, 0.0), 0.0, True, True)
        observation_O = np.empty(17, np.float32)
        observation_O[:8] = qpos_Q[1:]
        observation_O[8:] = qvel_V
        return OneStep(observation_O, terms, reward, False, False)


def _control(action_NA: Tensor) -> Tensor:
    # Float32 squares add up exactly in float64 (unless 10⁸ apart), so in any order: see `step_one`.
    return CONTROL_REWARD * action_NA.square().sum(dim=1, dtype=torch.float64)
