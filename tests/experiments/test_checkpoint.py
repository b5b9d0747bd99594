"""Checkpoints: nothing that crashes, fills up, rots or attacks may cost a run its last good one."""

import errno
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.experiments import checkpoint
from quickstudy.experiments.checkpoint import Checkpoints, CheckpointWarning, check_state


class Crash(BaseException):
    """Stands for kill -9: nothing in the package may catch it or clean up after it."""


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def make_state(update):
    return {"update": update, "weights": torch.full((64,), float(update))}


def fill(store, updates, best=()):
    for update in updates:
        store.save(make_state(update), update, best=update in best)


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def silently(load):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load()


def flip_byte(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


# What is saved comes back


def test_a_real_training_state_comes_back_bit_for_bit(store):
    model = torch.nn.GRU(3, 4)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 1, 3))[0].sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "torch_rng": torch.Generator().manual_seed(3).get_state(),
        "numpy_rng": np.random.Generator(np.random.PCG64(3)).bit_generator.state,
        "plain": {"list": [1, 2.5, True, None, "text", (1, [2])], 7: 0.1 + 0.2},
    }
    path = store.save(state, 42, best=True)
    assert path == store.folder / "update-00000042"
    loaded, used = silently(store.load_latest)
    assert used == path
    assert loaded.keys() == state.keys()
    assert (loaded["numpy_rng"], loaded["plain"]) == (state["numpy_rng"], state["plain"])
    assert torch.equal(loaded["torch_rng"], state["torch_rng"])
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded["model"][name], tensor)
    for index, moments in optimizer.state_dict()["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(loaded["optimizer"]["state"][index][name], tensor)
    optimizer.load_state_dict(loaded["optimizer"])
    assert silently(store.load_best)[1] == path
    assert store.load(path)["plain"] == state["plain"]


def test_the_manifest_names_format_update_files_and_versions(store):
    path = store.save(make_state(3), 3)
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["format"], manifest["update"], manifest["best"]) == (1, 3, False)
    assert manifest["files"]["state.pt"]["size"] == (path / "state.pt").stat().st_size
    assert len(manifest["files"]["state.pt"]["sha256"]) == 64
    assert manifest["versions"]["torch"] == torch.__version__
    assert names(store) == ["update-00000003"]


def test_updates_are_ordered_as_numbers(store):
    fill(store, [99_999_999, 100_000_000])
    assert store.load_latest()[0]["update"] == 100_000_000


# What must not be saved


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float64(1.0), r"state\['a'\]\[1\] is a numpy.float64"),
        (np.zeros(2), r"state\['a'\]\[1\] is a numpy.ndarray"),
        (np.int64(1), "numpy.int64"),
        ({"x": {1, 2}}, r"state\['a'\]\[1\]\['x'\] is a set"),
        (Path("x"), "Path"),
        (torch.float32, "torch.dtype"),
        ({(1, 2): 3}, r"has the key \(1, 2\)"),
        ({np.str_("k"): 3}, "has the key"),
        (print, "builtin_function"),
    ],
)
def test_what_a_safe_load_would_refuse_is_refused_before_writing(store, value, message):
    with pytest.raises(TypeError, match=message):
        store.save({"a": [0, value]}, 1)
    assert not store.folder.exists()


def test_the_state_is_a_dict_and_updates_count_from_zero(store):
    with pytest.raises(TypeError, match="is a dict, not a list"):
        store.save([1], 1)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        store.save({}, -1)
    check_state(OrderedDict(a=torch.nn.Parameter(torch.zeros(1))))


def test_keep_is_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="keep must be an integer of at least 1, got 0"):
        Checkpoints(tmp_path, keep=0)


# Rotation


def test_rotation_keeps_the_newest_and_the_best(store):
    fill(store, range(1, 9), best=(1, 2))
    assert names(store) == [f"update-0000000{n}" for n in (2, 6, 7, 8)]
    assert store.load_best()[0]["update"] == 2
    assert store.load_latest()[0]["update"] == 8
    fill(store, [9], best=[9])
    assert names(store) == [f"update-0000000{n}" for n in (7, 8, 9)]
    assert store.load_best()[0]["update"] == 9


def test_the_same_update_can_be_saved_again(store):
    store.save({"x": 1}, 5, best=True)
    path = store.save({"x": 2}, 5)
    assert path.name == "update-00000005-2"
    assert store.load_latest() == ({"x": 2}, path)
    assert store.load_best()[0] == {"x": 1}
    fill(store, [6, 7, 8])
    assert names(store) == [f"update-0000000{n}" for n in (5, 6, 7, 8)]


def test_a_damaged_later_checkpoint_does_not_push_out_good_ones(tmp_path):
    store = Checkpoints(tmp_path, keep=1)
    fill(store, [50])
    flip_byte(tmp_path / "update-00000050" / "state.pt", 100)
    fill(store, [45])
    with pytest.warns(CheckpointWarning, match="update-00000050 cannot be used"):
        assert store.load_latest()[0]["update"] == 45


