"""Known strategies for the tabular MDPs: plan in what is believed, each episode or each step.

The prior is that of the tasks, so beliefs are exact. After the rewards r₁ … r_m, whose noise has
variance 1, a pair's mean reward is N((1 + Σ r) / (1 + m), 1 / (1 + m)), and its next state has the
probabilities Dirichlet(1 + counts).

The players see what an agent sees: an episode's last next state is not shown, and not counted.

Shape legend: N worlds, S states, A actions, H steps of an episode.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.families.tabular_mdp import MEAN_REWARD, NUM_ACTIONS, NUM_STATES, plan
from quickstudy.envs.references.reference import (
    MakePlayer,
    Omniscient,
    Reference,
    Trials,
    exact,
)
from quickstudy.envs.trials import TimeStep, TrialEnv

BONUS = 1.0
"""Posterior standard deviations the bonus planner adds to each mean reward."""


class Posterior:
    """What N worlds' rewards and transitions so far say about their MDPs."""

    def __init__(self, num_worlds: int) -> None:
        pairs = num_worlds, NUM_STATES * NUM_ACTIONS
        self._visits = torch.zeros(pairs, dtype=torch.float64)
        self._reward_sum = torch.zeros(pairs, dtype=torch.float64)
        self._transitions = torch.zeros(*pairs, NUM_STATES, dtype=torch.float64)
        self._world_N = torch.arange(num_worlds)

    def forget(self, mask_N: Tensor) -> None:
        """Back to the prior where `mask_N` is True."""
        for table in (self._visits, self._reward_sum, self._transitions):
            table[mask_N] = 0.0

    def see(self, pair_N: Tensor, reward_N: Tensor, next_N: Tensor, known_N: Tensor) -> None:
        """Take in one step; `next_N` only where `known_N` is True."""
        self._visits[self._world_N, pair_N] += 1.0
        self._reward_sum[self._world_N, pair_N] += reward_N
        self._transitions[self._world_N, pair_N, next_N] += known_N.double()

    @property
    def reward_mean(self) -> Tensor:
        """`(N, S, A)`."""
        return _by_action((MEAN_REWARD + self._reward_sum) / (1.0 + self._visits))

    @property
    def reward_deviation(self) -> Tensor:
        """Standard deviation of the mean reward, `(N, S, A)`."""
        return _by_action((1.0 + self._visits).rsqrt())

    @property
    def concentration(self) -> Tensor:
        """Of each pair's Dirichlet, `(N, S, A, S)`."""
        return _by_action(1.0 + self._transitions)


class Planner(ABC):
    """Plans in an MDP of its own, from each episode's start or each step to the episode's end."""

    def __init__(self, each_step: bool) -> None:
        self._each_step = each_step

    def begin(self, env: TrialEnv) -> None:
        self._posterior = Posterior(env.num_worlds)
        self._horizon = env.episode_length
        self._world_N = torch.arange(env.num_worlds)
        self._state_N = torch.zeros(env.num_worlds, dtype=torch.int64)
        self._step_N = torch.zeros_like(self._state_N)
        self._actions_HNS = torch.zeros(env.episode_length, env.num_worlds, NUM_STATES).long()

    def act(self, time_step: TimeStep) -> Tensor:
        state_N = time_step.observation.argmax(dim=1)
        pair_N = self._state_N * NUM_ACTIONS + time_step.previous_action
        within_N = ~time_step.episode_start
        self._posterior.see(pair_N, time_step.previous_reward.double(), state_N, within_N)
        self._posterior.forget(time_step.trial_start)
        self._step_N = torch.where(within_N, self._step_N + 1, 0)
        self._replan(torch.ones_like(within_N) if self._each_step else ~within_N)
        self._state_N = state_N
        return self._actions_HNS[self._step_N, self._world_N, state_N]

    @abstractmethod
    def _mdp(self, belief: Posterior) -> tuple[Tensor, Tensor]:
        """Rewards `(N, S, A)` and transition probabilities `(N, S, A, S)` to plan in."""

    def _replan(self, mask_N: Tensor) -> None:
        if mask_N.any():
            actions_HNS, _ = plan(*self._mdp(self._posterior), self._horizon)
            self._actions_HNS = torch.where(mask_N[:, None], actions_HNS, self._actions_HNS)


class PSRLPlayer(Planner):
    """Posterior sampling (Strens 2000; Osband et al. 2013): plan in an MDP drawn from the belief.

    One draw per episode: new draws within it would not carry an exploration through.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(each_step=False)
        self._generator = np.random.default_rng(seed)

    def _mdp(self, belief: Posterior) -> tuple[Tensor, Tensor]:
        mean_NSA = belief.reward_mean
        noise_NSA = torch.from_numpy(self._generator.standard_normal(mean_NSA.shape))
        gamma = self._generator.standard_gamma(belief.concentration.numpy())
        return mean_NSA + belief.reward_deviation * noise_NSA, _normalised(torch.from_numpy(gamma))


class BonusPlayer(Planner):
    """Plans with the mean transitions, and mean rewards plus `bonus` standard deviations."""

    def __init__(self, bonus: float, *, each_step: bool) -> None:
        super().__init__(each_step)
        self._bonus = bonus

    def _mdp(self, belief: Posterior) -> tuple[Tensor, Tensor]:
        reward_NSA = belief.reward_mean + self._bonus * belief.reward_deviation
        return reward_NSA, _normalised(belief.concentration)


PLAYERS: dict[str, tuple[MakePlayer, str]] = {
    "omniscient": (lambda seed: Omniscient(), "value iteration in the true MDP"),
    "bonus planner, each step": (
        lambda seed: BonusPlayer(BONUS, each_step=True),
        "the mean MDP plus a posterior standard deviation of each reward; plans at each step",
    ),
    "bonus planner": (
        lambda seed: BonusPlayer(BONUS, each_step=False),
        "the mean MDP plus a posterior standard deviation of each reward; plans once an episode",
    ),
    "greedy planner": (
        lambda seed: BonusPlayer(0.0, each_step=False),
        "the mean MDP; plans once an episode",
    ),
    "PSRL": (PSRLPlayer, "Osband et al. 2013, with the tasks' own prior"),
}
"""How each is made, and its source."""


def tabular_mdp_references(trials: Trials) -> list[Reference]:
    """The references of the tabular MDPs; whatever ignores the rewards earns 1 per step."""
    random = (MEAN_REWARD * trials.episode_length,) * trials.episodes_per_trial
    played = [trials.play(name, make, source) for name, (make, source) in PLAYERS.items()]
    return [*played, exact("random", random, "any action: 1 per step")]


def _by_action(table: Tensor) -> Tensor:
    """`(N, S·A, …)` to `(N, S, A, …)`."""
    return table.view(len(table), NUM_STATES, NUM_ACTIONS, *table.shape[2:])


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=-1, keepdim=True)
