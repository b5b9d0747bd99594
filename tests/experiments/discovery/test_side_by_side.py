"""Discoveries in processes of their own: the same bits, and none is lost by a stop or a failure."""

import os
import signal
import sys
import threading
import time

import pytest
import torch
from rich.console import Console

from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.discovery.config import DiscoverConfig
from quickstudy.experiments.discovery.side_by_side import bring_to_their_ends
from quickstudy.experiments.run_folder import RunFolder

SHORT = {"min_updates": "2", "max_updates": "5"}


def config(seed, generations=8):
    return DiscoverConfig(
        preset="noisy-quadratic",
        lives=SHORT,
        estimator_options={"pairs": "4"},
        generations=generations,
        centre_lives=2,
        final_lives=3,
        seed=seed,
        checkpoint_interval=3,
    )


def runs(folder, generations=8):
    return {folder / f"s{seed}": config(seed, generations) for seed in range(3)}


def final(path):
    return Checkpoints(path / "checkpoints").load_latest()[0]


def test_side_by_side_they_find_what_they_find_one_by_one(tmp_path):
    shown = Console(record=True)
    bring_to_their_ends(runs(tmp_path / "one"), 1, Console(quiet=True))
    bring_to_their_ends(runs(tmp_path / "two"), 2, shown)
    for name in ("s0", "s1", "s2"):
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        assert (two / "metrics.jsonl").read_bytes() == (one / "metrics.jsonl").read_bytes()
        assert torch.equal(final(two)["rule"], final(one)["rule"])
        assert (two / "evaluation.json").read_bytes() == (one / "evaluation.json").read_bytes()
    text = shown.export_text()
    assert all(f"({number} of 3)" in text for number in (1, 2, 3))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_saves_all_that_run_and_begins_no_other(number, tmp_path):
    """100 000 generations would take minutes; the signal comes once two discoveries are at it."""
    endless = runs(tmp_path, generations=100_000)

    def stop_when_both_run():
        while not all((tmp_path / name / "metrics.jsonl").exists() for name in ("s0", "s1")):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop_when_both_run, daemon=True).start()
    with pytest.raises(SystemExit) as stopped:
        bring_to_their_ends(endless, 2, Console(quiet=True))
    assert stopped.value.code == 128 + number
    for name in ("s0", "s1"):
        rows = (tmp_path / name / "metrics.jsonl").read_text().count("\n")
        assert final(tmp_path / name)["generation"] == rows > 0
    assert not (tmp_path / "s2").exists()


def test_a_failure_is_said_and_those_beside_it_are_saved(tmp_path):
    """The first folder is in use; the second discovery would take minutes."""
    two = dict(list(runs(tmp_path, generations=100_000).items())[:2])
    with (
        RunFolder.create(tmp_path / "s0", two[tmp_path / "s0"].to_dict(), sys.argv),
        pytest.raises(ChildProcessError, match=r"s0: ValueError: .*in use"),
    ):
        bring_to_their_ends(two, 2, Console(quiet=True))
    assert not (tmp_path / "s1" / "evaluation.json").exists()
