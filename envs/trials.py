"""Trials: K episodes on one hidden task, in N worlds at once.

An agent's memory lives for a trial; physics resets at each of its episodes. Worlds reset in the
same step in which their episode ends, so no step is spent on resetting.

Shape legend: N worlds, D task parameters, K episodes per trial, O observation features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.accounts import Accounts, TrialResults
from quickstudy.envs.errors import require_positive, require_switch
from quickstudy.envs.family import Family
from quickstudy.envs.finished import BufferedRows, FinishedRows, PickedRows, Rows
from quickstudy.envs.nested_state import nested, part
from quickstudy.envs.registry import family_entry, make_family
from quickstudy.envs.task_sources import FixedTasks, SampledTasks, TaskSource

__all__ = [
    "FixedTasks",
    "SampledTasks",
    "TaskSource",
    "TimeStep",
    "TrialEnv",
    "TrialResults",
]


@dataclass(frozen=True)
class TimeStep:
    """What an agent may read at one step, for each world, plus the truth about what just ended.

    Where an episode has just ended, `observation` is already the first of the new episode, while
    `previous_action` and `previous_reward` are the last of the old one; across a trial's start they
    are zero.
    """

    observation: Tensor
    """`(N, O)` float32."""
    previous_action: Tensor
    """`(N, A)` float32 as applied, or `(N,)` int64; zeros where the family hides it."""
    previous_reward: Tensor
    """`(N,)` float32, unscaled; 0 at a trial's start (see `reward`)."""
    episode_start: Tensor
    """`(N,)` bool: True where `observation` is the first of an episode."""
    trial_start: Tensor
    """`(N,)` bool: True where `observation` is the first of a trial."""
    clock: Tensor
    """`(N, 2)` float32: the shares of the episode's and of the trial's longest duration that have
    passed; what a value under a known horizon depends on."""
    reward: Tensor
    """`(N,)` float32: what the last action earned, also where it ended a trial."""
    terminated: Tensor
    """`(N,)` bool: True where the last action ended its episode by the task's rule or diverged."""
    truncated: Tensor
    """`(N,)` bool: True where the last action ended its episode by the time limit alone."""
    final_observation: Tensor
    """`(N, O)`: where an episode has just ended, its true last observation; else `observation`."""

    @property
    def trial_end(self) -> Tensor:
        """`(N,)` bool: True where the last action ended a trial."""
        return self.trial_start & (self.terminated | self.truncated)


