"""Statistics: values by hand, coverage, and what is refused."""

import math

import numpy as np
import pytest
from scipy import stats

from quickstudy.experiments.statistics import (
    Interval,
    adaptation_gain,
    iqm,
    k_shot_curve,
    mean_interval,
    normalised_score,
    probability_of_improvement,
    stratified_bootstrap,
)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([1, 2, 9], 4.0),  # fewer than four: nothing is cut
        ([0, 4, 6, 1000], 5.0),  # one cut at each end: (4 + 6) / 2
        ([-900, 1, 2, 3, 4, 5, 6, 900], 3.5),  # two at each end: (2 + 3 + 4 + 5) / 4
        ([[6, 0], [1000, 4]], 5.0),  # any shape, any order
    ],
)
def test_iqm_by_hand(values, expected):
    assert iqm(values) == pytest.approx(expected)
    assert iqm(values) == pytest.approx(stats.trim_mean(np.ravel(values), 0.25))


def test_both_statistics_name_what_they_compute():
    returns = generator(0).normal(size=(3, 10, 4))
    assert stratified_bootstrap(returns, "mean", seed=0).point == pytest.approx(returns.mean())
    assert stratified_bootstrap(returns, "iqm", seed=0).point == pytest.approx(iqm(returns))


def test_a_statistic_may_be_a_function():
    returns = generator(0).normal(size=(3, 10, 2)) + np.array([0.0, 5.0])
    gain = stratified_bootstrap(
        returns, lambda x: (x[..., -1] - x[..., 0]).mean(axis=(1, 2)), seed=1
    )
    by_trial = stratified_bootstrap(adaptation_gain(returns)[..., None], "mean", seed=1)
    assert gain.point == pytest.approx(by_trial.point)
    assert (gain.low, gain.high) == pytest.approx((by_trial.low, by_trial.high))


def test_resamples_of_two_tasks_by_hand():
    # One seed, tasks worth 0 and 1: a resample's mean is 0, 1/2 or 1 with odds 1 : 2 : 1, so the
    # middle 40 % of the resamples are all 1/2, and the middle 60 % reach both ends.
    returns = np.array([[[0.0], [1.0]]])
    narrow = stratified_bootstrap(returns, "mean", seed=0, confidence=0.4)
    wide = stratified_bootstrap(returns, "mean", seed=0, confidence=0.6)
    assert narrow == Interval(0.5, 0.5, 0.5)
    assert wide == Interval(0.5, 0.0, 1.0)


def test_tasks_are_drawn_within_their_stratum():
    # Forward tasks return 10, backward ones 0: however drawn, half of each makes 5.
    returns = np.array([[[10.0], [0.0]] * 8])
    stratified = stratified_bootstrap(returns, "mean", seed=0, strata_T=[0, 1] * 8)
    pooled = stratified_bootstrap(returns, "mean", seed=0)
    assert stratified == Interval(5.0, 5.0, 5.0)
    assert pooled.high - pooled.low > 3


def test_seeds_are_drawn_whole():
    # Ten seeds apart by their level alone: 100 tasks each must not shrink the interval.
    level_S = generator(1).normal(size=10)
    returns = np.broadcast_to(level_S[:, None, None], (10, 100, 1))
    interval = stratified_bootstrap(returns, "mean", seed=0)
    assert interval.high - interval.low > 2 * level_S.std() / math.sqrt(10)


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
@pytest.mark.parametrize(
    ("num_seeds", "num_tasks", "seed_spread", "task_spread"),
    [(1, 100, 0.0, 2.0), (20, 30, 1.0, 1.0)],
)
def test_coverage_on_normal_data(statistic, num_seeds, num_tasks, seed_spread, task_spread):
    """Of 500 intervals at 95 %, between 90 and 99 % hold the true value 3."""
    random, covered = generator(7), 0
    for repetition in range(500):
        level_S = random.normal(scale=seed_spread, size=(num_seeds, 1, 1))
        level_T = random.normal(scale=task_spread, size=(1, num_tasks, 1))
        noise = random.normal(scale=0.5, size=(num_seeds, num_tasks, 1))
        interval = stratified_bootstrap(
            3 + level_S + level_T + noise, statistic, num_resamples=200, seed=repetition
        )
        covered += interval.low <= 3 <= interval.high
    assert 0.90 <= covered / 500 <= 0.99


def test_coverage_of_the_t_interval_with_three_seeds():
    random = generator(3)
    intervals = [mean_interval(random.normal(3, 1, size=3)) for _ in range(1000)]
    assert 0.93 <= np.mean([i.low <= 3 <= i.high for i in intervals]) <= 0.97


def test_the_seed_decides_the_interval():
    returns = generator(0).normal(size=(3, 20, 2))
    first = stratified_bootstrap(returns, "iqm", seed=5)
    assert stratified_bootstrap(returns, "iqm", seed=5) == first
    assert stratified_bootstrap(returns, "iqm", seed=6) != first


