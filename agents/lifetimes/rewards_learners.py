"""Tabular agents that learn from whatever reward they are given: A2C, REINFORCE, Q-learning.

Shape legend: P agents, T steps, E copies, S states, A actions.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout, at_states, table_rows
from quickstudy.agents.lifetimes.tabular_tables import (
    advantages,
    ascend,
    criticised,
    entropy_direction,
    log_softmax,
    policy_direction,
)

TIED = 1e-6
"""Values closer than this are equally good."""


class Learner(Protocol):
    """An agent's kind; `logits` (P, S, A) of its rows are the policy it acts by."""

    def begin(self, num_agents: int, num_states: int, num_actions: int) -> Rows:
        """The tables of the new-born."""

    def learn(self, rows: Rows, rollout: TabularRollout) -> Rows:
        """The tables after an update; `rollout.reward` is what to learn from."""


@dataclass(frozen=True)
class ActorCriticConfig:
    """A2C with tables (advantage actor-critic, Mnih et al. 2016)."""

    rate: float = 40.0
    """Of the logits; the gradient is a mean over T · E steps."""
    max_norm: float = 0.5
    """Longer gradients are shortened to this."""
    entropy: float = 0.01
    """Weight of the policy's entropy."""
    discount: float = 0.95
    """γ, per step, within an episode."""
    trace: float = 0.95
    """λ."""
    critic_rate: float = 0.5
    """How far a value moves towards what was seen, 0 to 1. With 0 (values stay 0) and trace 1 the
    agent is REINFORCE (Williams 1992), its returns cut at the rollout's end."""

    def build(self) -> "ActorCritic":
        return ActorCritic(self)


def reinforce(rate: float = 40.0, discount: float = 0.95) -> ActorCriticConfig:
    """REINFORCE: returns instead of advantages, and no critic."""
    return ActorCriticConfig(rate=rate, discount=discount, trace=1.0, critic_rate=0.0)


class ActorCritic:
    """A table of logits and one of values."""

    def __init__(self, config: ActorCriticConfig) -> None:
        self.config = config

    def begin(self, num_agents: int, num_states: int, num_actions: int) -> Rows:
        return {
            "logits": torch.zeros(num_agents, num_states, num_actions),
            "value": torch.zeros(num_agents, num_states),
        }

    def learn(self, rows: Rows, rollout: TabularRollout) -> Rows:
        config = self.config
        advantage_PTE = advantages(
            rows["value"], rollout, discount=config.discount, trace=config.trace
        )
        log_policy_PTEA = log_softmax(at_states(rows["logits"], rollout.state))
        direction = policy_direction(log_policy_PTEA, rollout.action, advantage_PTE)
        direction = direction + config.entropy * entropy_direction(log_policy_PTEA)
        logits = ascend(
            rows["logits"], rollout.state, direction, rate_P=config.rate, max_norm=config.max_norm
        )
        value = criticised(rows["value"], rollout, advantage_PTE, rate=config.critic_rate)
        return {"logits": logits, "value": value}


@dataclass(frozen=True)
class QLearningConfig:
    """Q-learning (Watkins 1989) with ε-greedy behaviour."""

    rate: float = 0.1
    """α: how far a value moves towards its target (Devidze et al. 2022: 0.1)."""
    epsilon: float = 0.05
    """ε: how often any action is taken (theirs: 0.05)."""
    discount: float = 0.95
    """γ, per step, within an episode."""

    def build(self) -> "QLearning":
        return QLearning(self)


class QLearning:
    """A table of action values, learned from the last step of a rollout to its first."""

    def __init__(self, config: QLearningConfig) -> None:
        self.config = config

    def begin(self, num_agents: int, num_states: int, num_actions: int) -> Rows:
        q_PSA = torch.zeros(num_agents, num_states, num_actions)
        return {"q": q_PSA, "logits": epsilon_greedy(q_PSA, self.config.epsilon)}

    def learn(self, rows: Rows, rollout: TabularRollout) -> Rows:
        q_PSA = rows["q"].clone()
        for t in reversed(range(rollout.action.shape[1])):
            self._learn_from_step(q_PSA, rollout, t)
        return {"q": q_PSA, "logits": epsilon_greedy(q_PSA, self.config.epsilon)}

    def _learn_from_step(self, q_PSA: Tensor, rollout: TabularRollout, t: int) -> None:
        """One step of each copy, in place; copies at the same place add their changes."""
        going_PE = (~rollout.ended[:, t]).to(q_PSA.dtype)
        best_PE = at_states(q_PSA, rollout.states[:, t + 1]).amax(dim=-1)
        target_PE = rollout.reward[:, t] + self.config.discount * going_PE * best_PE
        num_actions = q_PSA.shape[-1]
        place = table_rows(q_PSA, rollout.states[:, t]) * num_actions
        place = place + rollout.action[:, t].flatten()
        flat = q_PSA.view(-1)
        change = self.config.rate * (target_PE.flatten() - flat[place])
        flat.index_add_(0, place, change)


def epsilon_greedy(q: Tensor, epsilon: float) -> Tensor:
    """The ε-greedy policy as log π, of the shape of `q`; the best share what ε leaves evenly."""
    best = (q >= q.amax(dim=-1, keepdim=True) - TIED).to(q.dtype)
    greedy = best / best.sum(dim=-1, keepdim=True)
    return (epsilon / q.shape[-1] + (1.0 - epsilon) * greedy).log()
