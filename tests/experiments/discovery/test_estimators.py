"""Outer estimators on lives whose answer is known: worked by hand, and all of them climbing."""

import math

import pytest
import torch

from quickstudy.agents.lifetimes.lifetimes import DifferentiableLifetimes, Lifetimes
from quickstudy.envs import rng
from quickstudy.experiments.discovery.estimators import ESTIMATORS
from quickstudy.experiments.discovery.estimators.bmg import BMGConfig
from quickstudy.experiments.discovery.estimators.lifetime_value import predict
from quickstudy.experiments.discovery.estimators.meta_gradient import MetaGradientConfig
from quickstudy.experiments.discovery.estimators.open_es import OpenESConfig
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig, climb
from quickstudy.experiments.discovery.estimators.pairs import perturbations
from quickstudy.experiments.discovery.estimators.pes import PESConfig
from quickstudy.experiments.discovery.estimators.snes import SNESConfig, utilities
from quickstudy.experiments.discovery.estimators.truncated_es import TruncatedESConfig
from quickstudy.experiments.discovery.keys import Purpose, keys

NAN = float("nan")


class Sums(DifferentiableLifetimes):
    """An agent is a number, which each update raises by `gain`(rule, n); its score is the number.

    The last parameter of a rule above `breaks_at` makes agents NaN.
    """

    def __init__(self, size=3, updates=4, gain=lambda rule, n: rule.sum(dim=1), breaks_at=math.inf):
        self.num_parameters = size
        self.updates = updates
        self.gain = gain
        self.breaks_at = breaks_at
        self.seen = []
        """Keys of all who were born."""

    def first_rule(self, seed):
        return torch.zeros(self.num_parameters)

    def total(self, key_P):
        return self.updates + (key_P & 1 if self.updates > 4 else torch.zeros_like(key_P))

    def begin(self, key_P):
        self.seen.append(key_P)
        zero = torch.zeros_like(key_P)
        value = torch.zeros(len(key_P), dtype=torch.float64)
        total = self.total(key_P)
        return {"value": value, "updates": zero, "total": total, "steps": zero, "key": key_P}

    def learn(self, rule_PM, rows, num_updates):
        assert (rows["updates"] + num_updates <= rows["total"]).all()
        for _ in range(num_updates):
            raised = rows["value"] + self.gain(rule_PM.double(), rows["updates"])
            raised = raised.where(rule_PM[:, -1] <= self.breaks_at, NAN)
            rows = rows | {
                "value": raised,
                "updates": rows["updates"] + 1,
                "steps": rows["steps"] + 10,
            }
        return rows

    def score(self, rows):
        return rows["value"], torch.ones_like(rows["steps"])

    def surrogate(self, rows):
        return self.score(rows)

    def improve(self, rows):
        return rows | {"value": rows["value"] + 2.0, "steps": rows["steps"] + 5}

    def divergence(self, target, rows):
        return 0.5 * (target["value"].detach() - rows["value"]) ** 2


def generation(estimator, rule):
    results = [estimator.work(shard) for shard in estimator.shards(rule)]
    return estimator.combine(results)


def epsilon(seed, number, count, size):
    """The perturbations of a generation, in the order of pairs or particles."""
    return perturbations(keys(seed, Purpose.PERTURBATION, number, count), size)


# --- whole lives ------------------------------------------------------------------------------


def test_raw_es_of_a_linear_score_by_hand():
    """A life of 4 updates scores 4 Σ rule. F₊ − F₋ = 8 σ Σ ε, so g = 1/n Σ_pairs 4 (Σ ε) ε."""
    estimate = generation(
        OpenESConfig(pairs=5, sigma=0.25, shaping="raw").build(Sums(), 7), torch.ones(3)
    )
    noise = epsilon(7, 0, 5, 3)
    by_hand = 4.0 * (noise.sum(dim=1, keepdim=True) * noise).mean(dim=0)
    assert estimate.gradient_M == pytest.approx(by_hand, rel=1e-5)
    # 10 candidates, 4 updates of 10 steps and one look each.
    assert estimate.steps == 410
    assert estimate.metrics["fitness"] == pytest.approx(12.0, rel=1e-5)


