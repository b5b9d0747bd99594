"""Run folders: what they record, who may write them, and rows that survive kills and full disks."""

import json
import math
import os
import resource
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.experiments import run_folder
from quickstudy.experiments.run_folder import (
    MetricsLog,
    MetricsWarning,
    RunFolder,
    default_path,
    git_state,
    typed,
    write_atomically,
)

COMMAND = ["quickstudy", "train", "PointGoal"]


@pytest.fixture
def log(tmp_path):
    return MetricsLog(tmp_path / "metrics.jsonl")


@pytest.fixture
def file_limit():
    """Keeps the process from growing a file beyond a size, as a full disk does; None lifts it."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(
        resource.RLIMIT_FSIZE, old if size is None else (size, old[1])
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("program", ["/usr/bin/quickstudy", "/lib/experiments/cli.py"])
def test_a_command_is_written_as_people_type_it(program):
    assert typed([program, "train", "PointGoal"]) == "quickstudy train PointGoal"
    assert typed(["/home/me/study.py", "3"]) == "study.py 3"


def test_a_run_records_its_configuration_and_surroundings(tmp_path):
    with RunFolder.create(tmp_path / "a" / "run", {"seed": 3, "rate": 5e-4}, COMMAND) as run:
        environment = json.loads((run.path / "environment.json").read_text())
    assert RunFolder(run.path).config() == {"seed": 3, "rate": 5e-4}
    assert environment["command"] == COMMAND
    assert RunFolder(run.path).command == "quickstudy train PointGoal"
    assert environment["cpus"] == len(os.sched_getaffinity(0))
    assert environment["versions"]["torch"] == torch.__version__
    assert {"python", "quickstudy", "mujoco", "gymnasium", "numpy", "stable-baselines3"} <= set(
        environment["versions"]
    )
    assert datetime.fromisoformat(environment["started_utc"]).utcoffset().total_seconds() == 0
    assert {"git", "platform"} <= set(environment)


def test_a_folder_with_a_run_is_refused_and_left_alone(tmp_path):
    RunFolder.create(tmp_path, {"seed": 1}, COMMAND).close()
    with pytest.raises(ValueError, match=f"{tmp_path} already holds a run.*--resume {tmp_path}"):
        RunFolder.create(tmp_path, {"seed": 2}, COMMAND)
    assert RunFolder(tmp_path).config() == {"seed": 1}


def test_a_folder_without_a_run_may_be_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder.create(tmp_path, {}, COMMAND).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_configuration_that_is_not_json_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        RunFolder.create(tmp_path / "run", {"rate": math.nan}, COMMAND)
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"Cannot write to run folder .*file/run"):
        RunFolder.create(tmp_path / "file" / "run", {}, COMMAND)


def test_a_failed_start_leaves_no_run_and_no_lock(tmp_path, monkeypatch):
    def fail(path, data):
        raise OSError("no space")

    monkeypatch.setattr(run_folder, "write_atomically", fail)
    with pytest.raises(OSError, match="no space"):
        RunFolder.create(tmp_path, {}, COMMAND)
    monkeypatch.undo()
    RunFolder.create(tmp_path, {"seed": 1}, COMMAND).close()


def test_resume_needs_an_intact_run(tmp_path):
    with pytest.raises(ValueError, match=r"No run in .*elsewhere"):
        RunFolder.resume(tmp_path / "elsewhere", COMMAND)
    for damage in ('{"seed"', "[1]"):
        (tmp_path / "config.json").write_text(damage)
        with pytest.raises(ValueError, match=r"config\.json is damaged"):
            RunFolder.resume(tmp_path, COMMAND)


def test_each_resume_is_noted(tmp_path):
    RunFolder.create(tmp_path, {}, COMMAND).close()
    for _ in range(2):
        RunFolder.resume(tmp_path, ["quickstudy", "train", "--resume"]).close()
    lines = (tmp_path / "resumes.jsonl").read_text().splitlines()
    assert [json.loads(line)["command"][-1] for line in lines] == ["--resume"] * 2


def test_one_writer_at_a_time(tmp_path):
    with RunFolder.create(tmp_path, {}, COMMAND):
        with pytest.raises(ValueError, match=rf"{tmp_path} is in use.*pid {os.getpid()}\)"):
            RunFolder.resume(tmp_path, COMMAND)
        assert RunFolder(tmp_path).config() == {}
    RunFolder.resume(tmp_path, COMMAND).close()


def test_a_killed_process_releases_the_lock(tmp_path):
    RunFolder.create(tmp_path, {}, COMMAND).close()
    holder = (
        "import pathlib, sys, time\n"
        "from quickstudy.experiments.run_folder import RunFolder\n"
        "run = RunFolder.resume(pathlib.Path(sys.argv[1]), [])\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=rf"in use by another process \(pid {process.pid}\)"):
            RunFolder.resume(tmp_path, COMMAND)
        process.kill()
    RunFolder.resume(tmp_path, COMMAND).close()


def test_default_path():
    path = default_path("AntDir", "rl2", 7, datetime(2026, 1, 2, 3, 4, 5))
    assert path == Path("runs/AntDir-rl2-s7-20260102-030405")
    assert default_path("AntDir", "rl2", 7).name.startswith("AntDir-rl2-s7-2")


def test_git_state_of_a_checkout(tmp_path):
    def git(*arguments):
        clean = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, env=clean, check=True, capture_output=True, text=True).stdout

    source = tmp_path / "code.py"
    source.write_text("1")
    assert git_state(source) is None
    git("init", "-q")
    assert git_state(source) is None  # inside a repository that does not track it
    git("add", "code.py")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD").strip()
    assert git_state(source) == {"commit": commit, "dirty": False}
    source.write_text("2")
    assert git_state(source) == {"commit": commit, "dirty": True}


def test_git_state_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(run_folder.__file__).resolve()) is None


def test_a_row_by_hand(log):
    log.append(2, 512, {"loss": 0.1, "n": 3, "ok": True, "none": None})
    expected = b'{"update": 2, "frames": 512, "loss": 0.1, "n": 3, "ok": true, "none": null}\n'
    assert log.path.read_bytes() == expected


def test_rows_are_strict_json(log):
    log.append(
        1, 1, {"a": math.nan, "b": math.inf, "c": -np.float32("inf"), "d": np.float64("nan")}
    )
    log.append(2, 2, {"a": np.float32(0.5), "b": torch.tensor(2.0), "c": np.int64(3)})
    first, second = (
        json.loads(line, parse_constant=pytest.fail) for line in log.path.read_text().splitlines()
    )
    assert first == {"update": 1, "frames": 1, "a": None, "b": None, "c": None, "d": None}
    assert second == {"update": 2, "frames": 2, "a": 0.5, "b": 2.0, "c": 3.0}
    assert log.rows() == [first, second]


def test_a_row_cannot_rename_its_update(log):
    with pytest.raises(ValueError, match="itself"):
        log.append(1, 1, {"update": 2})


@pytest.mark.parametrize("torn", [b"", b'{"upd', b'{"update": 3, "frames": 30}', b"\0\0\0"])
def test_a_resumed_log_is_byte_identical_to_an_uninterrupted_one(tmp_path, torn):
    def train(log, first, last):
        for update in range(first, last + 1):
            log.append(update, 10 * update, {"x": math.sin(update)})

    whole, cut = MetricsLog(tmp_path / "whole.jsonl"), MetricsLog(tmp_path / "cut.jsonl")
    train(whole, 1, 8)
    train(cut, 1, 5)
    cut.path.write_bytes(cut.path.read_bytes() + torn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut.truncate_after(3)
    train(cut, 4, 8)
    assert cut.path.read_bytes() == whole.path.read_bytes()


def test_truncating_keeps_a_log_that_needs_no_cut(log):
    log.truncate_after(0)
    assert not log.path.exists()
    log.append(1, 1, {})
    before = log.path.stat().st_ino
    log.truncate_after(1)
    assert log.path.stat().st_ino == before


def test_a_crash_amid_truncation_leaves_the_old_log(log, monkeypatch):
    for update in (1, 2):
        log.append(update, update, {})
    before = log.path.read_bytes()

    def crash(*_):
        raise KeyboardInterrupt

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, crash)
            with pytest.raises(KeyboardInterrupt):
                log.truncate_after(1)
        assert log.path.read_bytes() == before
    log.truncate_after(1)
    assert [row["update"] for row in log.rows()] == [1]


def test_damage_within_a_log_is_said(log):
    log.append(1, 1, {})
    with log.path.open("ab") as file:
        file.write(b"garbage\n")
    log.append(2, 2, {})
    with pytest.warns(MetricsWarning, match="line 2 is damaged"):
        log.truncate_after(2)
    assert [row["update"] for row in log.rows()] == [1, 2]


def test_a_full_disk_is_said_once_and_training_goes_on():
    full = MetricsLog(Path("/dev/full"))
    with pytest.warns(MetricsWarning, match=r"/dev/full was LOST.*No space left"):
        full.append(1, 1, {"x": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        full.append(2, 2, {"x": 1.0})
    assert full.lost_rows == 2


def test_a_disk_that_fills_amid_a_row_leaves_no_half_row(log, file_limit):
    log.append(1, 1, {"x": 1.0})
    file_limit(log.path.stat().st_size + 7)
    with pytest.warns(MetricsWarning, match="LOST"):
        log.append(2, 2, {"x": 1.0})
    file_limit(None)
    log.append(3, 3, {"x": 1.0})
    assert [row["update"] for row in log.rows()] == [1, 3]


def test_an_atomic_write_that_fails_keeps_the_old_file(tmp_path, file_limit):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    file_limit(1000)
    with pytest.raises(OSError, match="too large"):
        write_atomically(path, b"x" * 2000)
    file_limit(None)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_sync_warns_instead_of_raising(log, monkeypatch):
    log.sync()
    log.append(1, 1, {})
    log.sync()

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.warns(MetricsWarning, match="may not be on the disk"):
        log.sync()


def test_metrics_and_perf_are_separate_files(tmp_path):
    run = RunFolder(tmp_path)
    run.metrics.append(1, 10, {"x": 1.0})
    run.perf.append(1, 10, {"frames_per_s": 2e4})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "perf.jsonl"]
