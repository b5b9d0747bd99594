"""Closed-form learning of tables, against autograd and by hand."""

import math

import pytest
import torch

from quickstudy.agents.lifetimes import tabular_tables as tables
from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout, at_states, choose
from quickstudy.envs import rng


def noise(seed, *shape):
    draws = rng.normal(torch.tensor(seed), 2 * math.prod(shape))
    return draws[: math.prod(shape)].view(shape)


def rollout_of(states, reward, ended):
    """One agent, one copy."""
    reward = torch.tensor(reward, dtype=torch.float64)
    return TabularRollout(
        torch.tensor(states).view(1, -1, 1),
        torch.zeros(1, len(reward), 1, dtype=torch.int64),
        reward.view(1, -1, 1),
        torch.tensor(ended).view(1, -1, 1),
    )


def test_log_softmax_is_torchs():
    x = 5.0 * noise(1, 4, 3, 6)
    assert torch.allclose(tables.log_softmax(x), x.log_softmax(-1), atol=1e-12)


def test_softmax_of_large_logits_stays_finite():
    assert tables.log_softmax(torch.tensor([900.0, -900.0])).tolist() == [0.0, -1800.0]


@pytest.mark.parametrize("name", ["policy", "entropy", "prediction"])
def test_directions_are_the_gradients(name):
    logits = noise(2, 1, 2, 3, 4).requires_grad_()
    action, weight = torch.tensor([[[0, 3, 1], [2, 2, 0]]]), noise(3, 1, 2, 3)
    target = noise(4, 1, 2, 3, 4).log_softmax(-1)
    log_p = logits.log_softmax(-1)
    value, direction = {
        "policy": (
            weight * log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1),
            tables.policy_direction(log_p, action, weight),
        ),
        "entropy": (-(log_p.exp() * log_p).sum(-1), tables.entropy_direction(log_p)),
        "prediction": (
            -(log_p.exp() * (log_p - target)).sum(-1),
            tables.prediction_direction(log_p, target),
        ),
    }[name]
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert torch.allclose(direction, gradient, atol=1e-12)


def test_an_ascent_by_hand():
    """T = 2, E = 1, both steps in state 1: the gradient there is the mean of (3, 0) and (3, 8),
    (3, 4), of norm 5, shortened to norm 1: (0.6, 0.8); with rate 10, (6, 8).
    """
    table = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]])
    direction = torch.tensor([[[[3.0, 0.0]], [[3.0, 8.0]]]])
    after = tables.ascend(table, torch.tensor([[[1], [1]]]), direction, rate_P=10.0, max_norm=1.0)
    assert torch.allclose(after, torch.tensor([[[1.0, 1.0], [8.0, 10.0]]]))
    short = tables.ascend(table, torch.tensor([[[1], [1]]]), direction, rate_P=10.0, max_norm=6.0)
    assert torch.allclose(short, torch.tensor([[[1.0, 1.0], [32.0, 42.0]]]))


def test_a_step_of_length_zero_has_a_gradient():
    """√ has none at 0, which would make a rule's gradient NaN wherever nothing was earned."""
    weight = torch.zeros(1, 1, 1, 2, requires_grad=True)
    state = torch.zeros(1, 1, 1, dtype=torch.int64)
    after = tables.ascend(torch.zeros(1, 1, 2), state, weight, rate_P=2.0, max_norm=0.5)
    (gradient,) = torch.autograd.grad(after[0, 0, 0], weight)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0.0


def test_rows_of_tables_are_each_agents_own():
    table = torch.arange(12).view(2, 3, 2)
    state = torch.tensor([[[2], [0]], [[1], [1]]])
    expected = [[[[4, 5]], [[0, 1]]], [[[8, 9]], [[8, 9]]]]
    assert at_states(table, state).tolist() == expected
    ones = torch.ones(2, 2, 1, 1)
    assert tables.scattered(table, state, ones)[..., 0].tolist() == [[1, 0, 1], [0, 2, 0]]


def test_actions_by_inverse_cdf():
    """Logits (0, ln 2, 0) are probabilities (1/4, 1/2, 1/4): cut at 0.25 and 0.75."""
    logits = torch.tensor([[[0.0, math.log(2.0), 0.0]]])
    draw = torch.tensor([[0.0, 0.24, 0.26, 0.74, 0.76, 1.0 - 2.0**-53]], dtype=torch.float64)
    action = choose(logits, torch.zeros(1, 6, dtype=torch.int64), draw)
    assert action.tolist() == [[0, 0, 1, 1, 2, 2]]


def test_an_agent_of_nan_still_acts():
    draw = torch.tensor([[0.9]], dtype=torch.float64)
    logits = torch.full((1, 1, 3), math.nan)
    assert choose(logits, torch.zeros(1, 1, dtype=torch.int64), draw).tolist() == [[0]]


def test_advantages_and_values_by_hand():
    """γ = 1/2, λ = 1/2, V = (1, 2). Steps: 0 → 1 pays 0; 1 → end pays 4; 0 → 1 pays 0.

    δ = 0 + 2/2 − 1 = 0; 4 − 2 = 2; 0 + 2/2 − 1 = 0. A₃ = 0, A₂ = 2 (an end), A₁ = 0 + 2/4 = 0.5.
    State 0 was met twice: V = 1 + (0.5 + 0)/2 · 0.8 = 1.2; state 1 once: V = 2 + 2 · 0.8 = 3.6.
    """
    value = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    rollout = rollout_of([0, 1, 0, 1], [0.0, 4.0, 0.0], [False, True, False])
    advantage = tables.advantages(value, rollout, discount=0.5, trace=0.5)
    assert advantage.flatten().tolist() == [0.5, 2.0, 0.0]
    after = tables.criticised(value, rollout, advantage, rate=0.8)
    assert after.flatten().tolist() == pytest.approx([1.2, 3.6])
