"""Populations of several kinds: every agent lives as it would among its own kind."""

import pytest
import torch

from quickstudy.agents.lifetimes.control import ControlConfig, ControlLifetimes
from quickstudy.agents.lifetimes.lifetimes import rows_of
from quickstudy.agents.lifetimes.mixture import MixedLifetimes
from quickstudy.agents.objectives.drifts import LearnedDriftConfig
from quickstudy.envs import rng
from quickstudy.envs.nested_state import part

CONFIG = ControlConfig(
    families=("CartPole", "Pendulum"),
    min_updates=1,
    max_updates=3,
    copies=2,
    rollout_steps=8,
    episode_length=6,
    hidden_size=8,
)
KEYS = rng.world_keys(0, rng.Stream.STUDENT, 8)


def rules(lifetimes):
    noise = 0.3 * rng.normal(KEYS, lifetimes.num_parameters).float()
    return lifetimes.first_rule(0) + noise


def test_every_agent_lives_as_among_its_own_kind():
    mixed = CONFIG.build()
    rule_PM, kind_P = rules(mixed), mixed.begin(KEYS)["kind"]
    assert {0, 1} == set(kind_P.tolist())
    assert len(set(mixed.total(KEYS).tolist())) > 1
    lived = mixed.live(rule_PM, KEYS)
    for number, family in enumerate(CONFIG.families):
        own = ControlLifetimes(CONFIG, family)
        index = (kind_P == number).nonzero()[:, 0]
        alone = own.live(rule_PM[index], KEYS[index])
        torch.testing.assert_close(lived.score_P[index], alone.score_P, rtol=1e-4, atol=1e-3)
        assert torch.equal(lived.steps_P[index], alone.steps_P)


def test_learning_counts_and_leaves_the_old_population_as_it_was():
    mixed = CONFIG.build()
    born = rows_of(mixed.begin(KEYS), mixed.total(KEYS) == 3)
    kept = {name: row.clone() for name, row in born.items()}
    rule_PM = rules(mixed)[mixed.total(KEYS) == 3]
    grown = mixed.learn(rule_PM, born, 2)
    assert all(torch.equal(born[name], kept[name]) for name in kept)
    assert set(grown) == set(born)
    assert grown["updates"].tolist() == [2] * len(rule_PM)
    assert grown["steps"].tolist() == [2 * 2 * 8] * len(rule_PM)


def test_what_an_agent_is_not_stays_new_born():
    mixed = CONFIG.build()
    born = mixed.begin(KEYS)
    grown = mixed.learn(rules(mixed), born, 1)
    for number in range(2):
        other = born["kind"] != number
        before, after = (part(str(number), rows)["weight"] for rows in (born, grown))
        assert torch.equal(before[other], after[other])
        assert not torch.equal(before[~other], after[~other])


def test_kinds_whose_rules_differ_in_size_cannot_be_mixed():
    small = ControlConfig(drift=LearnedDriftConfig(hidden_size=2))
    kinds = [ControlLifetimes(ControlConfig(), "CartPole"), ControlLifetimes(small, "CartPole")]
    with pytest.raises(ValueError, match="one size"):
        MixedLifetimes(kinds)
