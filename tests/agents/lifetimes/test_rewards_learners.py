"""Tabular learners: one step by hand, and against loops."""

import math

import pytest
import torch

from quickstudy.agents.lifetimes.lifetimes import rows_of
from quickstudy.agents.lifetimes.rewards_learners import (
    ActorCritic,
    ActorCriticConfig,
    QLearning,
    QLearningConfig,
    epsilon_greedy,
    reinforce,
)
from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout
from quickstudy.envs import rng

S, A = 4, 3


def rollout_of(states, actions, rewards, ends):
    """One agent, one copy."""
    return TabularRollout(
        torch.tensor(states).view(1, -1, 1),
        torch.tensor(actions).view(1, -1, 1),
        torch.tensor(rewards, dtype=torch.float64).view(1, -1, 1),
        torch.tensor(ends).view(1, -1, 1),
    )


def random_rollout(num_agents, steps, copies):
    key_P = rng.world_keys(5, rng.Stream.TASK, num_agents)
    draw = rng.uniform(key_P, (steps + 1) * copies * 4).view(num_agents, steps + 1, copies, 4)
    return TabularRollout(
        (draw[..., 0] * S).long(),
        (draw[:, 1:, :, 1] * A).long(),
        draw[:, 1:, :, 2],
        draw[:, 1:, :, 3] < 0.3,
    )


def begun(learner, num_agents):
    """New tables in float64."""
    return {name: row.double() for name, row in learner.begin(num_agents, S, A).items()}


def one_agent(rollout, p):
    return TabularRollout(*(getattr(rollout, f)[p : p + 1] for f in TabularRollout.__annotations__))


# --- policy gradients -------------------------------------------------------------------------


def test_a_step_of_reinforce_by_hand():
    """Two steps, γ = 0.5, rewards 0 and 2, the end after: returns 1 and 2. From even logits of 2
    actions the gradient is the mean of G (e_a − 1/2): state 0 gets (1/2, −1/2) / 2, state 1 gets
    (−1, 1) / 2; times the rate 0.1.
    """
    config = ActorCriticConfig(
        rate=0.1, max_norm=math.inf, entropy=0.0, discount=0.5, trace=1.0, critic_rate=0.0
    )
    learner = ActorCritic(config)
    rows = {name: row.double() for name, row in learner.begin(1, 2, 2).items()}
    after = learner.learn(rows, rollout_of([0, 1, 0], [0, 1], [0.0, 2.0], [False, True]))
    expected = torch.tensor([[[0.025, -0.025], [-0.05, 0.05]]], dtype=torch.float64)
    torch.testing.assert_close(after["logits"], expected)
    assert float(after["value"].abs().max()) == 0.0


def test_reinforce_is_an_actor_critic_without_a_critic():
    config = reinforce(rate=3.0, discount=0.9)
    assert (config.rate, config.discount, config.trace, config.critic_rate) == (3.0, 0.9, 1.0, 0.0)


def slow_actor_critic(config, rows, rollout):
    """One agent: returns as sums, gradients by autograd."""
    logits, value = rows["logits"][0].clone().requires_grad_(), rows["value"][0].clone()
    steps, copies = rollout.action.shape[1:]
    objective, total, visits = 0.0, torch.zeros(S, dtype=torch.float64), torch.zeros(S)
    for e in range(copies):
        carry = 0.0
        for t in reversed(range(steps)):
            s, a = int(rollout.states[0, t, e]), int(rollout.action[0, t, e])
            going = 0.0 if rollout.ended[0, t, e] else 1.0
            ahead = going * value[int(rollout.states[0, t + 1, e])]
            delta = rollout.reward[0, t, e] + config.discount * ahead - value[s]
            carry = delta + config.discount * config.trace * going * carry
            policy = torch.distributions.Categorical(logits=logits[s])
            objective = objective + policy.log_prob(torch.tensor(a)) * carry
            objective = objective + config.entropy * policy.entropy()
            total[s] += carry
            visits[s] += 1
    (gradient,) = torch.autograd.grad(objective / (steps * copies), logits)
    gradient = gradient * min(1.0, config.max_norm / float(gradient.norm()))
    return {
        "logits": (logits + config.rate * gradient).detach(),
        "value": value + config.critic_rate * total / visits.clamp(min=1),
    }


def test_the_actor_critic_learns_as_a_loop_does():
    learner = ActorCritic(ActorCriticConfig(rate=7.0, max_norm=0.05, entropy=0.1, trace=0.7))
    rollout, rows = random_rollout(3, 6, 2), begun(learner, 3)
    for _ in range(3):
        after = learner.learn(rows, rollout)
        for p in range(3):
            row = rows_of(rows, slice(p, p + 1))
            slow = slow_actor_critic(learner.config, row, one_agent(rollout, p))
            for name in slow:
                torch.testing.assert_close(after[name][p], slow[name])
        rows = after


# --- Q-learning -------------------------------------------------------------------------------


def test_a_q_learning_rollout_by_hand():
    """α = 0.5, γ = 0.8, from zeros: the last step first, Q(1, 1) = 0.5 · 2 = 1; then
    Q(0, 0) = 0.5 (1 + 0.8 · 1) = 0.9. Behaviour, ε = 0.2: 0.1 + 0.8 on the best.
    """
    learner = QLearning(QLearningConfig(rate=0.5, epsilon=0.2, discount=0.8))
    rows = {name: row.double() for name, row in learner.begin(1, 2, 2).items()}
    after = learner.learn(rows, rollout_of([0, 1, 0], [0, 1], [1.0, 2.0], [False, True]))
    torch.testing.assert_close(after["q"][0].tolist(), [[0.9, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(after["logits"].exp()[0].tolist(), [[0.9, 0.1], [0.1, 0.9]])
    assert float(rows["q"].abs().max()) == 0.0, "the old tables are unharmed"


def test_equally_good_actions_share_the_greedy_part():
    """ε = 0.3, three actions, two best: 0.1 + 0.35 each, and 0.1."""
    found = epsilon_greedy(torch.tensor([2.0, 2.0, 1.0]), 0.3).exp()
    assert found.tolist() == pytest.approx([0.45, 0.45, 0.1])


def test_q_learning_learns_as_a_loop_does():
    learner = QLearning(QLearningConfig(rate=0.3, discount=0.9))
    rollout, rows = random_rollout(3, 6, 2), begun(learner, 3)
    for _ in range(3):
        after = learner.learn(rows, rollout)
        for p in range(3):
            q = rows["q"][p].clone()
            for t in reversed(range(6)):
                changes = []
                for e in range(2):
                    s, a = int(rollout.states[p, t, e]), int(rollout.action[p, t, e])
                    ahead = 0.9 * float(q[int(rollout.states[p, t + 1, e])].max())
                    ahead = 0.0 if rollout.ended[p, t, e] else ahead
                    target = float(rollout.reward[p, t, e]) + ahead
                    changes.append((s, a, 0.3 * (target - float(q[s, a]))))
                for s, a, change in changes:
                    q[s, a] += change
            torch.testing.assert_close(after["q"][p], q)
        rows = after