def test_win_lose_es_by_hand():
    """Who has the larger Σ ε wins: g = 1/(2 σ n) Σ_pairs sign(Σ ε) ε."""
    estimate = generation(OpenESConfig(pairs=5, sigma=0.25).build(Sums(), 7), torch.ones(3))
    noise = epsilon(7, 0, 5, 3)
    by_hand = (noise.sum(dim=1, keepdim=True).sign() * noise).mean(dim=0) / 0.5
    assert estimate.gradient_M == pytest.approx(by_hand, rel=1e-6)


def test_es_is_unbiased_on_a_linear_score():
    estimate = generation(OpenESConfig(pairs=4000, shaping="raw").build(Sums(), 0), torch.zeros(3))
    assert estimate.gradient_M == pytest.approx(torch.full((3,), 4.0, dtype=torch.float64), rel=0.1)


def test_shards_are_the_same_work_cut_elsewhere():
    whole, cut = (OpenESConfig(pairs=7, shard=size).build(Sums(), 1) for size in (64, 5))
    assert len(cut.shards(torch.ones(3))) == 4
    assert generation(whole, torch.ones(3)).gradient_M == pytest.approx(
        generation(cut, torch.ones(3)).gradient_M, rel=1e-12
    )


def test_lives_of_a_shard_are_of_similar_length():
    estimator = OpenESConfig(pairs=20, shard=4).build(Sums(updates=5), 1)
    lives = torch.cat([shard["life"] for shard in estimator.shards(torch.ones(3))])
    totals = estimator.lifetimes.total(lives).tolist()
    assert totals == sorted(totals, reverse=True)
    assert set(totals) == {5, 6}


@pytest.mark.parametrize("kind", [OpenESConfig, SNESConfig])
def test_both_of_a_pair_share_their_key(kind):
    lifetimes = Sums()
    generation(kind(pairs=3).build(lifetimes, 0), torch.ones(3))
    (seen,) = lifetimes.seen
    assert len(seen) == 6
    assert len(set(seen.tolist())) == 3
    generation(kind(pairs=3).build(lifetimes, 1), torch.ones(3))
    assert not set(seen.tolist()) & set(lifetimes.seen[1].tolist())


def test_no_key_comes_twice():
    lifetimes = Sums()
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


def test_snes_by_hand():
    """One pair: u = ±½, so the mean's step is σ |ε| uphill, and Σ u (ε² − 1) = 0: σ stays."""
    estimator = SNESConfig(pairs=1, sigma=0.5).build(Sums(size=1), 3)
    estimate = generation(estimator, torch.zeros(1))
    assert estimate.gradient_M == pytest.approx(0.5 * epsilon(3, 0, 1, 1)[0].abs())
    assert estimator.sigma_M == pytest.approx(torch.tensor([0.5], dtype=torch.float64))


def test_snes_widens_on_a_slope_and_narrows_on_a_peak():
    def peak(rule, n):
        return -rule.square().sum(dim=1)

    slope = SNESConfig(pairs=50).build(Sums(gain=lambda rule, n: (30 * rule[:, 0]).exp()), 0)
    top = SNESConfig(pairs=50).build(Sums(gain=peak), 0)
    for _ in range(5):
        generation(slope, torch.zeros(3))
        generation(top, torch.zeros(3))
    assert slope.sigma_M[0] > 0.12
    assert (top.sigma_M < 0.08).all()


# --- windows ----------------------------------------------------------------------------------


