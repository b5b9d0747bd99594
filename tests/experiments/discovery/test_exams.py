"""Exams: everybody has the same lives, which no discovery has, and nothing is done twice."""

import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from quickstudy.agents.lifetimes.tabular import TabularConfig, TabularLifetimes
from quickstudy.agents.lifetimes.tabular_rules import A2CRuleConfig, LPGRuleConfig
from quickstudy.agents.objectives.lpg import LPGConfig
from quickstudy.experiments.discovery import exams
from quickstudy.experiments.discovery.exams import Contender, Exam, hold, returns, sat
from quickstudy.experiments.discovery.keys import Purpose, keys

SILENT = Console(quiet=True)
LIVES = TabularConfig(
    rule=A2CRuleConfig(),
    min_updates=2,
    max_updates=4,
    copies=2,
    rollout_steps=5,
    evaluation_steps=30,
)
EXAM = Exam(LIVES, 6, seed=0)
RULE_2 = torch.tensor([0.2, -0.1])
LPG_RULE = LPGRuleConfig(network=LPGConfig(width=3, prediction_size=3, embedding_width=2))


def test_no_discovery_meets_the_lives_of_an_exam():
    own = set(EXAM.life_keys().tolist())
    assert len(own) == 6
    for purpose in Purpose:
        if purpose is not Purpose.EXAM:
            assert own.isdisjoint(keys(0, purpose, 0, 1000).tolist())
    assert own.isdisjoint(replace(EXAM, seed=1).life_keys().tolist())
    assert set(replace(EXAM, count=9).life_keys().tolist()) > own


def test_returns_are_what_each_life_comes_to_alone():
    found = returns((EXAM, RULE_2))
    alone = TabularLifetimes(LIVES)
    one_by_one = [alone.live(RULE_2[None], key[None]).score_P for key in EXAM.life_keys()]
    torch.testing.assert_close(found, torch.cat(one_by_one))
    assert len(set(found.tolist())) > 1


def test_many_lives_are_lived_in_parts(monkeypatch):
    whole = returns((EXAM, RULE_2))
    monkeypatch.setattr(exams, "_SIDE_BY_SIDE", 4)
    torch.testing.assert_close(returns((EXAM, RULE_2)), whole)
    assert torch.equal(returns((EXAM, None)), optimal(EXAM))


def test_the_optimum_is_that_of_each_lifes_own_task():
    assert torch.equal(returns((EXAM, None)), optimal(EXAM))
    assert torch.equal(returns((EXAM.lasting(50), None)), optimal(EXAM))
    assert torch.equal(returns((EXAM.under(LPG_RULE), None)), optimal(EXAM))


def optimal(exam):
    """As new-born agents hold it who are scored by it."""
    return TabularLifetimes(replace(exam.lives, normalise=True)).begin(exam.life_keys())["optimal"]


def test_an_exam_of_another_length_has_lives_of_that_length():
    exam = EXAM.lasting(7)
    assert TabularLifetimes(exam.lives).total(exam.life_keys()).tolist() == [7] * 6


def test_contenders_with_the_same_rule_earn_exactly_the_same(tmp_path):
    lpg = TabularLifetimes(replace(LIVES, rule=LPG_RULE))
    rule_SM = torch.stack([lpg.first_rule(0), lpg.first_rule(1)])
    contenders = {
        "a": Contender(LPG_RULE, rule_SM),
        "b": Contender(LPG_RULE, rule_SM.flip(0)),
        "a2c": Contender(LIVES.rule, RULE_2[None]),
    }
    plan = {"short": (EXAM.lasting(1), contenders), "long": (EXAM.lasting(9), contenders)}
    held = hold(plan, tmp_path, 1, SILENT)
    for outcome in held.values():
        assert outcome.score_Sn["a"].shape == (2, 6)
        assert torch.equal(outcome.score_Sn["a"], outcome.score_Sn["b"].flip(0))
        assert outcome.score_Sn["a2c"].shape == (1, 6)
        assert torch.equal(outcome.optimal_n, optimal(EXAM))
    assert torch.equal(held["long"].score_Sn["a2c"][0], returns((EXAM.lasting(9), RULE_2)))
    assert not torch.equal(held["long"].score_Sn["a2c"], held["short"].score_Sn["a2c"])


def test_what_was_sat_is_read_until_something_changes(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(exams, "returns", lambda sitting: done.append(sitting) or returns(sitting))
    first = sat({"x/y": (EXAM, RULE_2)}, tmp_path, 1, SILENT)
    again = sat({"x/y": (EXAM, RULE_2)}, tmp_path, 1, SILENT)
    assert torch.equal(first["x/y"], again["x/y"])
    assert len(done) == 1
    changes = [
        (EXAM, RULE_2 + 1e-7),
        (replace(EXAM, seed=1), RULE_2),
        (replace(EXAM, purpose=Purpose.TUNING), RULE_2),
        (EXAM.lasting(3), RULE_2),
        (EXAM.under(A2CRuleConfig(policy_rate=1.0)), RULE_2),
        (EXAM, None),
    ]
    for count, sitting in enumerate(changes, start=2):
        sat({"x/y": sitting}, tmp_path, 1, SILENT)
        assert len(done) == count


def test_lives_that_break_stay_broken_on_disk(tmp_path):
    broken = torch.tensor([math.inf, 0.0])
    for _ in range(2):
        found = sat({"broken": (EXAM, broken)}, tmp_path, 1, SILENT)["broken"]
        assert bool(found.isnan().all())


@pytest.mark.slow
def test_processes_change_nothing(tmp_path):
    sittings = {"rule": (EXAM, RULE_2), "optimal": (EXAM, None)}
    here = sat(sittings, tmp_path / "one", 1, SILENT)
    there = sat(sittings, tmp_path / "two", 2, SILENT)
    assert all(torch.equal(here[name], there[name]) for name in sittings)
