"""The study of unseen tasks: what holds over all of them by hand, and the whole in small."""

import json
import sys

import pytest
import torch

from quickstudy.agents.lifetimes.tabular import TabularConfig
from quickstudy.experiments import cli
from quickstudy.experiments.discovery.exams import Outcome
from quickstudy.experiments.discovery.unseen_study import (
    UnseenStudy,
    compared,
    exams_of,
    overall,
    verdict,
)

TINY = (
    "--tasks bandit grid-sparse --updates 2 --evaluation-steps 10 --seeds 2 --exam-lives 6 "
    "--tuning-lives 2 --steps 300 --grid.rates 40 --grid.entropies 0.01 0.1 --processes 1 --lives "
    "copies 2 rollout_steps 4 min_updates 2 max_updates 3 evaluation_steps 20 rule.network.width 3"
).split()


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


OUTCOMES = {
    "near": Outcome({"lpg": rows([2.0, 2.0], [4.0, 4.0]), "a2c": rows([1.0, 1.0])}, rows(2.0, 4.0)),
    "far": Outcome({"lpg": rows([1.0, 9.0], [1.0, 9.0]), "a2c": rows([0.0, 0.0])}, rows(1.0, 0.0)),
}


def test_the_difference_over_all_tasks_by_hand():
    """By the optimum, less A2C: seed 0 has 0.5, 0.25 and 1, seed 1 has 1.5, 0.75 and 1; the last
    life counts in no mean, as nothing can be earned there.
    """
    found = overall(OUTCOMES, "lpg", "a2c")
    assert found["per_seed"] == pytest.approx([1.75 / 3, 3.25 / 3])
    assert found["over_both"]["point"] == pytest.approx(5.0 / 6)


def test_where_nothing_can_be_earned_nothing_is_said_over_all():
    barren = {"far": Outcome(OUTCOMES["far"].score_Sn, rows(0.0, 0.0))}
    assert overall(barren, "lpg", "a2c") is None
    assert verdict(barren, "lpg", "a2c").endswith("by the exact optimum: undecided, –.")


def test_a_verdict_by_hand():
    """Three seeds, all of which earn 1 more on `near` and 1 less on `far`; optima 1 and 2: half a
    life's worth is left over all.
    """
    one = torch.ones(3, 2, dtype=torch.float64)
    outcomes = {
        "near": Outcome({"x": 2 * one, "y": one}, rows(1.0, 1.0)),
        "far": Outcome({"x": one, "y": 2 * one}, rows(2.0, 2.0)),
    }
    assert verdict(outcomes, "x", "y").startswith(
        "x − y: higher at near; lower at far. Over all tasks, by the exact optimum: "
    )
    point = overall(outcomes, "x", "y")["over_both"]["point"]
    assert point == pytest.approx(0.25)  # (1 + 1 − 0.5 − 0.5) / 4


def test_every_rule_is_compared_with_both_a2c():
    x_Sn = rows([1.0, 2.0], [1.0, 2.0])
    scores = {"lpg": x_Sn, "ta-lpg": x_Sn, "a2c-trained": x_Sn[:1], "a2c-here": x_Sn[1:]}
    found = compared({"near": Outcome(scores, rows(1.0, 1.0))}, ["lpg", "ta-lpg"])
    assert list(found["differences"]) == [
        "lpg − a2c-trained",
        "lpg − a2c-here",
        "ta-lpg − a2c-trained",
        "ta-lpg − a2c-here",
    ]
    assert all(by["near"]["per_seed"] == [0.0, 0.0] for by in found["differences"].values())


def test_exams_are_on_the_tasks_and_of_the_length_asked_for():
    config = UnseenStudy(tasks=("grid-dense", "grid-all"), updates=70, exam_lives=9)
    found = exams_of(config, TabularConfig())
    assert list(found) == ["grid-dense", "grid-all"]
    for task, exam in found.items():
        assert (exam.lives.tasks, exam.count) == (task, 9)
        assert (exam.lives.min_updates, exam.lives.max_updates) == (70, 70)
        assert exam.lives.evaluation_steps == 2000


def test_the_study_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    written = ["--json", "found.json", "--plot", "study.png"]
    monkeypatch.setattr(sys, "argv", ["quickstudy", "discover", "unseen", *TINY, *written])
    cli.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    names = ["lpg-none", "lpg-fraction-log", "generation-0", "a2c-trained", "a2c-here"]
    assert list(found["contenders"]) == names
    assert all(
        list(by_task) == ["bandit", "grid-sparse"] for by_task in found["contenders"].values()
    )
    assert set(found["a2c"]) == {"bandit", "grid-sparse", "a2c-trained"}
    assert len(found["verdict"]) == 4


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"'grid-danse'\. Did you mean 'grid-dense'"):
        UnseenStudy(tasks=("grid-danse",)).check()
    with pytest.raises(ValueError, match="updates must be an integer of at least 1"):
        UnseenStudy(updates=0).check()