class TrialEnv:
    """N worlds of one family, each playing trial after trial."""

    _elapsed_N2: Tensor

    def __init__(
        self,
        family: str,
        num_worlds: int,
        *,
        episode_length: int | None = None,
        episodes_per_trial: int | None = None,
        switch_episode: int | None = None,
        task_source: TaskSource | None = None,
        reveal_task: bool = False,
        device: str = "cpu",
        family_options: Mapping[str, object] | None = None,
    ) -> None:
        """Build the worlds; `reset` starts them.

        Args:
            family: a registered name.
            num_worlds: how many trials run side by side.
            episode_length: steps per episode; the family's default if None.
            episodes_per_trial: K; the family's default if None.
            switch_episode: the episode (2 … K) that starts on another task, as do all after it;
                nothing tells the agent. None: one task per trial.
            task_source: draws from the `train` split if None.
            reveal_task: append the hidden task to the observation (for the oracle).
            device: where worlds and tensors live (see `envs/devices.py`).
            family_options: what the family lets a user choose, by name (see `make_family`).

        Raises:
            ValueError: for an unknown family, device or option, a count below 1, a switch that is
                not at an episode from 2 to K, or `FixedTasks` that the family does not have; or if
                the device cannot run it.
        """
        entry = family_entry(family)
        self.episode_length = entry.episode_length if episode_length is None else episode_length
        self.episodes_per_trial = (
            entry.episodes_per_trial if episodes_per_trial is None else episodes_per_trial
        )
        require_positive("episode_length", self.episode_length)
        require_positive("episodes_per_trial", self.episodes_per_trial)
        require_switch(switch_episode, self.episodes_per_trial)
        self.switch_episode = switch_episode
        self.family: Family = make_family(
            family,
            num_worlds,
            device,
            episode_length=self.episode_length,
            options=family_options,
        )
        self.name = family
        self.reveal_task = reveal_task
        self.num_worlds = num_worlds
        self.device = self.family.device
        self.peeks = self.family.placement.peeks
        """True where a look at a tensor costs nothing; elsewhere `step` never looks."""
        self._num_diverged = torch.zeros((), dtype=torch.int64, device=self.device)
        if isinstance(task_source, FixedTasks):
            self.family.task_space.check(task_source.task_ND.cpu(), num_worlds)
        source = task_source or SampledTasks(self.family.task_space)
        self._source = source.to(self.device) if isinstance(source, FixedTasks) else source
        self._no_world = torch.zeros(num_worlds, dtype=torch.bool, device=self.device)
        self._every_world = torch.ones(num_worlds, dtype=torch.bool, device=self.device)
        self._durations = torch.tensor(
            [self.episode_length, self.trial_length], dtype=torch.float32, device=self.device
        )
        self._start_of_second_episode_2 = torch.tensor([0, self.episode_length], device=self.device)
        self.blank_action = self._make_blank_action()
        """The zero action of every world."""
        self._world_N = torch.arange(num_worlds, device=self.device)
        self._accounts = Accounts(
            num_worlds,
            self.episodes_per_trial,
            self.device,
            counts_success=self.family.reports_success,
        )
        self._finished = self._make_finished()

    @property
    def num_diverged(self) -> int:
        """Steps that physics did not survive, since `reset`."""
        return int(self._num_diverged)

    @property
    def trial_length(self) -> int:
        """Steps of a trial whose episodes all run to the time limit."""
        return self.episode_length * self.episodes_per_trial

    @property
    def observation_size(self) -> int:
        """O: features of an observation, the revealed task included."""
        size = self.family.observation_space.shape[0]
        return size + self.family.task_space.dim if self.reveal_task else size

    def reset(self, seed: int | Tensor) -> TimeStep:
        """Start a new trial everywhere.

        Args:
            seed: an integer, or one int64 key per world `(N,)`; world i's trials are a pure
                function of the seed and i (of its key alone, if keys are given).

        Raises:
            ValueError: if `seed` is neither.
        """
        self._require_seed(seed)
        if isinstance(seed, Tensor):
            base_N = seed.to(self.device)
            self._task_key_N = rng.fold_in(base_N, int(rng.Stream.TASK))
            self._episode_key_N = rng.fold_in(base_N, int(rng.Stream.EPISODE))
        else:
            self._task_key_N = rng.world_keys(seed, rng.Stream.TASK, self.num_worlds, self.device)
            self._episode_key_N = rng.world_keys(
                seed, rng.Stream.EPISODE, self.num_worlds, self.device
            )
        self._blank_counters()
        self._finished.clear()
        self._num_diverged.zero_()
        self._start_episodes(self._every_world, self._planned_tasks())
        observation = self._observe()
        zeros_N = torch.zeros(self.num_worlds, device=self.device)
        return TimeStep(
            observation=observation,
            previous_action=self.blank_action,
            previous_reward=zeros_N,
            episode_start=self._every_world,
            trial_start=self._every_world,
            clock=self._clock(),
            reward=zeros_N,
            terminated=self._no_world,
            truncated=self._no_world,
            final_observation=observation,
        )

    def step(self, action: Tensor) -> TimeStep:
        """Act once in every world.

        Args:
            action: `(N, A)` float in [−1, 1] (clipped to it), or `(N,)` int64.
        """
        outcome = self.family.step(action)
        self._elapsed_N2 = self._elapsed_N2 + 1
        at_limit_N = self._elapsed_N2[:, 0] >= self.episode_length
        ended_N = outcome.terminated | at_limit_N
        reward_N = outcome.reward
        self._accounts.add(reward_N, outcome.success)
        observation = final_observation = self._observe()
        reward_N = previous_reward = reward_N.to(torch.float32)
        applied = self.applied(action)
        if self.family.may_have_diverged:
            self._num_diverged += outcome.diverged.sum()
            applied = applied.nan_to_num()
        truncated_N = trial_end_N = self._no_world
        if self._anywhere(ended_N):
            truncated_N = at_limit_N & ~outcome.terminated
            trial_end_N = self._end_episodes(ended_N)
            observation = self._observe()
            applied, previous_reward = (_blank(x, trial_end_N) for x in (applied, reward_N))
        return TimeStep(
            observation=observation,
            previous_action=applied,
            previous_reward=previous_reward,
            episode_start=ended_N,
            trial_start=trial_end_N,
            clock=self._clock(),
            reward=reward_N,
            terminated=outcome.terminated,
            truncated=truncated_N,
            final_observation=final_observation,
        )

    def applied(self, action: Tensor) -> Tensor:
        """The action as an agent is shown it: clipped, where it is continuous; blank if hidden."""
        if not self.family.shows_action:
            return self.blank_action
        return action if action.dtype == torch.int64 else action.clamp(-1.0, 1.0)

    @property
    def tasks(self) -> Tensor:
        """The hidden tasks `(N, D)` of the present trials."""
        return self.family.task_ND

    def finished(self) -> TrialResults:
        """The trials that finished since the last call."""
        return TrialResults(**self._finished.take())

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that later steps depend on (take it after `finished`)."""
        assert not len(self._finished), "call finished() first: its trials would be lost"
        own = {
            "task_key": self._task_key_N,
            "episode_key": self._episode_key_N,
            "trial": self._trial_N,
            "episode": self._episode_N,
            "elapsed": self._elapsed_N2,
            "num_diverged": self._num_diverged,
        }
        family = nested("family", self.family.state_dict())
        return {k: v.clone() for k, v in own.items()} | self._accounts.state_dict() | family

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken, on whatever device that was."""
        state = {name: saved.to(self.device) for name, saved in state.items()}
        self._task_key_N = state["task_key"].clone()
        self._episode_key_N = state["episode_key"].clone()
        self._trial_N = state["trial"].clone()
        self._episode_N = state["episode"].clone()
        self._elapsed_N2 = state["elapsed"].clone()
        self._accounts.load_state_dict(state)
        self._num_diverged = state["num_diverged"].clone()
        self._finished.clear()
        self.family.load_state_dict(part("family", state))

    def close(self) -> None:
        """Free what rendering opened."""
        self.family.close()

    def _blank_counters(self) -> None:
        """As at the first step of the first trial."""
        counter = torch.zeros(self.num_worlds, dtype=torch.int64, device=self.device)
        self._trial_N = counter  # trials begun before the present one
        self._episode_N = counter.clone()  # episodes of the present trial that have ended
        # Steps of the present episode, and of the trial had its episodes all run their length.
        shape = (self.num_worlds, 2)
        self._elapsed_N2 = torch.zeros(shape, dtype=torch.int64, device=self.device)
        self._accounts.clear()

    def _make_finished(self) -> FinishedRows:
        like = self._results(self.tasks)
        if self.peeks:
            return PickedRows(like)
        # Between two readings a rollout of one trial's length may lie, with episodes of one step.
        return BufferedRows(like, per_world=self.episode_length + 1)

    def _results(self, task_ND: Tensor) -> Rows:
        """What a trial that ends now leaves, of every world (see `TrialResults`)."""
        return {"tasks": task_ND, "worlds": self._world_N} | self._accounts.rows()

    def _anywhere(self, mask_N: Tensor) -> bool:
        """Whether there may be something to do: what a look shows, or True without a look."""
        return not self.peeks or bool(mask_N.any())

    def _clock(self) -> Tensor:
        return self._elapsed_N2 / self._durations

    def _observe(self) -> Tensor:
        observation = self.family.observe()
        if not self.reveal_task:
            return observation
        return torch.cat([observation, self.tasks.to(torch.float32)], dim=1)

    def _require_seed(self, seed: object) -> None:
        if isinstance(seed, Tensor):
            valid = seed.dtype == torch.int64 and seed.shape == (self.num_worlds,)
        else:
            valid = isinstance(seed, int) and not isinstance(seed, bool)
        if not valid:
            shape = (self.num_worlds,)
            raise ValueError(f"seed must be an integer or int64 keys {shape}, got {seed!r}.")

    def _end_episodes(self, ended_N: Tensor) -> Tensor:
        """Move on to the next episode or trial; returns where a trial ended."""
        self._accounts.end_episodes(ended_N, self._episode_N, self._elapsed_N2[:, 0])
        self._episode_N = self._episode_N + ended_N
        trial_end_N = self._episode_N == self.episodes_per_trial
        some_trial_ends = self._anywhere(trial_end_N)
        if some_trial_ends:
            self._end_trials(trial_end_N)
        another_task = some_trial_ends or self.switch_episode is not None
        task_ND = self._planned_tasks() if another_task else self.tasks
        start_N2 = self._episode_N.unsqueeze(1) * self._start_of_second_episode_2
        self._elapsed_N2 = torch.where(ended_N.unsqueeze(1), start_N2, self._elapsed_N2)
        self._start_episodes(ended_N, task_ND)
        return trial_end_N

    def _end_trials(self, trial_end_N: Tensor) -> None:
        first_task_ND = self.tasks
        if self.switch_episode is not None:
            first_task_ND = self._source.tasks(self._task_key_N, self._trial_N, self._no_world)
        self._finished.add(trial_end_N, self._results(first_task_ND))
        self._trial_N = self._trial_N + trial_end_N
        self._episode_N = self._episode_N.masked_fill(trial_end_N, 0)

    def _planned_tasks(self) -> Tensor:
        """The tasks of the present episodes: a function of the number of trial and episode."""
        switched_N = self._no_world
        if self.switch_episode is not None:
            switched_N = self._episode_N + 1 >= self.switch_episode
        return self._source.tasks(self._task_key_N, self._trial_N, switched_N)

    def _start_episodes(self, mask_N: Tensor, task_ND: Tensor) -> None:
        """Reset physics; the task too, where it is another."""
        episode_key_N = rng.fold_in(
            rng.fold_in(self._episode_key_N, self._trial_N), self._episode_N
        )
        self.family.reset(mask_N, task_ND, episode_key_N)

    def _make_blank_action(self) -> Tensor:
        space = self.family.action_space
        if isinstance(space, spaces.Box):
            return torch.zeros(self.num_worlds, int(np.prod(space.shape)), device=self.device)
        return torch.zeros(self.num_worlds, dtype=torch.int64, device=self.device)


def _blank(values: Tensor, mask_N: Tensor) -> Tensor:
    """Zero where the mask is True, along the first axis."""
    return values.masked_fill(mask_N.view(-1, *[1] * (values.ndim - 1)), 0)
