"""Drifts: their values by hand, that they are drifts whatever the parameters, and stacking.

Shape legend: P rules, B steps, M parameters.
"""

import math
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from quickstudy.agents.objectives.drift_check import DriftGrid, check_drift
from quickstudy.agents.objectives.drifts import (
    LearnedDrift,
    LearnedDriftConfig,
    dpo_drift,
    ppo_drift,
)
from quickstudy.agents.objectives.lifetime import TIME_FEATURES, Lifetime
from quickstudy.envs import rng

HALFWAY = Lifetime(torch.tensor(50), torch.tensor(100))
TA_LPO = LearnedDrift(LearnedDriftConfig())


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Float64 draws."""
    key = rng.root_key(seed, rng.Stream.BOOTSTRAP)
    return rng.normal(key, math.prod(shape)).reshape(shape)


def random_rule(drift: LearnedDrift, seed: int, scale: float = 1.0) -> Tensor:
    return scale * normal(drift.layout.num_parameters, seed=seed)


def steps(*shape: int, seed: int = 7) -> tuple[Tensor, Tensor]:
    """Log-ratios (both within and beyond the clip) and advantages."""
    log_ratio, advantage = normal(2, *shape, seed=seed)
    return 0.4 * log_ratio, advantage


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        # (1.5 − 1.2)·2; 1.5 is within the clip of an action that is to become rarer: 0.
        (1.5, 2.0, 0.6),
        (1.5, -2.0, 0.0),
        # (0.5 − 0.8)·(−1); the other sign: 0; within 1 ± 0.2: 0.
        (0.5, -1.0, 0.3),
        (0.5, 1.0, 0.0),
        (1.1, 3.0, 0.0),
    ],
)
def test_ppo_drift_by_hand(ratio, advantage, expected):
    drift = ppo_drift(torch.tensor(ratio).log(), torch.tensor(advantage), 0.2)
    assert float(drift) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        # (r − 1)·A = 2; α = 2: 2 − 2·tanh 1 = 2 − 2·0.761594 = 0.476812.
        (2.0, 2.0, 0.476812),
        # (r − 1)·A = −1: −1 + 2·tanh 0.5 = −1 + 2·0.462117 < 0.
        (0.5, 2.0, 0.0),
        # log r·A = ln 2; β = 0.6: tanh(ln 2/0.6) = (2^(10/3) − 1)/(2^(10/3) + 1) = 9.0794/11.0794
        # = 0.819485; 0.693147 − 0.6·0.819485 = 0.201456.
        (0.5, -1.0, 0.201456),
        # log r·A = −0.693147 < 0: its tanh is nearer to 0.
        (2.0, -1.0, 0.0),
        # 4·0.5 = 2 again, by another road; r = 1: nothing has moved.
        (1.5, 4.0, 0.476812),
        (1.0, 3.0, 0.0),
        (3.0, 0.0, 0.0),
    ],
)
def test_dpo_drift_by_hand(ratio, advantage, expected):
    drift = dpo_drift(torch.tensor(ratio).log(), torch.tensor(advantage))
    assert float(drift) == pytest.approx(expected, abs=1e-5)


def test_dpo_drift_on_a_grid_is_the_published_formula():
    for ratio in (0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0):
        for advantage in (-3.0, -0.5, 0.0, 0.5, 3.0):
            u, scale = (
                ((ratio - 1.0) * advantage, 2.0)
                if advantage >= 0.0
                else (math.log(ratio) * advantage, 0.6)
            )
            expected = max(0.0, u - scale * math.tanh(u / scale))
            log_ratio = torch.tensor(ratio, dtype=torch.float64).log()
            drift = dpo_drift(log_ratio, torch.tensor(advantage, dtype=torch.float64))
            assert float(drift) == pytest.approx(expected, abs=1e-12), (ratio, advantage)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("time", TIME_FEATURES)
def test_the_first_rule_is_ppo(time, dtype):
    drift = LearnedDrift(LearnedDriftConfig(time=time))
    log_ratio_B, advantage_B = (x.to(dtype) for x in steps(200))
    rule_M = drift.first_rule(3).to(dtype)
    assert rule_M[: len(rule_M) - drift.config.hidden_size].abs().min() > 0.0, "it can learn"
    found = drift(rule_M, log_ratio_B, advantage_B, HALFWAY)
    assert torch.equal(found, ppo_drift(log_ratio_B, advantage_B, 0.2))


@pytest.mark.parametrize("time", TIME_FEATURES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_every_rule_is_a_drift(time, scale):
    """D ≥ 0, D = 0 and D′ = 0 at r = 1; the curvature there is at most some 10³ times scale³."""
    drift = LearnedDrift(LearnedDriftConfig(time=time))
    for seed in range(5):
        rule_M = random_rule(drift, seed, scale)
        check = check_drift(partial(drift, rule_M))
        assert check.below_zero == 0.0
        assert check.at_one == 0.0
        assert check.slope_at_one < 1e-2 * max(1.0, scale**3) * (100.0 if time == "raw" else 1.0)
        assert float(drift(rule_M, *steps(200), HALFWAY).max()) > 0.0, "a drift that does nothing"


def test_closed_forms_are_drifts():
    assert check_drift(lambda r, a, _: ppo_drift(r, a, 0.2)).passes()
    assert check_drift(lambda r, a, _: dpo_drift(r, a)).passes()


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda r, a, _: -ppo_drift(r, a, 0.2), "below_zero"),
        (lambda r, a, _: dpo_drift(r, a) + 0.5, "at_one"),
        (lambda r, a, _: (r * a).relu(), "slope_at_one"),  # a kink, seen from one side only
        (lambda r, a, _: dpo_drift(r, a) * math.nan, "below_zero"),
    ],
)
def test_what_is_no_drift_is_found_out(broken, what):
    check = check_drift(broken, DriftGrid(updates=(0,)))
    assert not check.passes()
    assert not getattr(check, what) <= 1e-3


def features_by_hand(log_ratio: float, advantage: float, time: list[float]) -> list[float]:
    r = math.exp(log_ratio)
    base = [1 - r, (1 - r) ** 2, log_ratio, log_ratio**2]
    x = base + [advantage * b for b in base]
    return x + [t * f for t in time for f in x]


@pytest.mark.parametrize("time", TIME_FEATURES)
def test_the_learned_drift_step_by_step(time):
    """The slow way: every feature written out, the slope of g at 0 by autograd."""
    drift = LearnedDrift(LearnedDriftConfig(hidden_size=3, time=time))
    rule_M = random_rule(drift, 1)
    parts = drift.layout.parts(rule_M)
    log_ratio_B, advantage_B = steps(20)
    found_B = drift(rule_M, log_ratio_B, advantage_B, HALFWAY)
    first_order = torch.tensor([1.0, 0.0] * (len(parts["input"]) // 2), dtype=torch.float64)

    def g(x: Tensor) -> Tensor:
        return torch.tanh(x @ parts["input"]) @ parts["output"]

    origin = torch.zeros(len(parts["input"]), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(g(origin), origin)
    for log_ratio, advantage, found in zip(log_ratio_B, advantage_B, found_B, strict=True):
        features = features_by_hand(
            float(log_ratio), float(advantage), HALFWAY.features(time).tolist()
        )
        x = torch.tensor(features, dtype=torch.float64)
        expected = ppo_drift(log_ratio, advantage, 0.2) + g(x) - (x * first_order) @ slope
        torch.testing.assert_close(found, expected.relu(), rtol=1e-6, atol=1e-9)


def test_half_of_dpo_is_one_hidden_unit():
    """u = (r − 1)·A/2 through −2 (tanh u − u) is (r − 1)·A − 2·tanh((r − 1)·A/2)."""
    drift = LearnedDrift(LearnedDriftConfig(hidden_size=1, time="none", clip=math.inf))
    rule_M = torch.zeros(9, dtype=torch.float64)
    rule_M[4], rule_M[8] = -0.5, -2.0  # (1 − r)·A; the output
    log_ratio_B, advantage_B = steps(50)
    advantage_B = advantage_B.abs()
    found_B = drift(rule_M, log_ratio_B, advantage_B, HALFWAY)
    torch.testing.assert_close(found_B, dpo_drift(log_ratio_B, advantage_B))


def test_stacked_rules_are_single_ones_side_by_side():
    drift = LearnedDrift(LearnedDriftConfig(time="fraction-log", entropy_coefficient=0.01))
    rule_PM = torch.stack([random_rule(drift, seed) for seed in range(4)])
    log_ratio, advantage = steps(4, 5, 6)
    lifetime = Lifetime(torch.tensor([0, 3, 9, 1]), torch.tensor([1, 10, 10, 400]))
    together = drift(rule_PM, log_ratio, advantage, lifetime)
    weights = drift.entropy_coefficient(rule_PM)
    for p in range(4):
        alone = Lifetime(lifetime.updates[p], lifetime.total[p])
        single = drift(rule_PM[p], log_ratio[p], advantage[p], alone)
        torch.testing.assert_close(together[p], single)
        torch.testing.assert_close(weights[p], drift.entropy_coefficient(rule_PM[p]))
    assert len(set(together.sum(dim=(1, 2)).tolist())) == 4


def calls(num_rules: int) -> int:
    """Of torch's operators, for a gradient step on 128 steps of every rule."""
    rule_PM = torch.stack([random_rule(TA_LPO, seed).float() for seed in range(num_rules)])
    log_ratio, advantage = (x.float() for x in steps(num_rules, 128))
    log_ratio.requires_grad_()
    age = Lifetime(torch.zeros(num_rules).long(), torch.full((num_rules,), 10))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        TA_LPO(rule_PM, log_ratio, advantage, age).sum().backward()
    return sum(event.count for event in profiler.key_averages())


