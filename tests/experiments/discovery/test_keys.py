"""Where the outer loop's chance comes from: what is reported is met by no estimate."""

import torch

from quickstudy.agents.lifetimes.tabular import TabularConfig, TabularLifetimes
from quickstudy.envs import rng
from quickstudy.experiments.discovery.estimators.particles import Particles
from quickstudy.experiments.discovery.keys import Purpose, keys


def test_no_key_serves_two_purposes_generations_or_seeds():
    found = [
        keys(seed, purpose, generation, 50)
        for seed in (0, 1)
        for purpose in Purpose
        for generation in range(20)
    ]
    every = torch.cat(found)
    assert len(every.unique()) == len(every) == 2 * len(Purpose) * 20 * 50


def test_lives_that_go_on_are_no_reported_ones(sums):
    """Births of particles are branches below the keys of generation 0."""
    lifetimes = sums()
    particles = Particles(lifetimes, 0, 8, 4, sides=("life",), memory={}, stagger=False)
    for _ in range(20):
        particles.replace_the_dead()
        rows = particles.shard(slice(None))
        born = {name.removeprefix("life/"): row for name, row in rows.items() if "life" in name}
        done = born | {"updates": born["total"]}
        particles.go_on({"life": done}, torch.zeros(8, dtype=torch.bool))
    born = torch.cat(lifetimes.seen)
    reported = torch.cat(
        [keys(0, purpose, n, 50) for purpose in Purpose if purpose > 1 for n in range(20)]
    )
    assert len(born.unique()) == 8 * 20
    assert not torch.isin(born, reported).any()


def test_meta_seeds_meet_other_tasks_with_other_rules():
    """Tables of tasks, lengths of life and first rules, none of them shared by two seeds."""
    lives = TabularLifetimes(TabularConfig())
    first, second = (lives.begin(keys(seed, Purpose.LIFE, 0, 64)) for seed in (0, 1))
    rewards = [rows["task.reward"].unique(dim=0) for rows in (first, second)]
    assert all(len(rows) == 64 for rows in rewards)
    assert len(torch.cat(rewards).unique(dim=0)) == 128
    assert not torch.equal(first["total"], second["total"])
    assert not torch.equal(lives.first_rule(0), lives.first_rule(1))
    # And the first rule is drawn from another stream than the lives.
    assert rng.Stream.WEIGHTS != rng.Stream.DISCOVERY