def test_pes_telescopes():
    """Under a rule that stands still, the windows' estimates add up to a sum over whole lives.

    Lives of 4 updates, windows of 2: a particle's score rises by 2 Σ(rule ± σ ε) per window. Of the
    first, ΔF₊ − ΔF₋ = 4 σ Σ ε₁ with ξ = ε₁; of the second 4 σ Σ ε₂ with ξ = ε₁ + ε₂; the scale is
    2 windows/(2 σ n).
    """
    estimator = PESConfig(pairs=6, window=2, sigma=0.5, stagger=False).build(Sums(), 2)
    first, second = (generation(estimator, torch.ones(3)) for _ in range(2))
    noise = [epsilon(2, number, 6, 3) for number in range(2)]
    sums = [part.sum(dim=1, keepdim=True) for part in noise]
    assert first.gradient_M == pytest.approx(4 * (sums[0] * noise[0]).mean(dim=0), rel=1e-5)
    by_hand = 4 * (sums[1] * (noise[0] + noise[1])).mean(dim=0)
    assert second.gradient_M == pytest.approx(by_hand, rel=1e-5)
    # 12 agents, 2 updates of 10 steps and a look.
    assert first.steps == second.steps == 252


def test_the_improvements_of_a_life_add_up_to_its_score():
    estimator = PESConfig(pairs=4, window=3, sigma=0.5, stagger=False).build(Sums(), 2)
    rises = []
    for _ in range(2):
        results = [estimator.work(shard) for shard in estimator.shards(torch.ones(3))]
        before = estimator.particles.memory["score"].T
        rises.append(results[0]["score"] - before)
        estimator.combine(results)
    assert sum(rises) == pytest.approx(results[0]["score"])
    assert results[0]["score"].mean() == pytest.approx(12.0, rel=1e-5)


def test_pes_sees_what_truncated_es_does_not():
    """The first update plants rule[0]; only the last window's, n = 3, harvests it: s ← s + s₀."""

    class Seeds(Sums):
        def begin(self, key_P):
            return super().begin(key_P) | {"seed": torch.zeros(len(key_P), dtype=torch.float64)}

        def learn(self, rule_PM, rows, num_updates):
            for _ in range(num_updates):
                seed = rule_PM[:, 0].double().where(rows["updates"] == 0, rows["seed"])
                raised = (rows["value"] + seed).where(rows["updates"] == 3, rows["value"])
                rows = rows | {
                    "seed": seed,
                    "value": raised,
                    "updates": rows["updates"] + 1,
                    "steps": rows["steps"] + 1,
                }
            return rows

    totals = {}
    for kind in (PESConfig, TruncatedESConfig):
        estimator = kind(pairs=500, window=2, stagger=False).build(Seeds(), 0)
        totals[kind] = sum(generation(estimator, torch.ones(3)).gradient_M for _ in range(2)) / 2
    assert totals[PESConfig][0] == pytest.approx(1.0, abs=0.2)
    assert totals[TruncatedESConfig].abs().max() < 1e-9


def test_truncated_es_by_hand():
    """Both start where the unperturbed life is: F₊ − F₋ = 4 σ Σ ε in each window of 2."""
    estimator = TruncatedESConfig(pairs=6, window=2, sigma=0.5, stagger=False).build(Sums(), 2)
    for number in range(2):
        noise = epsilon(2, number, 6, 3)
        by_hand = 4 * (noise.sum(dim=1, keepdim=True) * noise).mean(dim=0)
        estimate = generation(estimator, torch.ones(3))
        assert estimate.gradient_M == pytest.approx(by_hand, rel=1e-5)
    # 18 agents of 2 updates, 12 looks.
    assert estimate.steps == 372
    # The life itself went on under the plain rule: 4 updates of 3.
    assert estimator.particles.shard(slice(None))["life/value"] == pytest.approx(12.0)


def test_first_lives_end_one_after_the_other_and_others_are_born():
    lifetimes = Sums(updates=12)
    estimator = PESConfig(pairs=4, window=3).build(lifetimes, 0)
    births = []
    for _ in range(9):
        before = len(lifetimes.seen)
        generation(estimator, torch.zeros(3))
        births.append(sum(len(keys) for keys in lifetimes.seen[before:]))
    # Lives take 4 or 5 windows (12 or 13 updates); afterwards about one birth per generation.
    assert births[0] == 4
    assert max(births[1:]) <= 2
    assert sum(births[1:]) >= 6
    assert len(set(torch.cat(lifetimes.seen).tolist())) == sum(births)


