"""Evolution strategies on windows of lives, worked by hand."""

import pytest
import torch

from quickstudy.experiments.discovery.estimators.pes import PESConfig
from quickstudy.experiments.discovery.estimators.truncated_es import TruncatedESConfig


def test_pes_telescopes(sums, generation, epsilon):
    """Under a rule that stands still, the windows' estimates add up to a sum over whole lives.

    Lives of 4 updates, windows of 2: a particle's score rises by 2 Σ(rule ± σ ε) per window. Of the
    first, ΔF₊ − ΔF₋ = 4 σ Σ ε₁ with ξ = ε₁; of the second 4 σ Σ ε₂ with ξ = ε₁ + ε₂; the scale is
    2 windows/(2 σ n).
    """
    estimator = PESConfig(pairs=6, window=2, sigma=0.5, stagger=False).build(sums(), 2)
    first, second = (generation(estimator, torch.ones(3)) for _ in range(2))
    noise = [epsilon(2, number, 6, 3) for number in range(2)]
    sums = [part.sum(dim=1, keepdim=True) for part in noise]
    assert first.gradient_M == pytest.approx(4 * (sums[0] * noise[0]).mean(dim=0), rel=1e-5)
    by_hand = 4 * (sums[1] * (noise[0] + noise[1])).mean(dim=0)
    assert second.gradient_M == pytest.approx(by_hand, rel=1e-5)
    # 12 agents, 2 updates of 10 steps and a look.
    assert first.steps == second.steps == 252


def test_the_improvements_of_a_life_add_up_to_its_score(sums):
    estimator = PESConfig(pairs=4, window=3, sigma=0.5, stagger=False).build(sums(), 2)
    rises = []
    for _ in range(2):
        results = [estimator.work(shard) for shard in estimator.shards(torch.ones(3))]
        before = estimator.particles.memory["score"].T
        rises.append(results[0]["score"] - before)
        estimator.combine(results)
    assert sum(rises) == pytest.approx(results[0]["score"])
    assert results[0]["score"].mean() == pytest.approx(12.0, rel=1e-5)


def test_pes_sees_what_truncated_es_does_not(sums, generation):
    """The first update plants rule[0]; only the last window's, n = 3, harvests it: s ← s + s₀."""

    class Seeds(sums):
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


def test_truncated_es_by_hand(sums, generation, epsilon):
    """Both start where the unperturbed life is: F₊ − F₋ = 4 σ Σ ε in each window of 2."""
    estimator = TruncatedESConfig(pairs=6, window=2, sigma=0.5, stagger=False).build(sums(), 2)
    for number in range(2):
        noise = epsilon(2, number, 6, 3)
        by_hand = 4 * (noise.sum(dim=1, keepdim=True) * noise).mean(dim=0)
        estimate = generation(estimator, torch.ones(3))
        assert estimate.gradient_M == pytest.approx(by_hand, rel=1e-5)
    # 18 agents of 2 updates, 12 looks.
    assert estimate.steps == 372
    # The life itself went on under the plain rule: 4 updates of 3.
    assert estimator.particles.shard(slice(None))["life/value"] == pytest.approx(12.0)


def test_first_lives_end_one_after_the_other_and_others_are_born(sums, generation):
    lifetimes = sums(updates=12)
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
def test_a_broken_particle_is_replaced(kind, sums, generation):
    """A last parameter above 0 breaks agents: of each pair one does, in every window."""
    lifetimes = sums(breaks_at=0.0, updates=4)
    estimator = kind(pairs=4, window=2, stagger=False).build(lifetimes, 0)
    for _ in range(3):
        estimate = generation(estimator, torch.zeros(3))
        assert estimate.metrics["broken"] == 4
        assert estimate.gradient_M.isfinite().all()
    assert [len(keys) for keys in lifetimes.seen] == [4, 4, 4]
