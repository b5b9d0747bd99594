"""Reference scores: what known strategies earn on a family, computed by code.

Shape legend: N worlds, K episodes per trial.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quickstudy.envs.play import Policy, play_one_trial
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import FixedTasks, TimeStep, TrialEnv

SPLIT = "test"
"""The split references are played on."""

MAX_WORLDS = 1024
"""Trials played side by side; more are played in turn."""


@dataclass(frozen=True)
class Reference:
    """The mean score of one strategy in one kind of trial; returns are unscaled."""

    name: str
    kind: Literal["exact", "played"]
    """`exact`: an expectation that was computed; `played`: a mean over trials in `TrialEnv`."""
    episode_returns: tuple[float, ...]
    """Mean return of each of the trial's K episodes."""
    trial_return: float
    """Mean return of a trial: their sum."""
    standard_error: float
    """Of `trial_return`; 0 where it is exact."""
    trials: int
    """How many were played; 0 where it is exact."""
    source: str
    """Paper or algorithm."""


class Omniscient:
    """The family's scripted expert, told the task: what no agent can see."""

    def begin(self, env: TrialEnv) -> None:
        self._env = env

    def act(self, time_step: TimeStep) -> Tensor:
        action = self._env.family.expert_action(self._env.tasks)
        assert action is not None, f"{self._env.name} has no scripted expert"
        return action


MakePlayer = Callable[[int], Policy]
"""A player whose own draws, if any, follow from the seed."""


@dataclass(frozen=True)
class Trials:
    """The trials a reference is played in: `number` tasks listed from the `test` split."""

    family: str
    episode_length: int
    episodes_per_trial: int
    number: int
    seed: int

    def play(self, name: str, make_player: MakePlayer, source: str) -> Reference:
        """The score of a player in these trials."""
        returns_NK = self.returns(make_player)
        trial_N = returns_NK.sum(dim=1)
        return Reference(
            name=name,
            kind="played",
            episode_returns=tuple(returns_NK.mean(dim=0).tolist()),
            trial_return=float(trial_N.mean()),
            standard_error=float(trial_N.std()) / len(trial_N) ** 0.5,
            trials=len(trial_N),
            source=source,
        )

    def returns(self, make_player: MakePlayer) -> Tensor:
        """The return of each episode, float64 `(number, K)`; row i is that of task i."""
        task_ND = family_class(self.family).task_space.listing(SPLIT, self.number, self.seed)
        parts = [
            self._returns(task_ND[i : i + MAX_WORLDS], make_player, self.seed + i)
            for i in range(0, self.number, MAX_WORLDS)
        ]
        return torch.cat(parts)

    def _returns(self, task_ND: Tensor, make_player: MakePlayer, seed: int) -> Tensor:
        env = TrialEnv(
            self.family,
            len(task_ND),
            episode_length=self.episode_length,
            episodes_per_trial=self.episodes_per_trial,
            task_source=FixedTasks(task_ND),
        )
        return play_one_trial(make_player(seed), env, seed).returns


def exact(name: str, episode_returns: tuple[float, ...], source: str) -> Reference:
    """A reference that was computed."""
    return Reference(name, "exact", episode_returns, sum(episode_returns), 0.0, 0, source)
