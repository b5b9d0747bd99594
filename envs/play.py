"""Who acts in trials, and playing exactly one trial in each world.

Shape legend: N worlds, K episodes per trial.
"""

from typing import Protocol

import torch
from torch import Tensor

from quickstudy.envs.trials import TimeStep, TrialEnv


class Policy(Protocol):
    """Acts in N worlds; `begin` is called once, before the first step of new trials."""

    def begin(self, env: TrialEnv) -> None:
        """Forget everything and look at the worlds to act in."""

    def act(self, time_step: TimeStep) -> Tensor:
        """Actions for one step."""


def play_one_trial(policy: Policy, env: TrialEnv, seed: int) -> tuple[Tensor, Tensor]:
    """Step until every world has finished its first trial.

    Returns:
        Return and length of each episode, both `(N, K)`, row i that of world i.
    """
    time_step = env.reset(seed)
    policy.begin(env)
    returns_NK = torch.zeros(env.num_worlds, env.episodes_per_trial, dtype=torch.float64)
    lengths_NK = torch.zeros_like(returns_NK, dtype=torch.int64)
    waiting = torch.ones(env.num_worlds, dtype=torch.bool)
    while waiting.any():
        time_step = env.step(policy.act(time_step))
        results = env.finished()
        first = waiting[results.worlds]
        returns_NK[results.worlds[first]] = results.returns[first]
        lengths_NK[results.worlds[first]] = results.lengths[first]
        waiting[results.worlds] = False
    return returns_NK, lengths_NK
