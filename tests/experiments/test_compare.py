"""Comparisons: what is run, what is not run again, and what is said of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from quickstudy.experiments import compare as compare_module
from quickstudy.experiments import training_runs
from quickstudy.experiments.compare import compare, record, training_run
from quickstudy.experiments.compare_config import Arena, CompareConfig, Contender
from quickstudy.experiments.training_runs import TrainingRun, shares, train

TINY = CompareConfig(families=("ProbeArm/1x4",), agents=("markov",), seeds=2, frames=64, tasks=6)


def quiet():
    return Console(record=True, width=160)


def test_an_arena_is_written_as_family_or_family_with_its_trial():
    assert Arena.parse("SparsePointGoal") == Arena("SparsePointGoal", 20, 5)
    assert Arena.parse("SparsePointGoal/60x3") == Arena("SparsePointGoal", 60, 3)
    assert str(Arena.parse("SparsePointGoal/60x3")) == "SparsePointGoal/60x3"


@pytest.mark.parametrize("text", ["SparsePointGoal/60", "SparsePointGoal/0x3", "PointGoal/axb"])
def test_a_trial_that_is_not_hxk_is_refused(text):
    with pytest.raises(ValueError, match="write a trial as"):
        Arena.parse(text)


@pytest.mark.parametrize(
    ("text", "contender", "shown"),
    [
        ("rl2", Contender("rl2"), "rl2"),
        ("s5+alp-gmm", Contender("s5", "alp-gmm", "return"), "s5+alp-gmm:return"),
        ("s5+plr:regret", Contender("s5", "plr", "regret"), "s5+plr:regret"),
    ],
)
def test_a_contender_is_written_as_agent_teacher_and_signal(text, contender, shown):
    assert Contender.parse(text) == contender
    assert str(contender) == shown


def test_contenders_are_trained_by_their_teachers():
    config = replace(TINY, agents=("markov", "markov+random:gain"), folder=Path("runs"))
    plain, taught = (
        training_run(config, Arena.parse("ProbeArm/1x4"), agent, 0) for agent in config.agents
    )
    assert plain.path.name == "ProbeArm-1x4-markov-64-s0"
    assert taught.path.name == "ProbeArm-1x4-markov-random-gain-64-s0"
    command = " ".join(taught.command)
    assert "--agent markov --teacher random --signal gain" in command


def test_options_of_train_are_passed_on_and_kept_apart():
    options = {"worlds": "4", "learner.minibatch-frames": "8"}
    config = replace(TINY, train_options=options, folder=Path("runs"))
    run = training_run(config, Arena.parse("ProbeArm/1x4"), "markov", 0)
    assert run.path.name == "ProbeArm-1x4-markov-64-learner.minibatch-frames-8-worlds-4-s0"
    assert "--worlds 4 --learner.minibatch-frames 8" in " ".join(run.command)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": ("PointGaol",)}, "Did you mean 'PointGoal'"),
        ({"agents": ("rl3",)}, "Did you mean 'rl2'"),
        ({"agents": ("rl2+randm",)}, "Unknown teacher 'randm'. Did you mean 'random'"),
        ({"agents": ("rl2+random:gian",)}, "Unknown signal 'gian'. Did you mean 'gain'"),
        ({"families": ()}, "at least one family"),
        ({"seeds": 0}, "seeds"),
        (
            {"train_options": {"wrlds": "2"}},
            "Unknown training option 'wrlds'. Did you mean 'worlds'",
        ),
        ({"frames": 3}, "less than one trial of ProbeArm/1x4"),
    ],
)
def test_mistakes_are_refused_before_any_training(monkeypatch, changes, message):
    monkeypatch.setattr(compare_module, "train_all", lambda *_: pytest.fail("it trained"))
    with pytest.raises(ValueError, match=message):
        compare(replace(TINY, **changes), quiet())


def test_a_comparison_is_resumed_not_repeated(tmp_path, monkeypatch):
    config = replace(TINY, folder=tmp_path / "runs")
    console = quiet()
    rows = compare(config, console)
    assert [(r.arena, r.agent) for r in rows] == [("ProbeArm/1x4", "markov")]
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) == 2
    assert not list((tmp_path / "runs").glob("*/*.mp4"))
    text = console.export_text()
    assert "0 of 2 runs" in text
    assert f"{rows[0].parameters:,}" in text

    monkeypatch.setattr(training_runs, "train", lambda *_: pytest.fail("it trained again"))
    again = quiet()
    assert compare(config, again) == rows
    assert "2 of 2 runs" in again.export_text()

    saved = json.loads(json.dumps(record(config, rows)))
    assert saved["rows"][0]["mean_by_seed"] == rows[0].mean_by_seed
    assert saved["config"]["frames"] == 64


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    arena = Arena.parse("ProbeArm/1x4")
    run = training_run(replace(TINY, folder=tmp_path), arena, "rl2", 1)
    assert run.arguments[:3] == ("train", "ProbeArm", "--no-video")
    run.path.mkdir()
    (run.path / "config.json").write_text("{}")
    assert run.arguments == ("train", "--resume", str(run.path))


def test_a_run_that_fails_is_not_passed_over(tmp_path):
    broken = TrainingRun(tmp_path / "x", ("train", "NoSuchFamily"))
    with pytest.raises(RuntimeError, match="NoSuchFamily"):
        train(broken, {0})


@pytest.mark.parametrize(
    ("jobs", "dealt"), [(1, [{4, 6, 7}]), (2, [{4, 7}, {6}]), (4, [{4}, {6}, {7}, {4}])]
)
def test_processors_are_dealt_out(monkeypatch, jobs, dealt):
    monkeypatch.setattr(training_runs.os, "sched_getaffinity", lambda _: {4, 6, 7})
    assert shares(jobs) == dealt
