"""Outer estimators on lives whose answer is known: worked by hand, and all of them climbing."""

import math

import pytest
import torch

from quickstudy.experiments.discovery.estimators import ESTIMATORS
from quickstudy.experiments.discovery.estimators.bmg import BMGConfig
from quickstudy.experiments.discovery.estimators.meta_gradient import MetaGradientConfig
from quickstudy.experiments.discovery.estimators.open_es import OpenESConfig
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig, climb
from quickstudy.experiments.discovery.estimators.pes import PESConfig
from quickstudy.experiments.discovery.estimators.snes import SNESConfig, utilities
from quickstudy.experiments.discovery.estimators.truncated_es import TruncatedESConfig

# --- whole lives ------------------------------------------------------------------------------


def test_raw_es_of_a_linear_score_by_hand(sums, generation, epsilon):
    """A life of 4 updates scores 4 Σ rule. F₊ − F₋ = 8 σ Σ ε, so g = 1/n Σ_pairs 4 (Σ ε) ε."""
    estimate = generation(
        OpenESConfig(pairs=5, sigma=0.25, shaping="raw").build(sums(), 7), torch.ones(3)
    )
    noise = epsilon(7, 0, 5, 3)
    by_hand = 4.0 * (noise.sum(dim=1, keepdim=True) * noise).mean(dim=0)
    assert estimate.gradient_M == pytest.approx(by_hand, rel=1e-5)
    # 10 candidates, 4 updates of 10 steps and one look each.
    assert estimate.steps == 410
    assert estimate.metrics["fitness"] == pytest.approx(12.0, rel=1e-5)


def test_win_lose_es_by_hand(sums, generation, epsilon):
    """Who has the larger Σ ε wins: g = 1/(2 σ n) Σ_pairs sign(Σ ε) ε."""
    estimate = generation(OpenESConfig(pairs=5, sigma=0.25).build(sums(), 7), torch.ones(3))
    noise = epsilon(7, 0, 5, 3)
    by_hand = (noise.sum(dim=1, keepdim=True).sign() * noise).mean(dim=0) / 0.5
    assert estimate.gradient_M == pytest.approx(by_hand, rel=1e-6)


def test_es_is_unbiased_on_a_linear_score(sums, generation):
    estimate = generation(OpenESConfig(pairs=4000, shaping="raw").build(sums(), 0), torch.zeros(3))
    assert estimate.gradient_M == pytest.approx(torch.full((3,), 4.0, dtype=torch.float64), rel=0.1)


def test_shards_are_the_same_work_cut_elsewhere(sums, generation):
    whole, cut = (OpenESConfig(pairs=7, shard=size).build(sums(), 1) for size in (64, 5))
    assert len(cut.shards(torch.ones(3))) == 4
    assert generation(whole, torch.ones(3)).gradient_M == pytest.approx(
        generation(cut, torch.ones(3)).gradient_M, rel=1e-12
    )


def test_lives_of_a_shard_are_of_similar_length(sums):
    estimator = OpenESConfig(pairs=20, shard=4).build(sums(updates=5), 1)
    lives = torch.cat([shard["life"] for shard in estimator.shards(torch.ones(3))])
    totals = estimator.lifetimes.total(lives).tolist()
    assert totals == sorted(totals, reverse=True)
    assert set(totals) == {5, 6}


@pytest.mark.parametrize("kind", [OpenESConfig, SNESConfig])
def test_both_of_a_pair_share_their_key(kind, sums, generation):
    lifetimes = sums()
    generation(kind(pairs=3).build(lifetimes, 0), torch.ones(3))
    (seen,) = lifetimes.seen
    assert len(seen) == 6
    assert len(set(seen.tolist())) == 3
    generation(kind(pairs=3).build(lifetimes, 1), torch.ones(3))
    assert not set(seen.tolist()) & set(lifetimes.seen[1].tolist())


def test_no_key_comes_twice(sums, generation):
    lifetimes = sums()
    estimator = OpenESConfig(pairs=3).build(lifetimes, 0)
    for _ in range(4):
        generation(estimator, torch.ones(3))
    assert len(set(torch.cat(lifetimes.seen).tolist())) == 12


def test_utilities_by_hand():
    """λ = 4: ln 3 − ln 1, ln 3 − ln 2, then 0 twice; over their sum, less ¼."""
    first, second = math.log(3), math.log(1.5)
    whole = first + second
    result = utilities(torch.tensor([[9.0, 2.0], [5.0, 1.0]], dtype=torch.float64))
    by_hand = [[first / whole - 0.25, -0.25], [second / whole - 0.25, -0.25]]
    assert result == pytest.approx(torch.tensor(by_hand, dtype=torch.float64))


