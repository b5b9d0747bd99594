"""Tuning A2C: the grid becomes rules, and the better of two wins."""

import math

import pytest
import torch
from rich.console import Console

from quickstudy.agents.lifetimes.tabular import TabularConfig
from quickstudy.agents.lifetimes.tabular_rules import A2CRuleConfig
from quickstudy.experiments.discovery.a2c_tuning import A2CGrid, a2c_rule, best, tuned
from quickstudy.experiments.discovery.exams import Exam, returns

SILENT = Console(quiet=True)
LIVES = TabularConfig(
    rule=A2CRuleConfig(), min_updates=20, max_updates=20, copies=4, evaluation_steps=50
)
EXAM = Exam(LIVES, 12, seed=0)


def test_a_rule_of_a_grid_by_hand():
    """80 is 2 × 40, and 0.001 a tenth of 0.01: log 2 and −log 10."""
    expected = torch.tensor([math.log(2.0), -math.log(10.0)])
    torch.testing.assert_close(a2c_rule(80.0, 0.001), expected)


def test_a_rule_of_a_grid_learns_like_a2c_with_those_constants():
    direct = EXAM.under(A2CRuleConfig(policy_rate=80.0, entropy=0.001))
    torch.testing.assert_close(
        returns((EXAM, a2c_rule(80.0, 0.001))), returns((direct, torch.zeros(2)))
    )


def test_the_best_of_a_grid_by_hand():
    grid = A2CGrid((10.0, 20.0, 40.0), (0.01, 0.1, 1.0))
    scores = {(rate, entropy): 0.0 for rate in grid.rates for entropy in grid.entropies}
    found = best(grid, scores | {(20.0, 0.1): 2.0, (40.0, 1.0): 1.0}).to_dict()
    tried = found.pop("tried")
    assert found == {"rate": 20.0, "entropy": 0.1, "score": 2.0, "at_edge": False}
    assert len(tried) == 9
    assert (40.0, 1.0, 1.0) in tried
    assert best(grid, scores | {(20.0, 1.0): 2.0}).at_edge
    assert best(grid, scores | {(10.0, 0.1): 2.0}).at_edge
    assert not best(A2CGrid((40.0,), grid.entropies), {(40.0, 0.1): 2.0}).at_edge
    assert best(grid, scores).rate == 10.0  # of equals, the first


def test_a_step_size_that_learns_beats_one_that_does_not(tmp_path):
    """With steps of 1e-6 policies stay uniform: by construction the worse of the two."""
    grid = A2CGrid((1e-6, 40.0), (0.01,))
    found = tuned(grid, {"here": EXAM, "short": EXAM.lasting(1)}, tmp_path, 1, SILENT)
    assert found["here"].rate == 40.0
    assert found["here"].score > 0.0
    rule_M = found["here"].contender.rule_SM[0]
    torch.testing.assert_close(rule_M, torch.tensor([0.0, 0.0]))


def test_tuning_lives_are_not_those_of_the_exam(tmp_path):
    found = tuned(A2CGrid((40.0,), (0.01,)), {"here": EXAM}, tmp_path, 1, SILENT)["here"]
    assert found.score != float(returns((EXAM, a2c_rule(40.0, 0.01))).mean())


def test_bad_grids_are_refused():
    with pytest.raises(ValueError, match="entropies must be one number or more, all above 0"):
        A2CGrid(entropies=(0.0, 0.1)).check()
    with pytest.raises(ValueError, match="rates must be one number or more"):
        A2CGrid(rates=()).check()