def test_unreadable_checkpoints_are_neither_counted_nor_deleted(store):
    fill(store, [1, 2, 3])
    (store.folder / "update-00000003" / "manifest.json").write_text("{")
    fill(store, [4, 5, 6])
    assert names(store) == [f"update-0000000{n}" for n in (3, 4, 5, 6)]


def test_other_files_are_left_alone(store):
    store.folder.mkdir()
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "update-old").mkdir()
    fill(store, range(6))
    assert {"notes.txt", "update-old"} < set(names(store))


def test_a_removal_that_fails_is_said_and_the_save_counts(store, monkeypatch):
    fill(store, [1, 2, 3])

    def fail(*_):
        raise OSError("busy")

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.warns(CheckpointWarning, match="were not removed: busy"):
        assert store.save(make_state(4), 4) is not None
    assert store.failures == 0


# Crashes


def crash_at(monkeypatch, owner, name, nth, after):
    """Crash at the nth call, before or after it has done its work."""
    original, calls = getattr(owner, name), [0]

    def replacement(*args, **kwargs):
        calls[0] += 1
        if calls[0] == nth and not after:
            raise Crash
        result = original(*args, **kwargs)
        if calls[0] == nth:
            raise Crash
        return result

    monkeypatch.setattr(owner, name, replacement)


STEPS = [
    *[(os, "fsync", nth) for nth in (1, 2, 3, 4)],
    *[(os, "rename", nth) for nth in (1, 2)],
    (torch, "save", 1),
    (json, "dump", 1),
    (shutil, "rmtree", 1),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize(("owner", "name", "nth"), STEPS, ids=lambda x: getattr(x, "__name__", x))
def test_a_crash_at_any_step_leaves_latest_and_best_readable(
    store, monkeypatch, owner, name, nth, best, after
):
    fill(store, [1, 2, 3], best=[1])
    with monkeypatch.context() as patch:
        crash_at(patch, owner, name, nth, after)
        if (name, nth) in {("rename", 2), ("rmtree", 1)}:
            store.keep = 1  # the steps of rotation are reached only if there is something to remove
        with pytest.raises(Crash):
            store.save(make_state(4), 4, best=best)

    restarted = Checkpoints(store.folder)
    latest = silently(restarted.load_latest)[0]["update"]
    assert latest in (3, 4)
    assert silently(restarted.load_best)[0]["update"] == (4 if best and latest == 4 else 1)
    fill(restarted, [5])
    assert silently(restarted.load_latest)[0]["update"] == 5
    assert not [name for name in names(restarted) if not name.startswith("update-")]


def test_kill_9_at_random_moments(tmp_path):
    saver = (
        "import itertools, pathlib, sys, torch\n"
        "from quickstudy.experiments.checkpoint import Checkpoints\n"
        "store = Checkpoints(pathlib.Path(sys.argv[1]))\n"
        "first = int(sys.argv[2])\n"
        "for update in itertools.count(first):\n"
        "    state = {'update': update, 'weights': torch.full((50_000,), float(update))}\n"
        "    store.save(state, update, best=update % 3 == 0)\n"
        "    if update == first: print('saving', flush=True)\n"
    )
    store, first = Checkpoints(tmp_path), 0
    for delay in (0.11, 0.173, 0.257):
        command = [sys.executable, "-c", saver, str(tmp_path), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"saving\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        state, _ = silently(store.load_latest)
        assert state["update"] >= first
        assert torch.all(state["weights"] == state["update"])
        assert silently(store.load_best)[0]["update"] % 3 == 0
        first = state["update"] + 1


# Full disks


def assert_survives(store, message):
    before = names(store)
    for failures in (1, 2):
        with pytest.warns(CheckpointWarning, match=message) as caught:
            assert store.save({"x": torch.zeros(1_000_000)}, 4, best=True) is None
        assert "NOT saved" in str(caught[0].message)
        assert caught[0].filename == __file__
        assert store.failures == failures
        assert names(store) == before
    assert silently(store.load_latest)[0]["update"] == 3
    assert silently(store.load_best)[0]["update"] == 2


def test_a_full_disk_costs_only_the_new_checkpoint(store):
    fill(store, [1, 2, 3], best=[2])
    store.keep = 1
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, old[1]))
    try:
        assert_survives(store, r"update 4 was NOT saved.*Is the disk full\?.*in a row: \d")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    fill(store, [4])
    assert store.failures == 0
    assert store.load_latest()[0]["update"] == 4


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (os, "rename"), (json, "dump")])
def test_a_disk_that_fills_at_any_step_costs_only_the_new_checkpoint(
    store, monkeypatch, owner, name
):
    fill(store, [1, 2, 3], best=[2])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(owner, name, full)
    assert_survives(store, "No space left on device")


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    store = Checkpoints(tmp_path / "file" / "checkpoints")
    with pytest.warns(CheckpointWarning, match="Not a directory"):
        assert store.save({}, 1) is None


# Damage