def test_a_population_takes_no_more_calls_than_one_rule():
    """Some layouts of a matrix make torch's batched products a loop over the batch."""
    calls(1)
    assert calls(24) <= calls(4) + 4


def test_time_changes_the_drift_where_it_is_shown():
    rule_M, (log_ratio_B, advantage_B) = random_rule(TA_LPO, 0), steps(50)
    late = Lifetime(torch.tensor(99), torch.tensor(100))
    assert not torch.equal(
        TA_LPO(rule_M, log_ratio_B, advantage_B, HALFWAY),
        TA_LPO(rule_M, log_ratio_B, advantage_B, late),
    )
    lpo = LearnedDrift(LearnedDriftConfig(time="none"))
    rule_M = random_rule(lpo, 0)
    assert torch.equal(
        lpo(rule_M, log_ratio_B, advantage_B, HALFWAY), lpo(rule_M, log_ratio_B, advantage_B, late)
    )


def test_gradients_by_finite_differences():
    drift = LearnedDrift(LearnedDriftConfig(hidden_size=4, time="fraction-log"))
    rule_M = random_rule(drift, 2).requires_grad_()
    log_ratio_B, advantage_B = (x.requires_grad_() for x in steps(6))

    def of(rule: Tensor, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        return drift(rule, log_ratio, advantage, HALFWAY)

    assert torch.autograd.gradcheck(of, (rule_M, log_ratio_B, advantage_B))
    assert torch.autograd.gradgradcheck(of, (rule_M, log_ratio_B, advantage_B))


def test_the_learned_entropy_coefficient_starts_where_it_is_told():
    drift = LearnedDrift(LearnedDriftConfig(entropy_coefficient=0.02))
    rule_M = drift.first_rule(0)
    assert float(drift.entropy_coefficient(rule_M)) == pytest.approx(0.02)
    rule_M[-1] = math.log(3.0)
    assert float(drift.entropy_coefficient(rule_M)) == pytest.approx(0.06)
    assert TA_LPO.entropy_coefficient(TA_LPO.first_rule(0)) is None


def test_huge_log_ratios_stay_finite_and_nan_is_not_hidden():
    rule_M = random_rule(TA_LPO, 0).float().requires_grad_()
    log_ratio_B = torch.tensor([1e3, -1e3, math.inf, -math.inf], requires_grad=True)
    drift_B = TA_LPO(rule_M, log_ratio_B, torch.tensor([5.0, -5.0, -5.0, 5.0]), HALFWAY)
    drift_B.sum().backward()
    assert drift_B.isfinite().all()
    assert rule_M.grad.isfinite().all()
    assert log_ratio_B.grad.tolist() == [0.0] * 4  # clipped
    nan = torch.tensor([math.nan])
    assert TA_LPO(rule_M, nan, torch.ones(1), HALFWAY).isnan().all()