def test_snes_by_hand(sums, generation, epsilon):
    """One pair: u = ±½, so the mean's step is σ |ε| uphill, and Σ u (ε² − 1) = 0: σ stays."""
    estimator = SNESConfig(pairs=1, sigma=0.5).build(sums(size=1), 3)
    estimate = generation(estimator, torch.zeros(1))
    assert estimate.gradient_M == pytest.approx(0.5 * epsilon(3, 0, 1, 1)[0].abs())
    assert estimator.sigma_M == pytest.approx(torch.tensor([0.5], dtype=torch.float64))


def test_snes_widens_on_a_slope_and_narrows_on_a_peak(sums, generation):
    def peak(rule, n):
        return -rule.square().sum(dim=1)

    slope = SNESConfig(pairs=50).build(sums(gain=lambda rule, n: (30 * rule[:, 0]).exp()), 0)
    top = SNESConfig(pairs=50).build(sums(gain=peak), 0)
    for _ in range(5):
        generation(slope, torch.zeros(3))
        generation(top, torch.zeros(3))
    assert slope.sigma_M[0] > 0.12
    assert (top.sigma_M < 0.08).all()


# --- all of them ------------------------------------------------------------------------------

SMALL = {
    "open-es": OpenESConfig(pairs=16),
    "snes": SNESConfig(pairs=16),
    "pes": PESConfig(pairs=16, window=2),
    "truncated-es": TruncatedESConfig(pairs=16, window=2),
    "meta-gradient": MetaGradientConfig(agents=4, window=2),
    "bmg": BMGConfig(agents=4, differentiated=2, target=2),
}


def bowl(rule, n):
    """Highest at 0.3."""
    return -(rule - 0.3).square().sum(dim=1)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_all_climb_to_the_top_of_a_bowl(name, sums, generation):
    config = SMALL[name]
    # BMG climbs towards any distance a longer life brings: here the target lies above, too.
    lifetimes = sums(gain=bowl)
    estimator = config.build(lifetimes, 0)
    rule = torch.nn.Parameter(torch.zeros(3))
    step = OptimiserConfig("sgd", 1.0) if name == "snes" else OptimiserConfig(learning_rate=0.02)
    optimiser = step.build(rule)
    for number in range(80):
        estimate = generation(estimator, rule.detach().clone())
        climb(optimiser, estimate.gradient_M, step.learning_rate_at(number))
    assert rule.detach() == pytest.approx(torch.full((3,), 0.3), abs=0.08)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_pair_and_lives_of_one_update(name, sums, generation):
    size = {"agents": 1} if name in ("meta-gradient", "bmg") else {"pairs": 1}
    estimator = ESTIMATORS[name](**size).build(sums(updates=1, gain=bowl), 0)
    for _ in range(3):
        estimate = generation(estimator, torch.zeros(3))
        assert estimate.gradient_M.isfinite().all()
        assert estimate.gradient_M.dtype == torch.float64
        assert estimate.steps > 0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_population_that_broke_says_nothing(name, sums, generation):
    estimator = SMALL[name].build(sums(gain=bowl, breaks_at=-10.0), 0)
    for _ in range(3):
        estimate = generation(estimator, torch.zeros(3))
        assert estimate.gradient_M.tolist() == [0.0, 0.0, 0.0]
        assert estimate.metrics["broken"] > 0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_restored_estimator_goes_on_bit_for_bit(name, sums, generation):
    config = SMALL[name]
    if name == "meta-gradient":
        config = MetaGradientConfig(agents=4, window=2, lifetime_value=True)
    whole, first, second = (config.build(sums(updates=5, gain=bowl), 0) for _ in range(3))
    for _ in range(3):
        generation(whole, torch.ones(3))
        generation(first, torch.ones(3))
    second.load_state_dict(first.state_dict())
    for _ in range(4):
        left, right = generation(whole, torch.ones(3)), generation(second, torch.ones(3))
        assert torch.equal(left.gradient_M, right.gradient_M)
        assert left.steps == right.steps


@pytest.mark.parametrize("name", ESTIMATORS)
def test_sizes_that_make_no_sense_are_refused(name, sums):
    size = "agents" if name in ("meta-gradient", "bmg") else "pairs"
    with pytest.raises(ValueError, match=f"{size} must be"):
        ESTIMATORS[name](**{size: 0}).build(sums(), 0)


def test_the_learning_rate_falls_to_its_floor():
    config = OptimiserConfig(learning_rate=1e-2, decay=0.5, floor=3e-3)
    assert [config.learning_rate_at(n) for n in range(3)] == [1e-2, 5e-3, 3e-3]
    with pytest.raises(ValueError, match="learning_rate"):
        OptimiserConfig(learning_rate=0.0)
    with pytest.raises(ValueError, match="Did you mean 'adam'"):
        OptimiserConfig("adem")


def test_the_floor_raises_no_learning_rate():
    config = OptimiserConfig(learning_rate=1e-6, decay=0.5, floor=1e-5)
    assert [config.learning_rate_at(n) for n in range(2)] == [1e-6, 1e-6]
