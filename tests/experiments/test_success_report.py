"""What evaluation and training say about solved episodes, worked by hand."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from rich.console import Console

from quickstudy.envs.accounts import TrialResults
from quickstudy.experiments.report import EvalConfig, Report
from quickstudy.experiments.train import _success_scalars

SOLVED_1NK = np.array([[[False, True], [False, True], [False, False], [True, True]]])
"""One of four tasks in episode 1, three in episode 2."""


def report(returns_SNK, successes_SNK):
    task_ND = torch.zeros(4, 2)
    return Report(
        "PointGoal", "rl2", EvalConfig(), task_ND, returns_SNK, None, None, (), successes_SNK
    )


@pytest.fixture(name="solved")
def _solved():
    return report(np.ones((1, 4, 2)), SOLVED_1NK)


def test_the_success_rate_is_the_share_of_tasks_with_the_interval_of_a_return(solved):
    assert [interval.point for interval in solved.success_rate] == [0.25, 0.75]
    assert solved.success_rate == report(SOLVED_1NK.astype(np.float64), None).curve


def test_table_and_markdown_have_a_row_of_it(solved):
    console = Console(record=True, width=160)
    console.print(solved.table())
    assert "success rate" in console.export_text()
    (row,) = [line for line in solved.markdown().splitlines() if "success rate" in line]
    low, high = solved.success_rate[0].low, solved.success_rate[0].high
    assert row.startswith(f"| success rate | 0.25 [{low:.2f}, {high:.2f}] | 0.75 [")


def test_json_and_scalars_hold_it(solved):
    record = solved.to_dict()
    assert record["successes_by_seed"] == SOLVED_1NK.tolist()
    assert record["interval"]["success"] == [asdict(i) for i in solved.success_rate]
    scalars = solved.scalars()
    assert scalars["eval/test/success_ep1"] == 0.25
    assert scalars["eval/test/success_ep2"] == 0.75


def test_nothing_is_said_of_families_without_a_notion_of_it():
    plain = report(np.ones((1, 4, 2)), None)
    assert plain.success_rate is None
    assert "success" not in plain.markdown()
    assert not [name for name in plain.scalars() if "success" in name]
    record = plain.to_dict()
    assert record["successes_by_seed"] is record["interval"]["success"] is None


def test_training_logs_the_share_of_finished_trials():
    finished = torch.zeros(4, 2)
    trials = TrialResults(
        finished, finished, finished, finished[:, 0], torch.from_numpy(SOLVED_1NK[0])
    )
    assert _success_scalars(trials) == {"train/success_ep1": 0.25, "train/success_ep2": 0.75}
    without = TrialResults(finished, finished, finished, finished[:, 0])
    assert _success_scalars(without) == {}
