"""Rules against each other, by hand."""

import math

import pytest
import torch

from quickstudy.experiments.discovery.exams import Outcome
from quickstudy.experiments.discovery.paired import (
    all_judged,
    apart,
    cell,
    difference,
    direction,
    in_words,
    interval,
    judged,
    normalised,
    where,
)

NAN = math.nan


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_an_interval_over_seeds_by_hand():
    """Means of two seeds: 1 and 3. Mean 2, standard error √2/√2 = 1; t of one degree of freedom is
    12.706. Of one rule, over lives: the same numbers, the same interval.
    """
    for found in (interval(rows([0.0, 2.0], [2.0, 4.0])), interval(rows([1.0, 3.0]))):
        assert found == pytest.approx({"point": 2.0, "low": -10.706, "high": 14.706}, abs=1e-3)


def test_a_difference_is_taken_life_by_life():
    """Seeds: (1 − 0 + 2 − 2)/2 = 0.5 and (3 − 0 + 2 − 2)/2 = 1.5; each against the single rule."""
    found = difference(rows([1.0, 2.0], [3.0, 2.0]), rows([0.0, 2.0]))
    assert found["per_seed"] == [0.5, 1.5]
    assert found["over_seeds"]["point"] == found["over_both"]["point"] == 1.0
    low, high = found["over_both"]["low"], found["over_both"]["high"]
    assert (low, high) == (0.0, 3.0)  # the smallest and the largest that resampling can give


def test_a_rule_against_itself_differs_by_nothing():
    x_Sn = rows([0.1, 0.7, -0.3], [0.2, 0.9, 0.4])
    found = difference(x_Sn, x_Sn)
    nothing = {"point": 0.0, "low": 0.0, "high": 0.0}
    assert found == {"over_seeds": nothing, "over_both": nothing, "per_seed": [0.0, 0.0]}
    assert direction(found) == "undecided"


def between(low, high, both=None):
    one = {"point": (low + high) / 2, "low": low, "high": high}
    if both is None:
        return {"over_seeds": one}
    return {"over_seeds": one, "over_both": {"point": 0.0, "low": both[0], "high": both[1]}}


def test_a_direction_needs_all_intervals():
    assert direction(between(0.1, 0.2, (0.1, 0.3))) == "higher"
    assert direction(between(-0.2, -0.1, (-0.3, -0.1))) == "lower"
    assert direction(between(0.1, 0.2, (-0.1, 0.3))) == "undecided"
    assert direction(between(-0.1, 0.2, (0.1, 0.3))) == "undecided"
    assert direction(between(0.0, 0.2)) == "undecided"
    assert direction(between(0.1, 0.2)) == "higher"


def test_directions_in_words():
    found = {"5": between(1, 2), "10": between(-1, 2), "25": between(1, 3), "50": between(-2, -1)}
    assert where(found, "higher") == ["5", "25"]
    assert in_words(found) == "higher at 5, 25; lower at 50; undecided at 10"
    assert in_words({"5": between(1, 2)}) == "higher at 5"


def test_returns_by_the_optimum_by_hand():
    """Optima 2, 0.05 and 0.5: the second is too small; 1/2 and 0.25/0.5, then 0 (broken) and −2."""
    score_Sn = rows([1.0, 7.0, 0.25], [NAN, 7.0, -1.0])
    optimal_n = torch.tensor([2.0, 0.05, 0.5], dtype=torch.float64)
    assert normalised(score_Sn, optimal_n).tolist() == [[0.5, 0.5], [0.0, -2.0]]
    found = judged(score_Sn, optimal_n)
    assert found["broken"] == 1
    assert found["per_seed"] == pytest.approx([2.75, 2.0])  # 8.25/3 and 6/3
    assert found["return"]["point"] == pytest.approx(2.375)
    assert found["normalised"]["point"] == pytest.approx(-0.25)
    assert judged(score_Sn, torch.zeros(3))["normalised"] is None


def test_outcomes_by_contender_and_by_exam():
    one = torch.ones(2, dtype=torch.float64)
    outcomes = {
        "5": Outcome({"x": rows([1.0, 2.0]), "y": rows([0.0, NAN])}, one),
        "10": Outcome({"x": rows([3.0, 3.0]), "y": rows([3.0, 3.0])}, one),
    }
    judgements = all_judged(outcomes)
    assert {name: list(by_exam) for name, by_exam in judgements.items()} == {
        "x": ["5", "10"],
        "y": ["5", "10"],
    }
    assert judgements["y"]["5"]["broken"] == 1
    points = {
        exam: found["over_seeds"]["point"] for exam, found in apart(outcomes, "x", "y").items()
    }
    assert points == {"5": 1.5, "10": 0.0}


def test_cells():
    assert cell({"point": 0.12345, "low": -1.0, "high": 2.0}) == "0.123 [-1.000, 2.000]"
    assert cell(None) == "–"
