"""Training runs: what they leave behind, and that stopping and going on changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from quickstudy.envs.dmc import suite
from quickstudy.envs.errors import MissingExtraError
from quickstudy.envs.metaworld import family as metaworld_family
from quickstudy.envs.metaworld import package
from quickstudy.envs.metaworld.package import load_metaworld
from quickstudy.experiments import train as train_module
from quickstudy.experiments.benchmarks.record import record
from quickstudy.experiments.checkpoint import Checkpoints, CheckpointWarning
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.train import resume, train
from quickstudy.experiments.training import Training

SMALL = TrainConfig(
    family="SparsePointGoal",
    frames=4800,
    worlds=8,
    episode_length=10,
    checkpoint_interval=3,
    eval_interval=4,
    eval_tasks=4,
    video=False,
)
"""12 updates of 400 frames."""
SMALL_FLAGS = (
    "SparsePointGoal --frames 4800 --worlds 8 --episode-length 10 --checkpoint-interval 3 "
    "--eval-interval 4 --eval-tasks 4 --no-video"
).split()
SILENT = Console(quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run, the only one that is filmed."""
    return train(replace(SMALL, video=True), tmp_path_factory.mktemp("run") / "whole", SILENT)


def final_state(run: Path):
    """All there is, but for whether the run was to be filmed."""
    state = Checkpoints(run / "checkpoints").load_latest()[0]
    del state["config"]["video"]
    return state


