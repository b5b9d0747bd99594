"""Known strategies for Bernoulli bandits, from the exact optimum down to a fixed arm.

The players see what an agent sees: what was pulled, what it paid, and where a trial starts.

Shape legend: N worlds, k arms.
"""

from abc import ABC, abstractmethod
from functools import partial

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.references.bandit_values import (
    MAX_PULLS,
    bayes_optimal_return,
    gittins_indices,
    has_optimal_return,
)
from quickstudy.envs.references.reference import MakePlayer, Reference, Trials, exact
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import TimeStep, TrialEnv


class IndexPlayer(ABC):
    """Pulls the arm with the highest index, the first of equals."""

    def begin(self, env: TrialEnv) -> None:
        arms = env.family.task_space.dim
        self._paid_Nk = torch.zeros(env.num_worlds, arms, dtype=torch.int64, device=env.device)
        self._failed_Nk = torch.zeros_like(self._paid_Nk)
        self._trial_length = env.trial_length

    def act(self, time_step: TimeStep) -> Tensor:
        self._count(time_step)
        return self._index(self._paid_Nk, self._failed_Nk).argmax(dim=1)

    @abstractmethod
    def _index(self, paid_Nk: Tensor, failed_Nk: Tensor) -> Tensor:
        """What speaks for each arm, `(N, k)`, after it paid and failed so often."""

    def _count(self, time_step: TimeStep) -> None:
        arm_N1 = time_step.previous_action.unsqueeze(1)
        paid_N1 = time_step.previous_reward.long().unsqueeze(1)
        self._paid_Nk.scatter_add_(1, arm_N1, paid_N1)
        self._failed_Nk.scatter_add_(1, arm_N1, 1 - paid_N1)
        for counts_Nk in (self._paid_Nk, self._failed_Nk):
            counts_Nk.masked_fill_(time_step.trial_start.unsqueeze(1), 0)


class GittinsPlayer(IndexPlayer):
    """The finite-horizon Gittins index of the pulls that are left."""

    def begin(self, env: TrialEnv) -> None:
        super().begin(env)
        self._table = torch.from_numpy(gittins_indices(env.trial_length))

    def _index(self, paid_Nk: Tensor, failed_Nk: Tensor) -> Tensor:
        done_N1 = (paid_Nk + failed_Nk).sum(dim=1, keepdim=True)
        return self._table[self._trial_length - 1 - done_N1, paid_Nk, failed_Nk]


class ThompsonPlayer(IndexPlayer):
    """A draw from each arm's posterior (Thompson 1933)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def begin(self, env: TrialEnv) -> None:
        super().begin(env)
        self._generator = np.random.default_rng(self._seed)

    def _index(self, paid_Nk: Tensor, failed_Nk: Tensor) -> Tensor:
        draw_Nk = self._generator.beta(paid_Nk.numpy() + 1.0, failed_Nk.numpy() + 1.0)
        return torch.from_numpy(draw_Nk)


class UCB1Player(IndexPlayer):
    """Mean reward plus √(2 ln t / m) after m of t pulls; each arm once first (Auer et al. 2002)."""

    def _index(self, paid_Nk: Tensor, failed_Nk: Tensor) -> Tensor:
        pulls_Nk = (paid_Nk + failed_Nk).double()
        log_N1 = pulls_Nk.sum(dim=1, keepdim=True).clamp(min=1.0).log()
        index_Nk = paid_Nk / pulls_Nk + (2.0 * log_N1 / pulls_Nk).sqrt()
        return index_Nk.masked_fill(pulls_Nk == 0, torch.inf)


class GreedyPlayer(IndexPlayer):
    """The posterior mean, (s + 1) / (s + f + 2)."""

    def _index(self, paid_Nk: Tensor, failed_Nk: Tensor) -> Tensor:
        return (paid_Nk + 1.0) / (paid_Nk + failed_Nk + 2.0)


PLAYERS: dict[str, tuple[MakePlayer, str]] = {
    "UCB1": (lambda seed: UCB1Player(), "Auer et al. 2002, with the constant 2"),
    "greedy": (lambda seed: GreedyPlayer(), "the arm of the highest posterior mean"),
    "Thompson sampling": (ThompsonPlayer, "Thompson 1933, with the prior U[0, 1]"),
}
"""Those for trials of any length: how each is made, and its source."""


def bandit_references(trials: Trials) -> list[Reference]:
    """The references of a bandit.

    The Bayes-optimal return is given for trials of one episode with few enough beliefs, and the
    Gittins index is played for up to `MAX_PULLS` pulls.
    """
    arms = family_class(trials.family).task_space.dim
    pulls = trials.episode_length * trials.episodes_per_trial
    evenly = partial(_evenly, trials)
    references = [
        evenly("omniscient", arms / (arms + 1), "always the best arm: k / (k + 1) per pull")
    ]
    if trials.episodes_per_trial == 1 and has_optimal_return(arms, pulls):
        best = bayes_optimal_return(arms, pulls)
        references.append(exact("Bayes-optimal", (best,), "dynamic programming over beliefs"))
    players = dict(PLAYERS)
    if pulls <= MAX_PULLS:
        gittins = lambda seed: GittinsPlayer(), "Gittins 1979, with a finite horizon"
        players = {"Gittins index": gittins} | players
    references += [trials.play(name, make, source) for name, (make, source) in players.items()]
    return [*references, evenly("random", 0.5, "any arm: 1 / 2 per pull")]


def _evenly(trials: Trials, name: str, per_pull: float, source: str) -> Reference:
    """A strategy that earns as much with every pull."""
    return exact(name, (per_pull * trials.episode_length,) * trials.episodes_per_trial, source)
