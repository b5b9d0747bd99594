"""What defines a discovery: configurations, presets and the command line."""

import sys
from dataclasses import replace

import pytest
from rich.console import Console

from quickstudy.experiments.cli import main
from quickstudy.experiments.discovery import presets
from quickstudy.experiments.discovery.config import DiscoverConfig, resolve
from quickstudy.experiments.discovery.discover import discover
from quickstudy.experiments.discovery.options import changed, spelled

SMALL = DiscoverConfig(
    preset="noisy-quadratic",
    lives={"min_updates": "2", "max_updates": "5"},
    estimator_options={"pairs": "6", "shard": "4"},
    generations=12,
)
SILENT = Console(quiet=True)

# --- configuration ----------------------------------------------------------------------------


def test_a_user_comes_before_the_preset_and_the_preset_before_the_estimator():
    assert resolve(SMALL).optimiser.learning_rate == 0.05
    assert resolve(replace(SMALL, estimator="snes")).optimiser.name == "sgd"
    plan = resolve(replace(SMALL, optimiser={"learning_rate": "0.5"}))
    assert plan.optimiser.learning_rate == 0.5
    assert plan.estimator.pairs == 6
    assert plan.lives.max_updates == 5


def test_parts_of_a_configuration_are_changed_by_dots():
    lives = presets.find_preset("ta-lpg-small").lives
    other = changed(lives, {"rule.network.width": "4", "max_updates": "20"})
    assert (other.rule.network.width, other.max_updates) == (4, 20)
    assert other.rule.network.time == lives.rule.network.time
    assert spelled(other)["rule.network.width"] == "4"


def test_words_are_split_at_commas():
    lives = changed(presets.find_preset("lpo-control").lives, {"families": "CartPole,Pendulum"})
    assert lives.families == ("CartPole", "Pendulum")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "noisy-quadratik"}, "Did you mean 'noisy-quadratic'"),
        ({"estimator": "opne-es"}, "Did you mean 'open-es'"),
        ({"estimator_options": {"sigmo": "1"}}, "Did you mean 'sigma'"),
        ({"estimator_options": {"sigma": "0"}}, "sigma must be above 0"),
        ({"lives": {"rule.width": "1"}}, "Unknown option 'rule.width'"),
        ({"optimiser": {"learning_rate": "fast"}}, "learning_rate must be of type float"),
        ({"generations": 0}, "generations must be"),
        ({"processes": 0}, "processes must be"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        discover(replace(SMALL, **wrong), tmp_path / "run", SILENT)
    assert not list(tmp_path.iterdir())


# --- the command line -------------------------------------------------------------------------


def test_the_command_line(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    arguments = ["discover", "lpg-small", "--lives", "min_updates", "1", "max_updates", "1"]
    arguments += "--estimator-options pairs 1 --generations 1 --centre-lives 2".split()
    call(monkeypatch, *arguments, "--final-lives", "2", "--run-dir", str(run))
    assert "Score of 2 fresh lives" in capsys.readouterr().out
    call(monkeypatch, "discover", "report", str(run))
    printed = capsys.readouterr().out
    assert "lpg" in printed
    assert "environment steps" in printed


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["quickstudy", *arguments])
    main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["discover"], "Which preset"),
        (["discover", "lpg-smal"], "Did you mean 'lpg-small'"),
        (["discover", "--resume", "x", "--seed", "1"], "give nothing else"),
        (["discover", "report", "nowhere.json"], "nowhere.json"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments, message, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, *arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