def assert_same(left, right, where="state"):
    """Bit equality of nested states."""
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype, where
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list):
        assert len(left) == len(right), where
        for index, pair in enumerate(zip(left, right, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    else:
        assert left == right, where


def assert_same_run(run: Path, reference: Path):
    assert (run / "metrics.jsonl").read_bytes() == (reference / "metrics.jsonl").read_bytes()
    assert_same(final_state(run), final_state(reference))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "quickstudy.experiments.cli", *arguments]


def start(run: Path) -> subprocess.Popen:
    return subprocess.Popen(
        command("train", *SMALL_FLAGS, "--run-dir", str(run)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_rows(run: Path, count: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        rows = run / "metrics.jsonl"
        if rows.exists() and rows.read_text().count("\n") >= count:
            return
        time.sleep(0.005)


def test_a_run_leaves_everything_behind(finished):
    assert json.loads((finished / "config.json").read_text())["worlds"] == 8
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["versions"]["mujoco"]
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows] == list(range(1, 13))
    assert rows[-1]["frames"] == 4800
    assert {"adapt/return_ep5", "adapt/gain", "train/kl", "train/diverged_worlds"} <= rows[0].keys()
    assert "eval/test/gain" in rows[3]
    assert "eval/test/gain" not in rows[4]
    assert (finished / "adaptation.mp4").stat().st_size > 1000
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert len(evaluation["returns"]) == evaluation["evaluation"]["tasks"]


def test_tensorboard_shows_the_run(finished):
    events = EventAccumulator(str(finished), size_guidance={"images": 0, "tensors": 0}).Reload()
    scalars = set(events.Tags()["scalars"])
    expected = {"adapt/return_ep1", "adapt/return_ep5", "adapt/gain", "perf/frames_per_second"}
    assert expected | {"eval/test/return_ep1", "train/policy_loss"} <= scalars
    assert len(events.Scalars("adapt/return_ep1")) == 12
    (picture,) = events.Images("adaptation")
    assert picture.encoded_image_string.startswith(b"GIF8")
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_the_same_seed_twice_is_the_same_run(finished, tmp_path):
    assert_same_run(train(SMALL, tmp_path / "again", SILENT), finished)


def test_kill_minus_nine_and_resume_is_bit_equal(finished, tmp_path):
    """Killed at an arbitrary moment of its middle third, the run ends as if nothing happened."""
    run = tmp_path / "killed"
    process = start(run)
    wait_for_rows(run, 4 + os.getpid() % 5, process)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL, process.stdout.read()
    assert_same_run(resume(run, SILENT), finished)


def test_sigterm_saves_at_the_next_boundary(finished, tmp_path):
    run = tmp_path / "stopped"
    process = start(run)
    wait_for_rows(run, 4, process)
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 143, output
    done = len((run / "metrics.jsonl").read_text().splitlines())
    assert final_state(run)["num_updates"] == done
    assert_same_run(resume(run, SILENT), finished)


def test_killed_before_the_first_checkpoint_resumes_from_the_start(finished, tmp_path, monkeypatch):
    run = tmp_path / "early"
    monkeypatch.setattr(train_module, "_run", lambda *arguments: None)
    train(SMALL, run, SILENT)
    monkeypatch.undo()
    assert_same_run(resume(run, SILENT), finished)


def test_trials_that_straddle_rollouts_resume_bit_equal():
    """Ants fall at different times, so a checkpoint cuts trials, episodes and memories short."""
    config = resolve(TrainConfig(family="AntDir", frames=1000, worlds=5, episode_length=25))
    whole, first, second = (Training(config) for _ in range(3))
    for _ in range(4):
        whole.update()
    for _ in range(2):
        first.update()
    assert not first.actor.time_step.trial_start.all(), "no trial straddles: nothing is proven"
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        second.update()
    assert_same(second.state_dict(), whole.state_dict())


def test_a_damaged_checkpoint_is_passed_over_loudly(finished, tmp_path):
    run = tmp_path / "damaged"
    train(SMALL, run, SILENT)
    newest = Checkpoints(run / "checkpoints").paths()[0] / "state.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    with pytest.warns(CheckpointWarning, match=newest.parent.name):
        resume(run, SILENT)
    assert_same_run(run, finished)


@pytest.mark.parametrize("family", ["DMCFingerTurnHard", "ProjectedDMC", "MetaWorldML1Reach"])
def test_a_missing_extra_is_said_before_anything_is_written(family, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "find_spec", lambda name: None)
    monkeypatch.setattr(package, "installed_version", lambda: None)
    monkeypatch.setattr(metaworld_family, "load_metaworld", load_metaworld.__wrapped__)
    with pytest.raises(MissingExtraError, match=r"pip install .quickstudy\[(dmc|metaworld)\]"):
        train(replace(SMALL, family=family), tmp_path / "runs" / "new", SILENT)
    assert not list(tmp_path.iterdir())


def test_training_goes_on_when_the_disk_is_full(finished, tmp_path, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.warns(CheckpointWarning, match="No space left"):
        run = train(SMALL, tmp_path / "full", SILENT)
    assert (run / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


def test_without_opengl_the_rest_goes_on(tmp_path):
    """MuJoCo families need OpenGL to film; its absence costs one line."""
    run = tmp_path / "blind"
    flags = "HalfCheetahDir --frames 40 --worlds 2 --episode-length 5 --run-dir".split()
    result = subprocess.run(
        command("train", *flags, str(run)),
        env={**os.environ, "MUJOCO_GL": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "apt-get install -y libegl1" in result.stdout
    assert (run / "evaluation.json").exists()
    assert not (run / "adaptation.mp4").exists()


def test_a_record_keeps_the_returns_of_few_tasks_and_the_summary_of_many(finished, tmp_path):
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert record(finished)["evaluation"] == evaluation
    many = tmp_path / "many.json"
    assert "successes_by_seed" in evaluation
    many.write_text(json.dumps(evaluation | {"tasks": [[0.0]] * 1001}))
    kept = record(finished, many)["evaluation"]
    assert kept["interval"] == evaluation["interval"]
    assert not {"tasks", "returns", "returns_by_seed", "successes_by_seed"} & set(kept)


def test_a_finished_run_makes_one_record(finished):
    made = record(finished)
    assert made["config"]["family"] == "SparsePointGoal"
    assert made["environment"]["versions"]["mujoco"]
    assert [point["update"] for point in made["curve"]] == list(range(1, 13))
    assert made["curve"][3].keys() > {"adapt/return_ep5", "eval/test/gain", "frames"}
    assert len(made["evaluation"]["returns"]) == 128
