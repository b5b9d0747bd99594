"""The command line: help, refusals, and each command at tiny size."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from quickstudy.envs.registry import FAMILIES
from quickstudy.experiments import cli


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstudy", *arguments])
    cli.main()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(
            monkeypatch,
            *"train PointGoal --agent rl2 --frames 400 --worlds 2 --seed 3 --device cpu".split(),
            *("--run-dir", str(folder)),
        )
    return folder


@pytest.mark.parametrize("command", [*cli.COMMANDS, None])
def test_help_documents_every_option(monkeypatch, capsys, command):
    arguments = [command, "--help"] if command else ["--help"]
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments)
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    fields = [] if command is None else dataclasses.fields(cli.COMMANDS[command])
    positional_or_flattened = {"family", "families", "runs", "suite", "config", "command", "preset"}
    names = {f.name.replace("_", "-") for f in fields} - positional_or_flattened
    assert {name for name in names if f"--{name}" not in shown} == set()
    # tyro shows an option's docstring in place; an option without one has an empty column.
    undocumented = re.findall(r"--[a-z.-]+ \S+ +\(default", shown)
    assert undocumented == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian", "Unknown command 'trian'. Did you mean 'train'?"),
        ("train", "Which family? Options: PointGoal"),
        ("train HalfCheetaDir", "Did you mean 'HalfCheetahDir'?"),
        ("train PointGoal --agent rl", "Unknown agent 'rl'. Did you mean 'rl2'?"),
        ("train PointGoal --episodes-per-trial 0", "at least 1, got 0"),
        ("train PointGoal --frames 39", "less than one trial"),
        ("train PointGoal --device cudda", "Unknown device 'cudda'. Did you mean 'cuda'?"),
        ("train --resume nowhere", "nowhere"),
        ("train PointGoal --resume nowhere", "give nothing else"),
        ("eval nowhere", "nowhere"),
        ("play PointGoal --agent nobody", "Unknown agent"),
        ("play PointGoal --task 1 2 3", "2 parameter(s): goal_x (m), goal_y (m)"),
        ("play PointGoal --split tset", "Did you mean 'test'?"),
        ("play HalfCheetahDir --agent expert", "has no scripted expert"),
        ("anchors PointGaol", "Did you mean 'PointGoal'?"),
    ],
)
def test_mistakes_are_refused_in_one_line(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments.split())
    shown = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in shown
    assert shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_option_is_refused_with_the_nearest(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *"train PointGoal --ppo.clp 0.1".split())
    assert stop.value.code == 2
    assert "--ppo.clip" in capsys.readouterr().err


def test_list_shows_every_family(monkeypatch, capsys):
    run(monkeypatch, "list")
    shown = capsys.readouterr().out
    assert all(name in shown for name in FAMILIES)


def test_the_same_folder_is_not_trained_in_twice(monkeypatch, capsys, trained):
    with pytest.raises(SystemExit):
        run(monkeypatch, *"train PointGoal --frames 400 --run-dir".split(), str(trained))
    assert "--resume" in capsys.readouterr().err


def test_eval_writes_returns_interval_and_anchors(monkeypatch, trained, tmp_path):
    file = tmp_path / "scores.json"
    flags = "--split ood --tasks 7 --seed 2 --episodes 3 --json".split()
    run(monkeypatch, "eval", str(trained), *flags, str(file))
    record = json.loads(file.read_text())
    assert len(record["returns"]) == 7
    assert {len(row) for row in record["returns"]} == {3}
    assert len(record["interval"]["mean"]) == 3
    assert record["anchors"] is None, "the stored anchors are of train and test tasks"
    assert all(task[0] >= 1.0 for task in record["tasks"]), "ood goals lie beyond x = 1"


def test_eval_on_test_tasks_writes_the_anchors(monkeypatch, trained, tmp_path):
    file = tmp_path / "scores.json"
    run(monkeypatch, "eval", str(trained), *"--tasks 3 --json".split(), str(file))
    anchors = json.loads(file.read_text())["anchors"]
    assert anchors["oracle"]["mean"] > anchors["non_adaptive"]["mean"]


def test_eval_of_two_seeds_keeps_them_apart(monkeypatch, trained, tmp_path):
    other = tmp_path / "other"
    run(
        monkeypatch,
        *"train PointGoal --frames 400 --worlds 2 --seed 4 --run-dir".split(),
        str(other),
    )
    file = tmp_path / "scores.json"
    run(monkeypatch, "eval", str(trained), str(other), *"--tasks 5 --json".split(), str(file))
    first, second = json.loads(file.read_text())["returns_by_seed"]
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--split tset", "Did you mean 'test'?"),
        ("--checkpoint newest", "Options: latest, best"),
        ("--tasks 0", "tasks must be"),
        ("--json nowhere/scores.json", "there is no folder"),
        ("--episodes 0", "episodes must be"),
    ],
)
def test_eval_refuses_what_is_not_there(monkeypatch, capsys, trained, arguments, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, "eval", str(trained), *arguments.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("agent", ["zero", "random", "expert", "trained"])
def test_play_needs_no_training(monkeypatch, capsys, trained, agent):
    agent = str(trained) if agent == "trained" else agent
    run(monkeypatch, *"play PointGoal --task 0.5 -0.5 --agent".split(), agent)
    assert "episode 2" in capsys.readouterr().out


def test_play_films_a_trial(monkeypatch, tmp_path):
    file = tmp_path / "trial.mp4"
    run(monkeypatch, *"play PointGoal --agent expert --tasks 2 --video".split(), str(file))
    frames = iio.imread(file, plugin="pyav")
    assert frames.shape == (40, 274, 480, 3)
    assert (frames[0] != frames[15]).any()


def test_play_films_into_a_gif(monkeypatch, tmp_path):
    file = tmp_path / "trial.gif"
    run(monkeypatch, *"play PointGoal --agent expert --tasks 1 --video".split(), str(file))
    frames = iio.imread(file)  # equal ones in a row are kept as one
    assert frames.shape[1:] == (274, 240, 3)
    assert 10 < len(frames) <= 40


def test_a_film_of_no_known_format_is_refused(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run(monkeypatch, *"play PointGoal --video".split(), str(tmp_path / "trial.mp3"))
    shown = capsys.readouterr()
    assert "Unknown film format '.mp3'. Did you mean '.mp4'" in shown.err
    assert "episode 1" not in shown.out, "it played"


def test_play_films_two_policies_in_the_same_worlds(monkeypatch, tmp_path):
    """The expert above, random actions below, who start from the same pictures."""
    file = tmp_path / "both.mp4"
    arguments = "play PointGoal --agent expert --beside random --tasks 2 --video"
    run(monkeypatch, *arguments.split(), str(file))
    frames = iio.imread(file, plugin="pyav").astype(int)
    assert frames.shape == (40, 548, 480, 3)
    worlds = [(frame[34:274], frame[274 + 34 :]) for frame in frames]  # without the captions
    apart = [np.abs(above - below).mean() for above, below in worlds]
    assert apart[0] < 0.5 * apart[15]


def test_anchors_of_a_scripted_family_are_ordered(monkeypatch, capsys):
    run(monkeypatch, *"anchors SparsePointGoal --tasks 50".split())
    shown = capsys.readouterr().out
    means = [float(line.split(":")[1].split()[0]) for line in shown.splitlines()]
    assert len(means) == 4
    assert means[3] == max(means) > 4 * means[2]


def test_a_trained_markov_agent_stands_for_the_non_adaptive(monkeypatch, capsys, tmp_path):
    run_dir = tmp_path / "markov"
    flags = "--agent markov --frames 6000 --worlds 64 --run-dir".split()
    run(monkeypatch, "train", "ProbeReach", *flags, str(run_dir))
    capsys.readouterr()
    run(monkeypatch, *"anchors ProbeReach --tasks 50 --markov".split(), str(run_dir))
    shown = capsys.readouterr().out
    assert "oracle" not in shown, "ProbeReach has no scripted expert, and none was given"
    (line,) = [line for line in shown.splitlines() if "non-adaptive:" in line]
    assert "trained markov (PPO, 6" in line
    with pytest.raises(SystemExit):
        run(monkeypatch, "anchors", "ProbeReach", "--oracle", str(run_dir))
    assert "train ProbeReach --agent oracle" in capsys.readouterr().err


def test_doctor_names_the_package_that_gives_opengl(monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    run(monkeypatch, "doctor")
    shown = capsys.readouterr().out
    assert "libegl1" in shown
    assert "mujoco" in shown


def test_help_answers_without_torch():
    """Heavy imports would make every `--help` take seconds."""
    code = (
        "import sys\nfrom quickstudy.experiments import cli\n"
        "sys.argv = ['quickstudy', 'list', '-h']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\nassert 'mujoco' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