@pytest.mark.parametrize("kind", [PESConfig, TruncatedESConfig])
def test_a_broken_particle_is_replaced(kind):
    """A last parameter above 0 breaks agents: of each pair one does, in every window."""
    lifetimes = Sums(breaks_at=0.0, updates=4)
    estimator = kind(pairs=4, window=2, stagger=False).build(lifetimes, 0)
    for _ in range(3):
        estimate = generation(estimator, torch.zeros(3))
        assert estimate.metrics["broken"] == 4
        assert estimate.gradient_M.isfinite().all()
    assert [len(keys) for keys in lifetimes.seen] == [4, 4, 4]


# --- gradients --------------------------------------------------------------------------------


def square(rule, n):
    """Raises by rule₀² + n rule₁."""
    return rule[:, 0].square() + n * rule[:, 1]


def test_a_meta_gradient_by_hand():
    """In the first window, n = 0, 1: 2 · 2 rule₀ and 0 + 1; in the second, n = 2, 3: 2 + 3."""
    estimator = MetaGradientConfig(agents=3, window=2, stagger=False).build(Sums(gain=square), 0)
    rule = torch.tensor([1.5, -1.0, 0.0])
    first, second = (generation(estimator, rule) for _ in range(2))
    assert first.gradient_M.tolist() == [6.0, 1.0, 0.0]
    assert second.gradient_M.tolist() == [6.0, 5.0, 0.0]
    # 3 agents, 2 updates of 10 steps, a look by the surrogate; the log's own is not counted.
    assert first.steps == second.steps == 63
    assert math.isnan(first.metrics["fitness"])
    # 4 rule₀² + (0 + 1 + 2 + 3) rule₁ = 9 − 6.
    assert second.metrics["fitness"] == pytest.approx(3.0)


def test_the_clip_shortens_each_agent_by_itself():
    """[6, 1, 0] is √37 long."""
    estimator = MetaGradientConfig(agents=3, window=2, clip=1.0, stagger=False).build(
        Sums(gain=square), 0
    )
    estimate = generation(estimator, torch.tensor([1.5, -1.0, 0.0]))
    assert estimate.gradient_M == pytest.approx(
        torch.tensor([6.0, 1.0, 0.0], dtype=torch.float64) / math.sqrt(37)
    )


