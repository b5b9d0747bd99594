"""Gradients through windows of lives, and the critic of lives, worked by hand."""

import math

import pytest
import torch

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.envs import rng
from quickstudy.experiments.discovery.estimators.bmg import BMGConfig
from quickstudy.experiments.discovery.estimators.lifetime_value import (
    NUM_FEATURES,
    LifetimeValue,
    features,
    predict,
    slope,
)
from quickstudy.experiments.discovery.estimators.meta_gradient import MetaGradientConfig

# --- gradients --------------------------------------------------------------------------------


def square(rule, n):
    """Raises by rule₀² + n rule₁."""
    return rule[:, 0].square() + n * rule[:, 1]


def test_a_meta_gradient_by_hand(sums, generation):
    """In the first window, n = 0, 1: 2 · 2 rule₀ and 0 + 1; in the second, n = 2, 3: 2 + 3."""
    estimator = MetaGradientConfig(agents=3, window=2, stagger=False).build(sums(gain=square), 0)
    rule = torch.tensor([1.5, -1.0, 0.0])
    first, second = (generation(estimator, rule) for _ in range(2))
    assert first.gradient_M.tolist() == [6.0, 1.0, 0.0]
    assert second.gradient_M.tolist() == [6.0, 5.0, 0.0]
    # 3 agents, 2 updates of 10 steps, a look by the surrogate; the log's own is not counted.
    assert first.steps == second.steps == 63
    assert math.isnan(first.metrics["fitness"])
    # 4 rule₀² + (0 + 1 + 2 + 3) rule₁ = 9 − 6.
    assert second.metrics["fitness"] == pytest.approx(3.0)


def test_the_clip_shortens_each_agent_by_itself(sums, generation):
    """[6, 1, 0] is √37 long."""
    estimator = MetaGradientConfig(agents=3, window=2, clip=1.0, stagger=False).build(
        sums(gain=square), 0
    )
    estimate = generation(estimator, torch.tensor([1.5, -1.0, 0.0]))
    assert estimate.gradient_M == pytest.approx(
        torch.tensor([6.0, 1.0, 0.0], dtype=torch.float64) / math.sqrt(37)
    )


def test_bmg_by_hand(sums, generation):
    """K = 1, L = 2: after one update x = r², after another x = 2 r², and `improve` adds 2.

    The target is r² + 2 away: −∇ ½ (2 r² + 2 − r²)² = (r² + 2) · 2 r = 8.5 · 3 for r = 1.5
    (r² = 2.25: 4.25 · 3 = 12.75). The second window starts at 2 r² and adds the same.
    """
    estimator = BMGConfig(agents=2, differentiated=1, target=2, stagger=False).build(
        sums(gain=lambda rule, n: rule[:, 0].square()), 0
    )
    rule = torch.tensor([1.5, 0.0, 0.0])
    for number in (1, 2):
        estimate = generation(estimator, rule)
        assert estimate.gradient_M.tolist() == [12.75, 0.0, 0.0]
        life = estimator.particles.shard(slice(None))
        assert life["life/value"].tolist() == [number * 4.5] * 2
        assert life["life/updates"].tolist() == [number * 2] * 2
    # 2 agents, 2 updates of 10 steps and an `improve` of 5.
    assert estimate.steps == 50


def test_bmg_never_goes_beyond_the_end_of_life(sums, generation):
    """Lives of 4, K + L − 1 = 3: the second window has one update, differentiated."""
    estimator = BMGConfig(agents=2, differentiated=2, target=2, stagger=False).build(
        sums(gain=square), 0
    )
    for _ in range(3):
        estimate = generation(estimator, torch.tensor([1.0, 1.0, 0.0]))
    assert estimate.gradient_M.isfinite().all()


