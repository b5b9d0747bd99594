"""The learned schedule: values by hand, stacking, and that PPO under it follows it.

Shape legend: P rules, M parameters, T time, B worlds.
"""

import math

import pytest
import torch
from torch import Tensor

from quickstudy.agents.agent import AgentOutput
from quickstudy.agents.distributions import Categorical
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.objective import Batch
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.objectives.schedule import Schedule, ScheduleConfig, ScheduledObjective
from quickstudy.agents.rollout import Rollout

THREE = Schedule(ScheduleConfig(entropy_coefficient=0.1, discount=0.9, knots=3))
RULE_M = torch.tensor([0.0, 1.0, -1.0, 0.0, 2.0, 0.0])
"""log-entropy at n/N = 0, ½, 1; then the discount's logit."""


def at(n: int, total: int = 100) -> Lifetime:
    return Lifetime(torch.tensor(n), torch.tensor(total))


@pytest.mark.parametrize(
    ("n", "entropy", "logit"),
    [
        # On a knot, half-way between two of them, and three quarters of the way.
        (0, 0.0, 0.0),
        (50, 1.0, 2.0),
        (25, 0.5, 1.0),
        (75, 0.0, 1.0),
    ],
)
def test_lines_between_knots_by_hand(n, entropy, logit):
    """c·eᵃ with c = 0.1; logit 0.9 = ln 9, so the discount is 9·eᵇ/(1 + 9·eᵇ)."""
    found_entropy, found_discount = THREE(RULE_M, at(n))
    assert float(found_entropy) == pytest.approx(0.1 * math.exp(entropy))
    odds = 9.0 * math.exp(logit)
    assert float(found_discount) == pytest.approx(odds / (1.0 + odds))


def test_the_first_rule_changes_nothing():
    schedule = Schedule(ScheduleConfig(entropy_coefficient=0.03, discount=0.97))
    for n in range(0, 100, 9):
        entropy, discount = schedule(schedule.first_rule(0), at(n))
        assert float(entropy) == pytest.approx(0.03)
        assert float(discount) == pytest.approx(0.97)


def test_one_knot_is_a_constant():
    schedule = Schedule(ScheduleConfig(knots=1))
    early, late = (schedule(torch.tensor([0.7, 0.1]), at(n)) for n in (0, 99))
    assert early == late
    assert float(early[0]) == pytest.approx(0.01 * math.exp(0.7))


def test_stacked_rules_are_single_ones_side_by_side_and_differentiable():
    rule_PM = torch.stack([RULE_M, 2.0 * RULE_M, -RULE_M]).double().requires_grad_()
    lifetime = Lifetime(torch.tensor([0, 3, 9]), torch.tensor([1, 10, 10]))
    together = torch.stack(THREE(rule_PM, lifetime))
    for p in range(3):
        alone = THREE(rule_PM[p], Lifetime(lifetime.updates[p], lifetime.total[p]))
        torch.testing.assert_close(together[:, p], torch.stack(alone))

    def of(rule_PM: Tensor) -> tuple[Tensor, Tensor]:
        return THREE(rule_PM, lifetime)

    assert torch.autograd.gradcheck(of, (rule_PM,))


@pytest.mark.parametrize(
    "wrong", [{"entropy_coefficient": 0.0}, {"discount": 1.0}, {"discount": 0.0}, {"knots": 0}]
)
def test_schedules_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        ScheduleConfig(**wrong)


def rollout_of(reward_TB: Tensor) -> Rollout:
    """Only what `targets` looks at."""
    zero_TB = torch.zeros_like(reward_TB)
    names = dict.fromkeys(Rollout.__dataclass_fields__, zero_TB)
    end_TB = torch.zeros_like(reward_TB, dtype=torch.bool)
    end_TB[-1] = True
    return Rollout(**names | {"trial_end": end_TB, "practise": None})


def test_ppo_under_a_schedule_is_ppo_with_the_constants_of_the_moment():
    objective = ScheduledObjective(PPOConfig(trace=0.8), THREE, RULE_M)
    reward_TB = torch.tensor([[0.0, 1.0], [1.0, 0.0], [3.0, -1.0]])
    policy = Categorical(torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]]))
    zero_TB = torch.zeros(2, 1)
    batch = Batch(zero_TB.long(), zero_TB - 1.0, {"advantage": zero_TB + 1.0, "return": zero_TB})
    output = AgentOutput(policy, zero_TB, memory=zero_TB)
    totals = []
    for n in (0, 50):
        objective.begin_update(at(n))
        entropy, discount = (float(x) for x in THREE(RULE_M, at(n)))
        plain = PPO(PPOConfig(trace=0.8, discount=discount, entropy_coefficient=entropy))
        rollout = rollout_of(reward_TB)
        expected = plain.targets(rollout, reward_TB)
        for name, target in objective.targets(rollout, reward_TB).items():
            torch.testing.assert_close(target, expected[name])
        totals.append(objective.loss(batch, output).total.item())
        assert totals[-1] == pytest.approx(plain.loss(batch, output).total.item())
    assert totals[0] != pytest.approx(totals[1], abs=1e-3)
