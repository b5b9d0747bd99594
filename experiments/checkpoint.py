"""Checkpoints that survive crashes, full disks and bit rot.

A checkpoint is a folder `update-00000042/` with `state.pt` (tensors and plain types) and
`manifest.json` (format, update, best mark, package versions, SHA-256 and size of each file, and a
checksum of the manifest itself). It is written to a `.tmp-…` folder, synced, and renamed: the
rename is the only step that makes it exist, and the best mark is part of it, so a crash anywhere
leaves the previous checkpoints or the previous ones and this one. A second save of the same update
goes to `update-00000042-2/`.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.envs.atomic_files import sync_folder
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.run_folder import package_versions

FORMAT = 1
"""Raised when an older quickstudy could misread what a newer one writes."""

State = dict[str, Any]
"""Nested dicts, lists and tuples of tensors, str, int, float, bool and None."""

_STATE_FILE = "state.pt"
_MANIFEST_FILE = "manifest.json"
_SCRATCH = ".tmp-"
_NAME = re.compile(r"update-(\d{8,})(?:-(\d+))?")
_LEAVES = (Tensor, torch.nn.Parameter, str, int, float, bool, type(None))


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written, or a damaged one was passed over."""


@dataclass(frozen=True)
class _Manifest:
    format: int
    update: int
    best: bool
    files: dict[str, dict[str, Any]]
    versions: dict[str, str | None]


