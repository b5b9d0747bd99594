"""The contract of a task family: N worlds that differ only in a hidden task.

Shape legend: N worlds, D task parameters, A action dimensions, O observation features.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs.devices import find_device
from quickstudy.envs.tasks import TaskSpace


@dataclass(frozen=True)
class Outcome:
    """What one step brought, before any reset."""

    reward_terms: dict[str, Tensor]
    """Named parts of the reward, each `(N,)` float64; their sum is the reward."""
    terminated: Tensor
    """`(N,)` bool: True where the task's own rule, or divergence, ended the episode."""
    diverged: Tensor
    """`(N,)` bool: True where physics or reward left the finite numbers; the reward is 0 there."""
    success: Tensor | None = None
    """`(N,)` bool: True where the task counts as solved at this step; None where the family has no
    notion of it (`Family.reports_success`)."""

    @cached_property
    def reward(self) -> Tensor:
        """The sum of the terms, `(N,)` float64."""
        return functools.reduce(torch.add, self.reward_terms.values())


class OneStep(NamedTuple):
    """What one step brought to a family of one world."""

    observation: np.ndarray
    """`(O,)` float32, held by nothing else."""
    reward_terms: dict[str, float]
    reward: float
    terminated: bool
    diverged: bool
    success: bool | None = None
    """None where the family has no notion of it."""


class Family(ABC):
    """N worlds of one task distribution; time limits, trials and seeds live above it.

    Subclasses implement `_start_episode`, `_advance` and `_observe` on whole batches, without host
    synchronisation: masks and `torch.where` instead of `.item()` or boolean indexing.
    """

    task_space: ClassVar[TaskSpace]
    observation_space: spaces.Box
    """Of the class; where options choose among bodies, an instance has its own. So has:"""
    action_space: spaces.Box | spaces.Discrete
    options_type: ClassVar[type[Any] | None] = None
    """The dataclass of what a user may choose about the worlds, which `__init__` then takes as
    `options`; None where there is nothing to choose."""
    render_fps: ClassVar[int] = 10
    shows_action: ClassVar[bool] = True
    """False where an agent could carry what it must remember in the last action it is shown."""
    reports_success: ClassVar[bool] = False
    """True where each step's outcome says whether the task counts as solved. An episode is solved
    if any of its steps was, as in Meta-World's own evaluation (metaworld 3.0.0)."""
    draws_chance: ClassVar[bool] = True
    """False where an episode is a function of its task and the actions alone."""
    episode_length: int
    """Steps of an episode, for rules that depend on it; set by `make_family`."""

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        self.num_worlds = num_worlds
        self.placement = find_device(device)
        """Where the worlds live; give its name to families inside this one."""
        self.device = self.placement.torch_device
        self.task_ND = torch.zeros(
            num_worlds, self.task_space.dim, dtype=torch.float64, device=self.device
        )
        self._diverged_N = torch.zeros(num_worlds, dtype=torch.bool, device=self.device)
        self._never_N = torch.zeros_like(self._diverged_N)
        """What `terminated` or `diverged` is where nothing brings it about."""
        self.may_have_diverged = True
        """False where the last step is known to have diverged nowhere."""

    @abstractmethod
    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        """Draw an initial state from `key_N` in the worlds where `mask_N` is True."""

    @abstractmethod
    def _advance(self, action: Tensor) -> Outcome:
        """Apply one (already clipped) action per world."""

    @abstractmethod
    def _observe(self) -> Tensor:
        """The observation `(N, O)`, any float type."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """A copy of everything that later steps depend on."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""

    @abstractmethod
    def render(self, world: int = 0) -> np.ndarray:
        """An RGB picture of one world, uint8 `(height, width, 3)`."""

    def reset(self, mask_N: Tensor, task_ND: Tensor, key_N: Tensor) -> None:
        """Start an episode on `task_ND` in the worlds where `mask_N` is True.

        Args:
            mask_N: bool; the other worlds keep their state and task.
            task_ND: float64, in the units of `task_space`.
            key_N: int64 keys (see `rng`); the initial state is a pure function of its key.
        """
        self.task_ND = torch.where(mask_N.unsqueeze(1), task_ND, self.task_ND)
        self._diverged_N = self._diverged_N & ~mask_N
        self._start_episode(mask_N, key_N)

    def step(self, action: Tensor) -> Outcome:
        """Apply `action`: `(N, A)` in the action box (clipped to it), or `(N,)` integers."""
        if isinstance(self.action_space, spaces.Box):
            # Every box here is [-1, 1]; a contract test holds families to that.
            action = action.clamp(-1.0, 1.0)
        outcome = self._advance(action)
        self.may_have_diverged = self._may_have_diverged(outcome)
        if not self.may_have_diverged:
            self._diverged_N = outcome.diverged
            return outcome
        # Physics may survive a NaN action; the reward does not.
        diverged_N = outcome.diverged | ~outcome.reward.isfinite()
        self._diverged_N = diverged_N
        return Outcome(
            {
                # Physics in float32 brings terms in float32.
                name: term.to(torch.float64).masked_fill(diverged_N, 0.0)
                for name, term in outcome.reward_terms.items()
            },
            outcome.terminated | diverged_N,
            diverged_N,
            None if outcome.success is None else outcome.success & ~diverged_N,
        )

    def observe(self) -> Tensor:
        """The observation, float32 `(N, O)`; zeros where the last step diverged."""
        observation = self._observe().to(torch.float32)
        if not self.may_have_diverged:
            return observation
        return observation.masked_fill(self._diverged_N.unsqueeze(1), 0.0)

    def step_one(self, action_A: np.ndarray) -> OneStep:
        """`step` and `observe` of a family of one world, in plain numbers.

        Args:
            action_A: `(A,)` float32 (clipped to the box), or a 0-d int64.
        """
        outcome = self.step(torch.from_numpy(action_A).unsqueeze(0))
        return OneStep(
            observation=self.observe().numpy()[0],
            reward_terms={name: float(term) for name, term in outcome.reward_terms.items()},
            reward=float(outcome.reward),
            terminated=bool(outcome.terminated),
            diverged=bool(outcome.diverged),
            success=None if outcome.success is None else bool(outcome.success),
        )

    def expert_action(self, belief_ND: Tensor) -> Tensor | None:
        """The best action if `belief_ND` `(N, D)` were the tasks; None where nobody wrote one."""
        del belief_ND  # unused
        return None

    def check_capacity(self) -> None:
        """Raise `RuntimeError` if physics ever dropped contacts for want of room.

        It reads from the device, so call it once in a while (a rollout), not at each step.
        """
        return

    def close(self) -> None:
        """Free what `render` opened."""
        return

    def _restored(self, saved: Tensor) -> Tensor:
        """A copy, on this family's device, of what any device saved."""
        return saved.to(self.device, copy=True)

    def _may_have_diverged(self, outcome: Outcome) -> bool:
        """Where a look costs little, it mostly spares the masking in `step` and `observe`."""
        if not self.placement.peeks:
            return True
        return not math.isfinite(outcome.reward.sum().item()) or bool(outcome.diverged.any())


def unit_box(size: int) -> spaces.Box:
    """The action box `[-1, 1]^size` all continuous families share."""
    return spaces.Box(-1.0, 1.0, (size,), np.float32)


def unbounded_box(size: int) -> spaces.Box:
    """An observation of `size` real numbers."""
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)
