"""The study of horizons: verdicts by hand, and the whole in small."""

import json
import sys

import pytest
import torch

from quickstudy.experiments import cli
from quickstudy.experiments.discovery.discovery import Discovery
from quickstudy.experiments.discovery.exams import Outcome
from quickstudy.experiments.discovery.horizon_study import HorizonStudy, compared, verdict

TINY = (
    "--times none fraction --horizons 1 4 --seeds 2 --exam-lives 6 --tuning-lives 4 --steps 300 "
    "--grid.rates 40 --grid.entropies 0.01 0.1 --processes 1 --lives copies 2 rollout_steps 4 "
    "min_updates 2 max_updates 3 evaluation_steps 20 rule.network.width 3"
).split()


def between(low, high):
    return {"over_seeds": {"point": (low + high) / 2, "low": low, "high": high}}


WIN, LOSS, OPEN = between(1, 2), between(-2, -1), between(-1, 1)


def test_a_clock_wins_at_two_new_horizons():
    """5, 100 and 200 lie outside 10–50; a win within counts for nothing."""
    found = {"5": WIN, "10": LOSS, "25": WIN, "100": WIN, "200": OPEN}
    assert verdict("lpg-raw", found, (10, 50)) == (
        "lpg-raw − lpg-none: higher at 5, 25, 100; lower at 10; undecided at 200. "
        "It wins at 2 or more of the 3 horizons outside 10–50: 2."
    )


def test_a_win_at_one_new_horizon_is_not_enough():
    found = {"5": OPEN, "10": WIN, "50": WIN, "100": WIN, "200": LOSS}
    assert verdict("lpg-raw", found, (10, 50)).endswith(
        "It does NOT win at 2 or more of the 3 horizons outside 10–50: 1."
    )


def test_only_clocks_are_held_against_the_blind_rule():
    x_Sn = torch.tensor([[1.0, 2.0], [1.0, 2.0]], dtype=torch.float64)
    scores = {"lpg-none": x_Sn, "lpg-raw": x_Sn + 1.0, "generation-0": x_Sn, "a2c": x_Sn[:1]}
    outcomes = {n: Outcome(scores, torch.ones(2).double()) for n in ("5", "100")}
    found = compared(outcomes, (10, 50))
    assert list(found["minus_none"]) == ["lpg-raw"]
    assert found["minus_none"]["lpg-raw"]["5"]["over_both"]["point"] == 1.0
    assert found["none_minus_a2c"]["5"]["over_seeds"]["point"] == 0.0
    assert found["verdict"][0].endswith("It wins at 2 or more of the 2 horizons outside 10–50: 2.")


def test_the_study_runs_and_a_second_time_nothing_is_done_again(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    first = study(monkeypatch, "--json", "first.json", "--plot", "study.png")
    monkeypatch.setattr(Discovery, "next_generation", lambda *_: pytest.fail("again"))
    second = study(monkeypatch, "--json", "second.json")
    assert {**first, "command": 0} == {**second, "command": 0}
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    assert list(first["contenders"]) == ["lpg-none", "lpg-fraction", "generation-0", "a2c"]
    for name, by_horizon in first["contenders"].items():
        assert list(by_horizon) == ["1", "4"]
        assert len(by_horizon["1"]["per_seed"]) == (1 if name == "a2c" else 2)
    for spent in first["discoveries"].values():
        assert all(steps >= 300 for steps in spent["steps"])
    assert list(first["minus_none"]) == ["lpg-fraction"]
    assert len(first["verdict"]) == 1


def study(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["quickstudy", "discover", "horizons", *TINY, *arguments])
    cli.main()
    with open(arguments[1]) as file:
        return json.load(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": ("fraction", "raw")}, "times must be none and others, each once"),
        ({"times": ("none", "raw", "raw")}, "times must be none and others, each once"),
        ({"horizons": (5, 0)}, "horizons must be an integer of at least 1, got 0"),
        ({"seeds": 0}, "seeds must be an integer of at least 1"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        HorizonStudy(**changes).check()
