"""Stored references, the regret to them, and the command that computes them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from quickstudy.envs.references import stored
from quickstudy.envs.references.reference import Reference
from quickstudy.envs.references.stored import store_references, stored_references
from quickstudy.experiments.references import measure_references
from quickstudy.experiments.report import EvalConfig, Report

OPTIMAL = Reference("optimal", "exact", (1.0, 3.0), 4.0, 0.0, 0, "worked by hand")
PLAYED = replace(OPTIMAL, name="greedy", kind="played", standard_error=0.1, trials=9)


@pytest.fixture(autouse=True)
def scratch_file(tmp_path, monkeypatch):
    """The package's own file stays as it is."""
    monkeypatch.setattr(stored, "REFERENCES_FILE", tmp_path / "references.json")


def test_references_are_kept_by_family_and_trial():
    store_references("Bandit2", 100, 1, [OPTIMAL, PLAYED], {"seed": 3})
    store_references("Bandit2", 10, 1, [PLAYED], {"seed": 3})
    assert stored_references("Bandit2", 100, 1) == (OPTIMAL, PLAYED)
    assert stored_references("Bandit2", 10, 1) == (PLAYED,)
    assert stored_references("Bandit2", 10, 2) == ()
    store_references("Bandit2", 10, 1, [], {"seed": 4})
    assert stored_references("Bandit2", 10, 1) == ()


def test_the_regret_is_what_a_trial_lacks():
    """Trials of 1 + 2 and 0 + 3 earn 3 on average: 1 less than 4, 75 % of it."""
    returns_SNK = np.array([[[1.0, 2.0], [0.0, 3.0]]])
    report = Report(
        "PointGoal", "rl2", EvalConfig(), torch.zeros(2, 2), returns_SNK, None, None, (OPTIMAL,)
    )
    assert report.trial.point == 3.0
    assert report.regret == {"optimal": 1.0}
    console = Console(record=True, width=200)
    console.print(report.table())
    line = next(line for line in console.export_text().splitlines() if "optimal" in line)
    for cell in ("1.00", "3.00", "2.00", "4.00", "1.00 (75.0%)"):
        assert cell in line
    assert report.to_dict()["regret"] == {"optimal": 1.0}


def test_nothing_is_a_share_of_nothing():
    nothing = replace(OPTIMAL, name="no memory", episode_returns=(0.0, 0.0), trial_return=0.0)
    returns_SNK = np.ones((1, 2, 2))
    report = Report(
        "PointGoal", "rl2", EvalConfig(), torch.zeros(2, 2), returns_SNK, None, None, (nothing,)
    )
    assert report.regret == {"no memory": -2.0}
    assert "%)" not in report.markdown()


def test_without_references_the_table_is_as_it_was():
    report = Report(
        "PointGoal", "rl2", EvalConfig(), torch.zeros(2, 2), np.ones((1, 2, 2)), None, None
    )
    assert "regret" not in report.markdown()


def test_the_command_computes_prints_and_stores():
    options = {"episode_length": 3, "episodes": None, "trials": 50, "seed": 0}
    shown = Console(record=True, width=200)
    shown.print(measure_references("Bandit2", **options, write=False))
    assert stored_references("Bandit2", 3, 1) == ()
    measure_references("Bandit2", **options, write=True)
    kept = stored_references("Bandit2", 3, 1)
    assert kept
    text = shown.export_text()
    for reference in kept:
        assert reference.name in text


def test_a_family_without_references_is_refused():
    with pytest.raises(ValueError, match="HalfCheetahDir"):
        measure_references(
            "HalfCheetahDir", episode_length=None, episodes=None, trials=5, seed=0, write=False
        )
