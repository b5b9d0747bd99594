"""Which episodes a policy solves: what Meta-World's results are stated in.

Shape legend: N tasks, K episodes per trial.
"""

import torch
from torch import Tensor

from quickstudy.envs.metaworld.family import MetaWorld
from quickstudy.envs.play import Policy
from quickstudy.envs.trials import TimeStep, TrialEnv


class SuccessRecorder:
    """A policy that notes which episodes of each world's first trial another policy solves.

    Evaluate it in place of that policy and read `successes` afterwards. A fixed number of episodes
    is counted on every task, whenever they end.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._parts: list[_Part] = []

    def begin(self, env: TrialEnv) -> None:
        """Begin with new worlds; those of before stay recorded.

        Raises:
            ValueError: unless the worlds are Meta-World's.
        """
        if not isinstance(env.family, MetaWorld):
            raise ValueError(f"{type(env.family).__name__} does not say what a success is.")
        self._parts.append(_Part(env, env.family))
        self._policy.begin(env)

    def act(self, time_step: TimeStep) -> Tensor:
        """The other policy's action."""
        self._parts[-1].note(time_step.episode_start)
        return self._policy.act(time_step)

    @property
    def successes(self) -> Tensor:
        """`(N, K)` bool, for all tasks played so far."""
        return torch.cat([part.successes for part in self._parts])


class _Part:
    """The worlds of one environment."""

    def __init__(self, env: TrialEnv, family: MetaWorld) -> None:
        self._family = family
        self._episodes_K = torch.arange(env.episodes_per_trial)
        self._successes_NK = torch.zeros(env.num_worlds, env.episodes_per_trial, dtype=torch.bool)
        # The first observation starts an episode, but ends none.
        self._ended_N = torch.full((env.num_worlds,), -1)

    def note(self, episode_start_N: Tensor) -> None:
        ended_NK = episode_start_N.unsqueeze(1) & (self._ended_N.unsqueeze(1) == self._episodes_K)
        last_N1 = self._family.last_episode_success.unsqueeze(1)
        self._successes_NK = torch.where(ended_NK, last_N1, self._successes_NK)
        self._ended_N = self._ended_N + episode_start_N

    @property
    def successes(self) -> Tensor:
        """No action follows the step that ends the last trial: its episodes are read here."""
        last_NK = self._ended_N.unsqueeze(1) == self._episodes_K
        ended_NK = last_NK & (self._episodes_K == len(self._episodes_K) - 1)
        last_N1 = self._family.last_episode_success.unsqueeze(1)
        return torch.where(ended_NK, last_N1, self._successes_NK)
