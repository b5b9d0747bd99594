"""Probes: tiny families that each isolate one way to fail, with a known best return.

The first five follow the probe environments of rejax (after A. Jones's debugging advice): value
alone, value from observation, discounting, policy, policy from observation. Two need memory: an arm
hidden for the whole trial, and a cue to be remembered within an episode. The last checks the
continuous head.

Shape legend: N worlds.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.family import Family, Outcome, unbounded_box, unit_box
from quickstudy.envs.tasks import ListedTasks, Parameter

NO_TASK = ListedTasks(Parameter("none", 0.0, 0.0, "1"), (0.0,))
HIDDEN_BIT = ListedTasks(Parameter("bit", 0.0, 1.0, "1"), (0.0, 1.0))


class Probe(Family):
    """A family of `length`-step episodes whose state is a random sign and a step count."""

    length: ClassVar[int] = 1
    best_return: ClassVar[float]
    """The best mean return of an episode (in `ProbeArm`: once the arm is known)."""
    task_space = NO_TASK
    observation_space = unbounded_box(1)
    action_space: spaces.Box | spaces.Discrete = spaces.Discrete(2)

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._sign_N = torch.zeros(num_worlds, dtype=torch.float64, device=self.device)
        self._step_N = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)

    @abstractmethod
    def _reward(self, action: Tensor) -> Tensor:
        """The reward `(N,)` of the step numbered `self._step_N` (from 0)."""

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        sign_N = torch.where(rng.uniform(key_N, 1)[:, 0] < 0.5, -1.0, 1.0).to(torch.float64)
        self._sign_N = torch.where(mask_N, sign_N, self._sign_N)
        self._step_N = self._step_N.masked_fill(mask_N, 0)

    def _advance(self, action: Tensor) -> Outcome:
        reward_N = self._reward(action).to(torch.float64)
        self._step_N = self._step_N + 1
        return Outcome({"probe": reward_N}, self._step_N >= self.length, self._never_N)

    def _observe(self) -> Tensor:
        return torch.zeros_like(self._sign_N).unsqueeze(1)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "task": self.task_ND.clone(),
            "sign": self._sign_N.clone(),
            "step": self._step_N.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._sign_N = self._restored(state["sign"])
        self._step_N = self._restored(state["step"])

    def render(self, world: int = 0) -> np.ndarray:
        """A grey level that follows the observation."""
        level = 128 + 100 * float(self.observe()[world, 0])
        return np.full((32, 32, 3), np.clip(level, 0, 255), np.uint8)


class ProbeValue(Probe):
    """Reward 1 whatever is done: the value head must learn the constant 1."""

    best_return = 1.0

    def _reward(self, action: Tensor) -> Tensor:
        return torch.ones_like(self._sign_N)


class ProbeObservation(Probe):
    """Reward equals the observed sign: the value must follow the observation."""

    best_return = 0.0

    def _reward(self, action: Tensor) -> Tensor:
        return self._sign_N

    def _observe(self) -> Tensor:
        return self._sign_N.unsqueeze(1)


class ProbeDelay(Probe):
    """Reward 1 at the second of two steps: the value must be discounted once."""

    length = 2
    best_return = 1.0

    def _reward(self, action: Tensor) -> Tensor:
        return (self._step_N == 1).to(torch.float64)


class ProbeAction(Probe):
    """Reward +1 for action 1, −1 for action 0: the policy must move."""

    best_return = 1.0

    def _reward(self, action: Tensor) -> Tensor:
        return 2.0 * action - 1.0


class ProbeMatch(Probe):
    """Reward +1 if the action names the observed sign: the policy must read the observation."""

    best_return = 1.0

    def _reward(self, action: Tensor) -> Tensor:
        return self._sign_N * (2.0 * action - 1.0)

    def _observe(self) -> Tensor:
        return self._sign_N.unsqueeze(1)


class ProbeArm(Probe):
    """One of two arms pays 1 for the whole trial: the memory must outlive the episodes.

    The best trial of K one-step episodes earns ½ + (K − 1); without memory across episodes, K / 2.
    """

    best_return = 1.0
    task_space = HIDDEN_BIT

    def _reward(self, action: Tensor) -> Tensor:
        return (action == self.task_ND[:, 0].long()).to(torch.float64)


class ProbeRecall(Probe):
    """A sign seen at the first of five steps must be named at the last (reward +1, else −1)."""

    length = 5
    best_return = 1.0

    def _reward(self, action: Tensor) -> Tensor:
        named = self._sign_N * (2.0 * action - 1.0)
        return torch.where(self._step_N == self.length - 1, named, 0.0)

    def _observe(self) -> Tensor:
        return torch.where(self._step_N == 0, self._sign_N, 0.0).unsqueeze(1)


class ProbeReach(Probe):
    """Reward 1 − (action − sign / 2)²: the continuous head must read the observation."""

    best_return = 1.0
    action_space = unit_box(1)

    def _reward(self, action: Tensor) -> Tensor:
        return 1.0 - (action[:, 0] - 0.5 * self._sign_N).square()

    def _observe(self) -> Tensor:
        return self._sign_N.unsqueeze(1)