def test_a_broken_agent_spoils_no_others_gradient(sums, generation):
    class OneBreaks(sums):
        def surrogate(self, rows):
            value, cost = super().surrogate(rows)
            return value * torch.tensor([math.nan, 1.0, 1.0]), cost

    lifetimes = OneBreaks(gain=square)
    estimator = MetaGradientConfig(agents=3, window=2, stagger=False).build(lifetimes, 0)
    estimate = generation(estimator, torch.tensor([1.5, -1.0, 0.0]))
    assert estimate.gradient_M == pytest.approx(
        torch.tensor([4.0, 2 / 3, 0.0], dtype=torch.float64)
    )
    assert estimate.metrics["broken"] == 1
    generation(estimator, torch.zeros(3))
    assert [len(keys) for keys in lifetimes.seen] == [3, 1]


@pytest.mark.parametrize("kind", [MetaGradientConfig, BMGConfig])
def test_lives_that_cannot_be_differentiated_are_refused(kind, sums):
    opaque = Lifetimes.__new__(
        type("Opaque", (Lifetimes,), {n: None for n in Lifetimes.__abstractmethods__})
    )
    with pytest.raises(ValueError, match="evolution strategy"):
        kind().build(opaque, 0)


# --- the critic of lives ----------------------------------------------------------------------


def test_the_lifetime_value_really_trains(sums, generation):
    """Each update raises the score by 1, so a life of 4 windows ends 4 − n/N · 4 above where it is.

    What the critic believes is the score itself at first; it must come to know the final score.
    """
    estimator = MetaGradientConfig(agents=16, window=1, lifetime_value=True).build(
        sums(size=1, gain=lambda rule, n: 1.0 + 0.0 * rule[:, 0]), 0
    )
    errors = [
        generation(estimator, torch.zeros(1)).metrics["lifetime_value_error"] for _ in range(40)
    ]
    fraction = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    believed = predict(estimator.value.coefficients_F, fraction, 4 * fraction)
    assert believed == pytest.approx(torch.full((3,), 4.0, dtype=torch.float64), abs=0.05)
    assert errors[-1] < 0.01 * errors[1]


def test_the_lifetime_value_weighs_gains_by_what_is_left_of_them(sums, generation):
    """Half of what an agent has is lost in every update: s ← s/2 + rule₀; gains fade by halves."""

    class Fading(sums):
        def learn(self, rule_PM, rows, num_updates):
            for _ in range(num_updates):
                chance = rng.uniform(rng.fold_in(rows["key"], rows["updates"]), 1)[:, 0]
                rows = rows | {
                    "value": 0.5 * rows["value"] + rule_PM[:, 0].double() + chance,
                    "updates": rows["updates"] + 1,
                    "steps": rows["steps"] + 1,
                }
            return rows

    estimator = MetaGradientConfig(agents=64, window=1, lifetime_value=True).build(
        Fading(size=1, updates=2), 0
    )
    estimates = [float(generation(estimator, torch.zeros(1)).gradient_M) for _ in range(60)]
    # Half of the agents are at n = 1, where a gain is worth ½, half at the end, where it is worth
    # 1; a critic that has learnt nothing says 1 of all.
    assert estimates[0] == pytest.approx(1.0)
    assert sum(estimates[-30:]) / 30 == pytest.approx(0.75, abs=0.1)


def test_noise_in_scores_counts_once():
    """What agents are worth is N(0, 1) and never changes; scores show it with noise N(0, 1). Then
    the best guess of a final score is half of any earlier one, however many windows lie between;
    differences from window to window alone would say ½, ¼ and ⅛.
    """
    value, lives = LifetimeValue(), 40_000
    noise = rng.normal(rng.root_key(0, rng.Stream.BOOTSTRAP), 5 * lives).view(5, lives)
    score = noise[0] + noise[1:]
    trace = torch.zeros(lives, NUM_FEATURES, dtype=torch.float64)
    for window in range(3):
        x = torch.full((lives,), 0.25 * (window + 1), dtype=torch.float64)
        trace = trace + features(x, score[window])
        over = torch.full((lives,), window == 2)
        value.train((x, score[window]), (x + 0.25, score[window + 1]), over, trace)
    found = slope(value.coefficients_F, torch.tensor([0.25, 0.5, 0.75]))
    assert found.tolist() == pytest.approx([0.5] * 3, abs=0.05)