def truncate(path):
    data = (path / "state.pt").read_bytes()
    (path / "state.pt").write_bytes(data[: len(data) // 2])


def newer_format(path):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({"format": 2, "layout": manifest}))


DAMAGE = {
    "truncated": (truncate, r"state\.pt has \d+ bytes instead of \d+"),
    "flipped": (lambda p: flip_byte(p / "state.pt", 700), r"state\.pt does not match its SHA-256"),
    "no state": (lambda p: (p / "state.pt").unlink(), r"state\.pt: No such file"),
    "no manifest": (lambda p: (p / "manifest.json").unlink(), r"manifest\.json: No such file"),
    "torn manifest": (
        lambda p: (p / "manifest.json").write_text('{"format": 1, '),
        r"manifest\.json is damaged",
    ),
    "binary manifest": (
        lambda p: (p / "manifest.json").write_bytes(b"\xff\0"),
        r"manifest\.json is damaged",
    ),
    "list manifest": (lambda p: (p / "manifest.json").write_text("[]"), "is damaged"),
    "empty manifest": (lambda p: (p / "manifest.json").write_text("{}"), "is damaged"),
    "newer": (newer_format, "has format 2 and this quickstudy reads up to 1: update quickstudy"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_said_and_the_last_good_checkpoint_is_used(store, damage, reason):
    fill(store, [1, 2, 3], best=[3])
    damage(store.folder / "update-00000003")
    said = f"update-00000003 cannot be used: .*{reason}.*Using update-00000002 in place of the "
    with pytest.warns(CheckpointWarning, match=f"{said}latest checkpoint") as caught:
        state, path = store.load_latest()
    assert (state["update"], path.name) == (2, "update-00000002")
    assert caught[0].filename == __file__
    with pytest.warns(CheckpointWarning, match=f"{said}best checkpoint"):
        assert store.load_best()[0]["update"] == 2
    with pytest.raises(ValueError, match=reason):
        store.load(store.folder / "update-00000003")


def test_a_flipped_byte_of_a_manifest_is_harmless_or_found(store):
    path = store.save(make_state(1), 1)
    content = json.loads((path / "manifest.json").read_text())
    for position in range(0, (path / "manifest.json").stat().st_size, 3):
        flip_byte(path / "manifest.json", position)
        try:
            store.load(path)
        except ValueError:
            pass
        else:  # white space
            assert json.loads((path / "manifest.json").read_text()) == content
        flip_byte(path / "manifest.json", position)


def test_a_flipped_byte_of_a_state_is_found(store):
    path = store.save({"x": torch.zeros(8)}, 1)
    for position in range(0, (path / "state.pt").stat().st_size, 13):
        flip_byte(path / "state.pt", position)
        with pytest.raises(ValueError, match="SHA-256"):
            store.load(path)
        flip_byte(path / "state.pt", position)


def test_when_nothing_is_usable_each_reason_is_given(store):
    fill(store, [1, 2])
    truncate(store.folder / "update-00000001")
    newer_format(store.folder / "update-00000002")
    with pytest.raises(ValueError, match=r"No usable .*00002 .*format 2.*; .*00001 .*bytes"):
        store.load_latest()


def test_when_there_is_nothing_what_was_found_is_told(store):
    for load in (store.load_latest, store.load_best):
        with pytest.raises(FileNotFoundError, match="there is no such folder"):
            load()
    (store.folder / ".tmp-update-00000001").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"it holds \.tmp-update-00000001"):
        store.load_latest()
    with pytest.raises(FileNotFoundError, match="No checkpoint folder"):
        store.load(store.folder / "update-00000009")
    fill(store, [1])
    with pytest.raises(FileNotFoundError, match="was saved as best"):
        store.load_best()


# Attacks


class Payload:
    """Unpickling this writes the canary file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


def plain_pickle(state, file):
    pickle.dump(state, file, protocol=2)


def unsafe_torch_load(file):
    torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    ("write", "unsafe_load"), [(torch.save, unsafe_torch_load), (plain_pickle, pickle.load)]
)
def test_a_malicious_checkpoint_is_refused_and_not_executed(
    store, tmp_path, monkeypatch, write, unsafe_load
):
    canary = tmp_path / "canary"
    fill(store, [1])
    with monkeypatch.context() as patch:
        # An attacker writes a flawless manifest around the payload.
        patch.setattr(checkpoint, "check_state", lambda state: None)
        patch.setattr(torch, "save", write)
        evil = store.save({"weights": Payload(canary)}, 2)
    with pytest.raises(ValueError, match=r"state\.pt is refused"):
        store.load(evil)
    with pytest.warns(CheckpointWarning, match=r"state\.pt is refused"):
        assert store.load_latest()[0]["update"] == 1
    assert not canary.exists()
    with (evil / "state.pt").open("rb") as file:
        unsafe_load(file)
    assert canary.exists(), "the payload was not live: this test would prove nothing"


def test_a_state_that_is_no_dict_is_refused(store, monkeypatch):
    monkeypatch.setattr(checkpoint, "check_state", lambda state: None)
    path = store.save([1, 2], 1)
    with pytest.raises(ValueError, match="holds a list instead of a dict"):
        store.load(path)
