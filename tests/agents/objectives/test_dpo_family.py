"""DPO's family: its members are drifts, and one of them is DPO."""

import math

import pytest
import torch

from quickstudy.agents.objectives.dpo_family import DPOFamily, DPOFamilyConfig
from quickstudy.agents.objectives.drift_check import check_drift
from quickstudy.agents.objectives.drifts import dpo_drift
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.envs import rng

FAMILY = DPOFamily(DPOFamilyConfig())
HALFWAY = Lifetime(torch.tensor(5), torch.tensor(10))


def draws(*shape: int, seed: int) -> torch.Tensor:
    key = rng.root_key(seed, rng.Stream.BOOTSTRAP)
    return rng.normal(key, math.prod(shape)).reshape(shape)


def test_a_rule_of_zeros_is_dpo():
    log_ratio_B, advantage_B = draws(50, seed=0), draws(50, seed=1)
    rule_M = FAMILY.first_rule(3).double()
    assert torch.equal(rule_M, torch.zeros(4, dtype=torch.float64))
    found_B = FAMILY(rule_M, log_ratio_B, advantage_B, HALFWAY)
    torch.testing.assert_close(found_B, dpo_drift(log_ratio_B, advantage_B))


@pytest.mark.parametrize(
    ("updates", "ratio", "advantage", "expected"),
    [
        # α runs from 2 to 4 and is 3 halfway; u = (3 − 1)·3 = 6, D = 6 − 3 tanh 2 = 3.107917.
        (5, 3.0, 3.0, 3.107917),
        # At birth α = 2: D = 6 − 2 tanh 3 = 4.009891.
        (0, 3.0, 3.0, 4.009891),
        # β runs from 0.6 to 0.3 and is 0.45 halfway; u = log(½)·(−1) = 0.693147,
        # D = 0.693147 − 0.45 tanh 1.540327 = 0.693147 − 0.45·0.912175 = 0.282668.
        (5, 0.5, -1.0, 0.282668),
        # The other way the half costs nothing.
        (5, 2.0, -1.0, 0.0),
    ],
)
def test_by_hand(updates, ratio, advantage, expected):
    rule_M = torch.tensor([0.0, math.log(2.0), 0.0, math.log(0.5)], dtype=torch.float64)
    age = Lifetime(torch.tensor(updates), torch.tensor(10))
    point = torch.tensor([math.log(ratio), advantage], dtype=torch.float64)
    assert float(FAMILY(rule_M, point[0], point[1], age)) == pytest.approx(expected, abs=1e-6)


def test_any_rule_is_a_drift():
    for rule_M in draws(5, 4, seed=2):
        assert check_drift(lambda r, a, age, rule_M=rule_M: FAMILY(rule_M, r, a, age)).passes()


def test_a_population_is_its_members():
    rule_PM, log_ratio_PTB = draws(3, 4, seed=3), draws(3, 7, 2, seed=4)
    advantage_PTB = draws(3, 7, 2, seed=5)
    updates_P, total_P = torch.tensor([0, 2, 9]), torch.tensor([1, 8, 10])
    found_PTB = FAMILY(rule_PM, log_ratio_PTB, advantage_PTB, Lifetime(updates_P, total_P))
    for p in range(3):
        age = Lifetime(updates_P[p], total_P[p])
        alone_TB = FAMILY(rule_PM[p], log_ratio_PTB[p], advantage_PTB[p], age)
        torch.testing.assert_close(found_PTB[p], alone_TB)


def test_the_entropy_weight_is_handed_on():
    rule_M = FAMILY.first_rule(0)
    assert FAMILY.entropy_coefficient(rule_M) is None
    weight = DPOFamily(DPOFamilyConfig(entropy_coefficient=0.02)).entropy_coefficient(rule_M)
    assert float(weight) == pytest.approx(0.02)