def test_memory_chunks_do_not_change_the_numbers(monkeypatch):
    returns = generator(0).normal(size=(3, 20, 2))
    whole = stratified_bootstrap(returns, "iqm", seed=5)
    monkeypatch.setattr("quickstudy.experiments.statistics._CHUNK", 1000)
    assert stratified_bootstrap(returns, "iqm", seed=5) == whole


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (4, 25, 3)])
@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_constant_returns_have_zero_width(shape, statistic):
    interval = stratified_bootstrap(np.full(shape, 0.1), statistic, seed=0)
    assert interval.high - interval.low == 0
    assert interval.point == pytest.approx(interval.low)


@pytest.mark.parametrize("shape", [(1, 20, 2), (20, 1, 2)])
def test_one_seed_or_one_task_still_gives_an_interval(shape):
    interval = stratified_bootstrap(generator(0).normal(size=shape), "iqm", seed=0)
    assert interval.low < interval.point < interval.high


def test_k_shot_curve_has_one_interval_per_episode():
    returns = generator(0).normal(size=(2, 30, 3)) + np.array([0.0, 5.0, 9.0])
    for statistic in ("mean", "iqm"):
        curve = k_shot_curve(returns, statistic, seed=4)
        for episode, interval in enumerate(curve):
            alone = stratified_bootstrap(returns[..., [episode]], statistic, seed=4)
            assert interval == alone
    assert [round(i.point) for i in k_shot_curve(returns, seed=4)] == [0, 5, 9]


def test_adaptation_gain_by_hand():
    returns = [[[1, 0, 4], [2, 9, 1]]]
    np.testing.assert_array_equal(adaptation_gain(returns), [[3, -1]])
    np.testing.assert_array_equal(adaptation_gain([[[5.0]]]), [[0]])


def test_normalised_score_at_the_anchors():
    score = normalised_score([-150.0, -40.0, -95.0, -205.0], non_adaptive=-150, oracle=-40)
    np.testing.assert_allclose(score, [0, 1, 0.5, -0.5])
    per_task = normalised_score([[3.0, 30.0]], non_adaptive=[1.0, 10.0], oracle=[5.0, 50.0])
    np.testing.assert_allclose(per_task, [[0.5, 0.5]])


def test_probability_of_improvement_by_hand():
    # Task 0: x = {1, 3} against y = {2}: one win of two. Task 1: {5, 5} against {5}: ties.
    assert probability_of_improvement([[1, 5], [3, 5]], [[2, 5]]) == 0.5
    assert probability_of_improvement([[2, 2]], [[1, 2]]) == 0.75
    assert probability_of_improvement([[2, 2]], [[1, 1], [0, 0]]) == 1
    assert probability_of_improvement([[0, 0]], [[1, 1], [2, 2]]) == 0


def test_mean_interval_by_hand():
    # Mean 2, sample deviation 1, so half = t(0.975, 2) · 1/√3 = 4.302653 / 1.732051 = 2.484138.
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.point == 2
    assert (interval.low, interval.high) == pytest.approx((-0.484138, 4.484138), abs=1e-6)
    assert mean_interval([4.0]) == Interval(4.0, 4.0, 4.0)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4, 5), (0, 4, 2), (2, 0, 2), (2, 3, 0)])
def test_wrong_shapes_are_refused(shape):
    returns = np.zeros(shape)
    with pytest.raises(ValueError, match="shape"):
        stratified_bootstrap(returns, "iqm", seed=0)
    with pytest.raises(ValueError, match="shape"):
        k_shot_curve(returns, seed=0)
    with pytest.raises(ValueError, match="shape"):
        adaptation_gain(returns)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    for refused in (
        lambda: iqm([1.0, bad]),
        lambda: mean_interval([1.0, bad]),
        lambda: stratified_bootstrap([[[1.0, bad]]], "mean", seed=0),
        lambda: normalised_score([bad], 0, 1),
        lambda: probability_of_improvement([[bad]], [[0.0]]),
    ):
        with pytest.raises(ValueError, match="finite"):
            refused()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "iqr"}, "Did you mean 'iqm'"),
        ({"confidence": 95}, "between 0 and 1, got 95"),
        ({"num_resamples": 0}, "num_resamples must be an integer of at least 1, got 0"),
        ({"strata_T": [0, 1]}, "must label 4 tasks"),
    ],
)
def test_bad_options_are_named(options, message):
    arguments = {"statistic": "mean", "seed": 0, **options}
    with pytest.raises(ValueError, match=message):
        stratified_bootstrap(np.zeros((2, 4, 2)), **arguments)


@pytest.mark.parametrize("oracle", [-150, -151, math.nan, [0.0, -150.0]])
def test_anchors_without_a_gap_are_refused(oracle):
    with pytest.raises(ValueError, match="oracle anchor must be above"):
        normalised_score([0.0, 0.0], -150, oracle)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        mean_interval([[1.0, 2.0]])
    with pytest.raises(ValueError, match="same tasks"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])
