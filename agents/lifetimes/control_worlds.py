"""Worlds of a registered family for a population: E copies of one task for each of P agents.

All of them are one `TrialEnv` of P·E worlds, whose trials are single episodes. What they depend on
goes out into rows of the population and in again, so that a population can be kept, cut and joined
like any other. A world's luck is a function of its agent's key and its own number.

Shape legend: P agents, T steps, E copies, N = P·E worlds, O observation features, D task
parameters, A action dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.agents.agent import action_size
from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.envs import rng
from quickstudy.envs.nested_state import nested, part
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import TimeStep, TrialEnv

Act = Callable[[Tensor, int], Tensor]
"""Actions `(P, E)` or `(P, E, A)` for observations `(P, E, O)` at a step."""


@dataclass(frozen=True)
class ControlRollout:
    """T steps of every copy."""

    observation: Tensor
    """`(P, T, E, O)` float32: what was acted on."""
    next_observation: Tensor
    """`(P, T, E, O)`: what followed, an episode's true last one where it ended."""
    action: Tensor
    """`(P, T, E, A)` float32 before clipping, or `(P, T, E)` int64."""
    reward: Tensor
    """`(P, T, E)` float32, unscaled."""
    terminated: Tensor
    """`(P, T, E)` bool: nothing follows, by the task's own rule."""
    ended: Tensor
    """`(P, T, E)` bool: terminated, or cut off at the time limit."""


@dataclass(frozen=True)
class Evaluation:
    """One episode of every copy."""

    returns: Tensor
    """`(P, E)` float64, undiscounted."""
    steps: Tensor
    """`(P,)` int64, of all copies together."""


class _LifelongTasks:
    """One task per world, in all its episodes (a `TaskSource`)."""

    def __init__(self) -> None:
        self.task_ND = torch.empty(0)

    def tasks(self, key_N: Tensor, trial_N: Tensor, switched_N: Tensor) -> Tensor:
        del key_N, trial_N, switched_N  # unused
        return self.task_ND


class ControlWorlds:
    """The worlds of one family; keeps those it built last, but no state of theirs."""

    def __init__(self, family: str, copies: int, *, episode_length: int | None, split: str) -> None:
        """E = `copies`; the family's own episode length if None.

        Raises:
            ValueError: for an unknown family or split, or an episode length below 1.
        """
        self.space = family_class(family).task_space
        self.space.check_split(split)
        self._family, self._copies, self._split = family, copies, split
        self._length = episode_length
        self._source = _LifelongTasks()
        self._env = self._built(copies)
        action_space = self._env.family.action_space
        self.observation_size = self._env.observation_size
        self.continuous = isinstance(action_space, spaces.Box)
        self.action_size = action_size(action_space)

    def sample(self, key_P: Tensor) -> Tensor:
        """A task per key, `(P, D)` float64."""
        return self.space.sample(self._split, key_P)

    def begin(self, task_PD: Tensor, key_P: Tensor) -> Rows:
        """First episodes on these tasks."""
        return self._rows(self._started(task_PD, key_P).observation, task_PD)

    @torch.no_grad()
    def play(self, rows: Rows, act: Act, num_steps: int) -> tuple[ControlRollout, Rows]:
        """T more steps of the worlds in `rows`, and the rows after them."""
        observation_PEO = self._restored(rows)
        records = []
        for step in range(num_steps):
            action = act(observation_PEO, step)
            now = self._env.step(action.flatten(0, 1))
            records.append(self._record(observation_PEO, action, now))
            observation_PEO = self._apart(now.observation)
        stacked = {name: torch.stack([r[name] for r in records], dim=1) for name in records[0]}
        return ControlRollout(**stacked), self._rows(observation_PEO.flatten(0, 1), rows["task"])

    @torch.no_grad()
    def evaluate(self, task_PD: Tensor, key_P: Tensor, act: Act) -> Evaluation:
        """One new episode of every copy; steps count up to the end of each."""
        now = self._started(task_PD, key_P)
        plays_N = torch.ones(self._env.num_worlds, dtype=torch.bool)
        return_N = torch.zeros(self._env.num_worlds, dtype=torch.float64)
        length_N = torch.zeros(self._env.num_worlds, dtype=torch.int64)
        for step in range(self._env.episode_length):
            now = self._env.step(act(self._apart(now.observation), step).flatten(0, 1))
            return_N += now.reward.where(plays_N, 0.0)
            length_N += plays_N
            plays_N &= ~now.episode_start
            if not plays_N.any():
                break
        return Evaluation(self._apart(return_N), self._apart(length_N).sum(dim=1))

    def _record(self, before_PEO: Tensor, action: Tensor, now: TimeStep) -> Rows:
        after = {
            "next_observation": now.final_observation,
            "reward": now.reward,
            "terminated": now.terminated,
            "ended": now.episode_start,
        }
        apart = {name: self._apart(value) for name, value in after.items()}
        return {"observation": before_PEO, "action": action} | apart

    def _started(self, task_PD: Tensor, key_P: Tensor) -> TimeStep:
        self._make_room(len(key_P))
        self._source.task_ND = task_PD.repeat_interleave(self._copies, dim=0)
        key_PE = rng.fold_in(key_P.unsqueeze(1), torch.arange(self._copies))
        return self._env.reset(key_PE.flatten())

    def _restored(self, rows: Rows) -> Tensor:
        """Put the worlds back where `rows` left them; what they show, `(P, E, O)`."""
        self._make_room(len(rows["task"]))
        self._source.task_ND = rows["task"].repeat_interleave(self._copies, dim=0)
        state = {name: value.flatten(0, 1) for name, value in part("world", rows).items()}
        self._env.load_state_dict(state | {"num_diverged": torch.zeros((), dtype=torch.int64)})
        return rows["shown"]

    def _rows(self, observation_NO: Tensor, task_PD: Tensor) -> Rows:
        self._env.finished()  # what episodes came to is of no interest while agents learn
        state = self._env.state_dict()
        del state["num_diverged"]  # of all worlds together
        apart = {name: self._apart(value) for name, value in state.items()}
        return {"task": task_PD, "shown": self._apart(observation_NO)} | nested("world", apart)

    def _apart(self, value_N: Tensor) -> Tensor:
        """`(P, E, …)` of `(N, …)`."""
        return value_N.view(-1, self._copies, *value_N.shape[1:])

    def _make_room(self, num_agents: int) -> None:
        if self._env.num_worlds != num_agents * self._copies:
            self._env.close()
            self._env = self._built(num_agents * self._copies)

    def _built(self, num_worlds: int) -> TrialEnv:
        return TrialEnv(
            self._family,
            num_worlds,
            episode_length=self._length,
            episodes_per_trial=1,
            task_source=self._source,
        )