class Checkpoints:
    """The checkpoints of one run: the newest `keep`, and the newest that was saved as best.

    One process at a time may save (the run folder's lock sees to it); any number may load.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        """Name the folder; it is made at the first save.

        Raises:
            ValueError: if `keep` is less than 1.
        """
        require_positive("keep", keep)
        self.folder = folder
        self.keep = keep
        self.failures = 0
        """Saves that failed since the last one that succeeded."""

    def save(self, state: State, update: int, *, best: bool = False) -> Path | None:
        """Write a checkpoint, then remove those it supersedes.

        If it cannot be written (a full disk), warns, leaves the old checkpoints as they are, counts
        `failures` up and returns None, so that training goes on.

        Args:
            state: what to save.
            update: the number of updates done, at least 0; the highest is the latest.
            best: mark this checkpoint as the best so far.

        Raises:
            TypeError: if `state` holds anything that a safe load would refuse.
            ValueError: if `update` is negative.
        """
        check_state(state)
        if update < 0:
            raise ValueError(f"update must be at least 0, got {update}.")
        try:
            path = self._write(state, update, best)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            self._give_up(update, error)
            return None
        self.failures = 0
        self._rotate(path)
        return path

    def load_latest(self) -> tuple[State, Path]:
        """The newest checkpoint that is intact, tensors on the CPU.

        Warns about each newer one that had to be passed over, and why.

        Raises:
            FileNotFoundError: if there is no checkpoint.
            ValueError: if there are some and none is usable; it says why for each.
        """
        return self._load_first(self.paths(), "latest")

    def load_best(self) -> tuple[State, Path]:
        """The newest checkpoint that was saved as best, tensors on the CPU.

        If it is damaged, warns and falls back to the newest intact checkpoint.

        Raises:
            FileNotFoundError: if no checkpoint was saved as best.
            ValueError: if no checkpoint is usable.
        """
        paths = self.paths()
        # A manifest that cannot be read may have been the best one's: it counts as a candidate.
        others = [path for path in paths if _best_mark(path) is False]
        candidates = [path for path in paths if path not in others]
        if paths and not candidates:
            raise FileNotFoundError(f"No checkpoint in {self.folder} was saved as best.")
        return self._load_first(candidates + others, "best")

    def load(self, path: Path) -> State:
        """The state in one checkpoint folder, verified, tensors on the CPU.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it is damaged, unsafe or of a newer format.
        """
        if not path.is_dir():
            raise FileNotFoundError(f"No checkpoint folder {path}.")
        try:
            return _load(path)
        except ValueError as error:
            raise ValueError(f"Checkpoint {path} cannot be used: {error}.") from error

    def paths(self) -> list[Path]:
        """The checkpoint folders, newest first, damaged ones included."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=_age, reverse=True)

    def _write(self, state: State, update: int, best: bool) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        scratch = self.folder / f"{_SCRATCH}update-{update:08d}"
        scratch.mkdir()
        with (scratch / _STATE_FILE).open("xb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        _write_manifest(scratch, update, best)
        sync_folder(scratch)
        path = self._unused_path(update)
        os.rename(scratch, path)
        sync_folder(self.folder)
        return path

    def _unused_path(self, update: int) -> Path:
        name = f"update-{update:08d}"
        same = [_age(path)[1] for path in self.paths() if _age(path)[0] == update]
        return self.folder / (f"{name}-{max(same) + 1}" if same else name)

    def _sweep(self, ignore_errors: bool = False) -> None:
        """Remove what unfinished saves and removals left behind."""
        for path in self.folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(path, ignore_errors)

    def _give_up(self, update: int, error: Exception) -> None:
        self.failures += 1
        self._sweep(ignore_errors=True)
        warnings.warn(
            f"The checkpoint of update {update} was NOT saved to {self.folder}: {error}. Is the "
            "disk full? Training goes on and the previous checkpoints are intact "
            f"(failed saves in a row: {self.failures}).",
            CheckpointWarning,
            stacklevel=3,
        )

    def _rotate(self, saved: Path) -> None:
        try:
            for path in self._superseded(saved):
                # Renamed first, so that a crash amid the removal leaves no half checkpoint.
                doomed = self.folder / f"{_SCRATCH}old-{path.name}"
                os.rename(path, doomed)
                shutil.rmtree(doomed)
        except OSError as error:
            message = f"Old checkpoints in {self.folder} were not removed: {error}."
            warnings.warn(message, CheckpointWarning, stacklevel=3)

    def _superseded(self, saved: Path) -> list[Path]:
        """What rotation removes: neither unreadable checkpoints nor any later than `saved`.

        Later ones are those that a resume passed over; they must not push out good ones.
        """
        marks = {path: _best_mark(path) for path in self.paths() if _age(path) <= _age(saved)}
        readable = [path for path, mark in marks.items() if mark is not None]
        kept = readable[: self.keep] + [path for path in readable if marks[path]][:1]
        return [path for path in readable if path not in kept]

    def _load_first(self, paths: Iterable[Path], wanted: str) -> tuple[State, Path]:
        refused: list[str] = []
        for path in paths:
            try:
                state = _load(path)
            except ValueError as error:
                refused.append(f"{path.name} cannot be used: {error}")
            else:
                self._warn_refused(refused, path, wanted)
                return state, path
        if not refused:
            raise FileNotFoundError(f"No checkpoint in {self.folder}: {self._found()}.")
        raise ValueError(f"No usable checkpoint in {self.folder}: {'; '.join(refused)}.")

    def _warn_refused(self, refused: list[str], used: Path, wanted: str) -> None:
        if refused:
            warnings.warn(
                f"In {self.folder}, {'; '.join(refused)}. Using {used.name} in place of the "
                f"{wanted} checkpoint.",
                CheckpointWarning,
                stacklevel=4,
            )

    def _found(self) -> str:
        if not self.folder.is_dir():
            return "there is no such folder"
        names = sorted(path.name for path in self.folder.iterdir())
        return f"it holds {', '.join(names[:5])}" if names else "it is empty"


def moved(state: Any, device: torch.device | str) -> Any:
    """The same nested state with all tensors on a device; those that are there are not copied."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {key: moved(part, device) for key, part in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(moved(part, device) for part in state)
    return state


def check_state(state: State) -> None:
    """Refuse what a `weights_only` load would refuse later, when it is too late.

    Raises:
        TypeError: naming the place and type of the first value that is not plain.
    """
    if not isinstance(state, dict):
        raise TypeError(f"A checkpoint's state is a dict, not a {_type_name(state)}.")
    _check("state", state)


def _check(where: str, value: object) -> None:
    # Exact types: np.float64, for one, is a float to isinstance and a stranger to torch.load.
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) not in (str, int):
                raise TypeError(f"{where} has the key {key!r}; only str and int can be keys.")
            _check(f"{where}[{key!r}]", item)
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):  # type: ignore[arg-type]
            _check(f"{where}[{index}]", item)
    elif type(value) not in _LEAVES:
        raise TypeError(
            f"{where} is a {_type_name(value)}; a checkpoint holds only tensors, str, int, float, "
            "bool and None. Convert NumPy values by .item() or torch.as_tensor."
        )


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _age(path: Path) -> tuple[int, int]:
    """`(update, which save of it)`."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 1)


def _write_manifest(folder: Path, update: int, best: bool) -> None:
    state_file = folder / _STATE_FILE
    files = {_STATE_FILE: {"sha256": _sha256(state_file), "size": state_file.stat().st_size}}
    record = asdict(_Manifest(FORMAT, update, best, files, package_versions()))
    with (folder / _MANIFEST_FILE).open("x", encoding="utf-8") as file:
        json.dump({**record, "checksum": _checksum(record)}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _load(path: Path) -> State:
    """The verified state; raises `ValueError` with the bare reason."""
    try:
        for name, expected in _read_manifest(path).files.items():
            _verify(path / name, expected["size"], expected["sha256"])
        return _load_state(path / _STATE_FILE)
    except OSError as error:
        reason = f"{Path(error.filename).name if error.filename else 'a file'}: {error.strerror}"
        raise ValueError(reason) from error


def _read_manifest(path: Path) -> _Manifest:
    try:
        record = json.loads((path / _MANIFEST_FILE).read_bytes())
        version = record["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{_MANIFEST_FILE} is damaged") from error
    if isinstance(version, int) and version > FORMAT:
        raise ValueError(
            f"it has format {version} and this quickstudy reads up to {FORMAT}: update quickstudy"
        )
    if record.pop("checksum", None) != _checksum(record):
        raise ValueError(f"{_MANIFEST_FILE} does not match its checksum")
    return _Manifest(**record)


def _verify(path: Path, size: int, sha256: str) -> None:
    found = path.stat().st_size
    if found != size:
        raise ValueError(f"{path.name} has {found} bytes instead of {size}")
    if _sha256(path) != sha256:
        raise ValueError(f"{path.name} does not match its SHA-256")


def _load_state(path: Path) -> State:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a hostile archive can make torch raise anything
        raise ValueError(
            f"{path.name} is refused ({type(error).__name__}): it is no archive of tensors and "
            "plain types"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path.name} holds a {_type_name(state)} instead of a dict")
    return state


def _best_mark(path: Path) -> bool | None:
    """Whether a checkpoint was saved as best; None if its manifest cannot be read."""
    try:
        return _read_manifest(path).best
    except (OSError, ValueError):
        return None
