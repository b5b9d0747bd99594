"""Who acts in trials, and playing exactly one trial in each of N worlds."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.accounts import TrialResults, joined
from quickstudy.envs.trials import TimeStep, TrialEnv


class Policy(Protocol):
    """Acts in N worlds; `begin` is called once, before the first step of new trials."""

    def begin(self, env: TrialEnv) -> None:
        """Forget everything and look at the worlds to act in."""

    def act(self, time_step: TimeStep) -> Tensor:
        """Actions for one step."""


def play_one_trial(policy: Policy, env: TrialEnv, seed: int) -> TrialResults:
    """Step until every world has finished its first trial.

    Returns:
        The first trial of each world, row i that of world i.
    """
    time_step = env.reset(seed)
    policy.begin(env)
    parts: list[TrialResults] = []
    waiting_N = torch.ones(env.num_worlds, dtype=torch.bool)
    # Where a look would wait for the device, there is one per episode.
    unseen_steps = 1 if env.peeks else env.episode_length
    while waiting_N.any():
        for _ in range(unseen_steps):
            time_step = env.step(policy.act(time_step))
        results = env.finished()
        parts.append(results.rows(waiting_N[results.worlds]))
        waiting_N[results.worlds] = False
    env.family.check_capacity()
    played = joined(parts)
    # Between two looks a world may have finished several.
    _, first = np.unique(played.worlds.numpy(), return_index=True)
    return played.rows(torch.from_numpy(first))
