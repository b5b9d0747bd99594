"""Advantages: worked by hand, and against sums written out term by term.

Shape legend: T time, B worlds.
"""

import pytest
import torch
from torch import Tensor

from quickstudy.agents.returns import gae


def column(*numbers: float) -> Tensor:
    """One world's numbers, `(T, 1)`."""
    return torch.tensor(numbers, dtype=torch.float64).unsqueeze(1)


def ends(num_steps: int, *at: int) -> Tensor:
    """Trial ends `(T, 1)` at these steps."""
    trial_end_TB = torch.zeros(num_steps, 1, dtype=torch.bool)
    trial_end_TB[list(at)] = True
    return trial_end_TB


def test_credit_crosses_the_boundary_between_episodes_of_a_trial():
    """Two episodes of 3 steps; 10 is earned at the very end; V = 0, γ = λ = 1.

    δ = 0 0 0 | 0 0 10. With nothing discounted, each step's advantage is the sum of the δ from it
    to the end of the *trial*: 10 10 10 | 10 10 10. (Cut at the inner boundary: 0 0 0 | 10 10 10.)
    """
    zeros_TB = torch.zeros(6, 1, dtype=torch.float64)
    reward_TB = column(0, 0, 0, 0, 0, 10)
    advantage_TB = gae(reward_TB, zeros_TB, zeros_TB, ends(6, 5), discount=1.0, trace=1.0)
    assert torch.equal(advantage_TB, column(10, 10, 10, 10, 10, 10))


def test_a_known_horizon_worked_by_hand():
    """γ = λ = ½, so γλ = ¼. Rewards 1 0 4, values 1 2 3; nothing follows the end, V = 0.

    δ₀ = 1 + ½·2 − 1 = 1      A₀ = 1 + ¼·(−¼) = 0.9375
    δ₁ = 0 + ½·3 − 2 = −½     A₁ = −½ + ¼·1 = −0.25
    δ₂ = 4 + ½·0 − 3 = 1      A₂ = 1
    """
    advantage_TB = gae(
        column(1, 0, 4), column(1, 2, 3), column(2, 3, 0), ends(3, 2), discount=0.5, trace=0.5
    )
    assert torch.equal(advantage_TB, column(0.9375, -0.25, 1))


def test_an_open_end_worked_by_hand():
    """The same trial, cut at a final observation of value 2.

    δ₂ = 4 + ½·2 − 3 = 2, so A₂ = 2, A₁ = −½ + ¼·2 = 0, A₀ = 1 + ¼·0 = 1.
    """
    advantage_TB = gae(
        column(1, 0, 4), column(1, 2, 3), column(2, 3, 2), ends(3, 2), discount=0.5, trace=0.5
    )
    assert torch.equal(advantage_TB, column(1, 0, 2))


def test_nothing_flows_back_from_the_next_trial():
    """A trial ends at step 1; the fortune of the next one (100 at step 2) is not its doing.

    V = 0, γ = λ = 1: A = 1 + 2, 2 | 100, 0.
    """
    zeros_TB = torch.zeros(4, 1, dtype=torch.float64)
    reward_TB = column(1, 2, 100, 0)
    advantage_TB = gae(reward_TB, zeros_TB, zeros_TB, ends(4, 1), discount=1.0, trace=1.0)
    assert torch.equal(advantage_TB, column(3, 2, 100, 0))


@pytest.fixture
def staggered():
    """Twelve steps of 40 worlds whose trials end at random, each world at its own times."""
    generator = torch.Generator().manual_seed(0)
    reward_TB, value_TB, end_value_TB = torch.randn(
        3, 12, 40, generator=generator, dtype=torch.float64
    )
    trial_end_TB = torch.rand(12, 40, generator=generator) < 0.2
    follow_TB = torch.cat([value_TB[1:], end_value_TB[-1:]])
    assert trial_end_TB.any(dim=1).all(), "some world ends at each step"
    return reward_TB, value_TB, follow_TB, end_value_TB, trial_end_TB


@pytest.mark.parametrize("open_ended", [False, True], ids=["known horizon", "open-ended"])
def test_advantages_equal_the_double_sum(staggered, open_ended):
    """A_t = Σ_l (γλ)^l δ_{t+l}, up to and with the end of the trial (eq. 16 of the paper)."""
    reward_TB, value_TB, follow_TB, end_value_TB, trial_end_TB = staggered
    end_TB = end_value_TB if open_ended else torch.zeros_like(end_value_TB)
    next_TB = torch.where(trial_end_TB, end_TB, follow_TB)
    discount, trace = 0.9, 0.7
    advantage_TB = gae(reward_TB, value_TB, next_TB, trial_end_TB, discount=discount, trace=trace)
    for b in range(40):
        for t in range(12):
            total, weight = 0.0, 1.0
            for s in range(t, 12):
                delta = reward_TB[s, b] + discount * next_TB[s, b] - value_TB[s, b]
                total += weight * delta
                weight *= discount * trace
                if trial_end_TB[s, b]:
                    break
            assert float(advantage_TB[t, b]) == pytest.approx(float(total), abs=1e-12)


@pytest.mark.parametrize("open_ended", [False, True], ids=["known horizon", "open-ended"])
def test_with_a_full_trace_advantage_plus_value_is_the_discounted_return(staggered, open_ended):
    """At λ = 1 the values inside telescope away: rewards to the end, and the value of the end."""
    reward_TB, value_TB, follow_TB, end_value_TB, trial_end_TB = staggered
    end_TB = end_value_TB if open_ended else torch.zeros_like(end_value_TB)
    next_TB = torch.where(trial_end_TB, end_TB, follow_TB)
    advantage_TB = gae(reward_TB, value_TB, next_TB, trial_end_TB, discount=0.9, trace=1.0)
    return_B = follow_TB[-1]
    for t in range(11, -1, -1):
        return_B = reward_TB[t] + 0.9 * torch.where(trial_end_TB[t], end_TB[t], return_B)
        torch.testing.assert_close(advantage_TB[t] + value_TB[t], return_B)


def test_without_a_trace_the_advantage_is_the_one_step_error(staggered):
    reward_TB, value_TB, follow_TB, _, trial_end_TB = staggered
    advantage_TB = gae(reward_TB, value_TB, follow_TB, trial_end_TB, discount=0.9, trace=0.0)
    torch.testing.assert_close(advantage_TB, reward_TB + 0.9 * follow_TB - value_TB)