def test_bmg_by_hand():
    """K = 1, L = 2: after one update x = r², after another x = 2 r², and `improve` adds 2.

    The target is r² + 2 away: −∇ ½ (2 r² + 2 − r²)² = (r² + 2) · 2 r = 8.5 · 3 for r = 1.5
    (r² = 2.25: 4.25 · 3 = 12.75). The second window starts at 2 r² and adds the same.
    """
    estimator = BMGConfig(agents=2, differentiated=1, target=2, stagger=False).build(
        Sums(gain=lambda rule, n: rule[:, 0].square()), 0
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


def test_bmg_never_goes_beyond_the_end_of_life():
    """Lives of 4, K + L − 1 = 3: the second window has one update, differentiated."""
    estimator = BMGConfig(agents=2, differentiated=2, target=2, stagger=False).build(
        Sums(gain=square), 0
    )
    for _ in range(3):
        estimate = generation(estimator, torch.tensor([1.0, 1.0, 0.0]))
    assert estimate.gradient_M.isfinite().all()


def test_a_broken_agent_spoils_no_others_gradient():
    class OneBreaks(Sums):
        def surrogate(self, rows):
            value, cost = super().surrogate(rows)
            return value * torch.tensor([NAN, 1.0, 1.0]), cost

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
def test_lives_that_cannot_be_differentiated_are_refused(kind):
    class Opaque(Sums):
        pass

    opaque = Lifetimes.__new__(
        type("Opaque", (Lifetimes,), {n: None for n in Lifetimes.__abstractmethods__})
    )
    with pytest.raises(ValueError, match="evolution strategy"):
        kind().build(opaque, 0)


# --- the critic of lives ----------------------------------------------------------------------


def test_the_lifetime_value_really_trains():
    """Each update raises the score by 1, so a life of 4 windows ends 4 − n/N · 4 above where it is.

    What the critic believes is the score itself at first; it must come to know the final score.
    """
    estimator = MetaGradientConfig(agents=16, window=1, lifetime_value=True).build(
        Sums(size=1, gain=lambda rule, n: 1.0 + 0.0 * rule[:, 0]), 0
    )
    errors = [
        generation(estimator, torch.zeros(1)).metrics["lifetime_value_error"] for _ in range(40)
    ]
    fraction = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    believed = predict(estimator.value.coefficients_F, fraction, 4 * fraction)
    assert believed == pytest.approx(torch.full((3,), 4.0, dtype=torch.float64), abs=0.05)
    assert errors[-1] < 0.01 * errors[1]


def test_the_lifetime_value_weighs_gains_by_what_is_left_of_them():
    """Half of what an agent has is lost in every update: s ← s/2 + rule₀; gains fade by halves."""

    class Fading(Sums):
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
def test_all_climb_to_the_top_of_a_bowl(name):
    config = SMALL[name]
    # BMG climbs towards any distance a longer life brings: here the target lies above, too.
    lifetimes = Sums(gain=bowl)
    estimator = config.build(lifetimes, 0)
    rule = torch.nn.Parameter(torch.zeros(3))
    step = OptimiserConfig("sgd", 1.0) if name == "snes" else OptimiserConfig(learning_rate=0.02)
    optimiser = step.build(rule)
    for number in range(80):
        estimate = generation(estimator, rule.detach().clone())
        climb(optimiser, estimate.gradient_M, step.learning_rate_at(number))
    assert rule.detach() == pytest.approx(torch.full((3,), 0.3), abs=0.08)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_pair_and_lives_of_one_update(name):
    size = {"agents": 1} if name in ("meta-gradient", "bmg") else {"pairs": 1}
    estimator = ESTIMATORS[name](**size).build(Sums(updates=1, gain=bowl), 0)
    for _ in range(3):
        estimate = generation(estimator, torch.zeros(3))
        assert estimate.gradient_M.isfinite().all()
        assert estimate.gradient_M.dtype == torch.float64
        assert estimate.steps > 0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_population_that_broke_says_nothing(name):
    estimator = SMALL[name].build(Sums(gain=bowl, breaks_at=-10.0), 0)
    for _ in range(3):
        estimate = generation(estimator, torch.zeros(3))
        assert estimate.gradient_M.tolist() == [0.0, 0.0, 0.0]
        assert estimate.metrics["broken"] > 0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_restored_estimator_goes_on_bit_for_bit(name):
    config = SMALL[name]
    if name == "meta-gradient":
        config = MetaGradientConfig(agents=4, window=2, lifetime_value=True)
    whole, first, second = (config.build(Sums(updates=5, gain=bowl), 0) for _ in range(3))
    for _ in range(3):
        generation(whole, torch.ones(3))
        generation(first, torch.ones(3))
    second.load_state_dict(first.state_dict())
    for _ in range(4):
        left, right = generation(whole, torch.ones(3)), generation(second, torch.ones(3))
        assert torch.equal(left.gradient_M, right.gradient_M)
        assert left.steps == right.steps


@pytest.mark.parametrize("name", ESTIMATORS)
def test_sizes_that_make_no_sense_are_refused(name):
    size = "agents" if name in ("meta-gradient", "bmg") else "pairs"
    with pytest.raises(ValueError, match=f"{size} must be"):
        ESTIMATORS[name](**{size: 0}).build(Sums(), 0)


def test_the_learning_rate_falls_to_its_floor():
    config = OptimiserConfig(learning_rate=1e-2, decay=0.5, floor=3e-3)
    assert [config.learning_rate_at(n) for n in range(3)] == [1e-2, 5e-3, 3e-3]
    with pytest.raises(ValueError, match="learning_rate"):
        OptimiserConfig(learning_rate=0.0)
