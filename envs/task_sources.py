"""Where the trials of a `TrialEnv` get their tasks.

Shape legend: N worlds, D task parameters.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.tasks import TaskSpace


class TaskSource(Protocol):
    """Where the trials of a `TrialEnv` get their tasks."""

    def tasks(self, key_N: Tensor, trial_N: Tensor, switched_N: Tensor) -> Tensor:
        """Tasks `(N, D)` for trial number `trial_N` of each world, whose task key is `key_N`.

        `switched_N` is True where the trial has switched to its second task.
        """


@dataclass(frozen=True)
class SampledTasks:
    """Independent draws from a split: a pure function of the world's key and trial number."""

    space: TaskSpace
    split: str = "train"

    def __post_init__(self) -> None:
        self.space.check_split(self.split)

    def tasks(self, key_N: Tensor, trial_N: Tensor, switched_N: Tensor) -> Tensor:
        key_N = rng.fold_in(key_N, trial_N)
        return self.space.sample(self.split, torch.where(switched_N, rng.fold_in(key_N, 1), key_N))


@dataclass(frozen=True)
class FixedTasks:
    """World i always plays task i, and task i + 1 (the first after the last) once it switches.

    A `TrialEnv` refuses tasks that are not `(N, D)` finite numbers within the family's ranges.
    """

    task_ND: Tensor

    def tasks(self, key_N: Tensor, trial_N: Tensor, switched_N: Tensor) -> Tensor:
        del key_N, trial_N  # unused
        return torch.where(switched_N.unsqueeze(1), self.task_ND.roll(-1, 0), self.task_ND)

    def to(self, device: torch.device) -> "FixedTasks":
        """The same tasks on a device."""
        return FixedTasks(self.task_ND.to(device, torch.float64))
