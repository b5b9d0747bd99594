"""What a run leaves on disk: its configuration, its surroundings, its metric rows, and a lock.

A run folder holds `config.json` (the resolved configuration), `environment.json` (versions, git
commit, machine, command line), `resumes.jsonl` (the same for each resume), `metrics.jsonl` (rows
that depend on configuration and seed alone), `perf.jsonl` (rows that depend on the wall clock),
`curriculum.jsonl` where there is a teacher (each update's trials, see `curriculum_log.py`) and
`lock`.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from quickstudy.envs.atomic_files import write_atomically

PACKAGES = ("quickstudy", "torch", "mujoco", "gymnasium", "numpy", "scipy", "stable-baselines3")
"""The packages whose versions can change a result."""

Value = float | int | bool | str | None | list["Value"]
"""What a metric row may hold; NumPy and torch scalars are taken as floats."""


class MetricsWarning(UserWarning):
    """A metric row could not be written, or could not be read back."""


class RunFolder:
    """The files of one run.

    `RunFolder(path)` only names them, for reading. To write a run, use `create` or `resume`: both
    hold the folder's lock until `close` (or the end of the `with` block, or of the process).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = MetricsLog(path / "metrics.jsonl")
        self.perf = MetricsLog(path / "perf.jsonl")
        self.curriculum = MetricsLog(path / "curriculum.jsonl")
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], command: list[str]) -> RunFolder:
        """Start a run in `path`, which is made if need be, and lock it.

        Args:
            path: the folder; it may exist, but not hold a run.
            config: the resolved configuration, in JSON types.
            command: the command line, program first.

        Raises:
            ValueError: if `path` holds a run, is in use, or cannot be written.
        """
        config_json = _pretty(config)
        run = cls(path)
        run._refuse_if_used()
        run._acquire_lock()
        try:
            run._refuse_if_used()
            write_atomically(path / "environment.json", _pretty(environment(command)))
            # Last, because the configuration is what makes a folder a run.
            write_atomically(path / "config.json", config_json)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def resume(cls, path: Path, command: list[str]) -> RunFolder:
        """Lock the run in `path` to go on with it, and note the resume in `resumes.jsonl`.

        Raises:
            ValueError: if `path` holds no run, or the run is in use.
        """
        run = cls(path)
        run.config()
        run._acquire_lock()
        _append_or_warn(path / "resumes.jsonl", environment(command))
        return run

    def config(self) -> dict[str, Any]:
        """The resolved configuration the run was created with.

        Raises:
            ValueError: if there is no run here, or its `config.json` is damaged.
        """
        try:
            config = json.loads((self.path / "config.json").read_bytes())
        except OSError as error:
            raise ValueError(f"No run in {self.path}: config.json: {error.strerror}.") from error
        except ValueError as error:
            raise ValueError(f"{self.path / 'config.json'} is damaged: {error}.") from error
        if not isinstance(config, dict):
            raise ValueError(f"{self.path / 'config.json'} is damaged: it holds no JSON object.")
        return config

    @property
    def command(self) -> str:
        """What the run was made by, as it is typed."""
        environment = json.loads((self.path / "environment.json").read_bytes())
        return typed(environment["command"])

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse_if_used(self) -> None:
        if (self.path / "config.json").exists():
            raise ValueError(
                f"{self.path} already holds a run. Go on with it by --resume {self.path}, "
                "or choose another --run-dir."
            )

    def _acquire_lock(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise ValueError(f"Cannot write to run folder {self.path}: {error}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise ValueError(
                f"Run folder {self.path} is in use by another process (pid {holder})."
            ) from None
        self._lock = lock
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()


class MetricsLog:
    """A JSON-lines file of rows `{"update": …, "frames": …, name: value, …}`.

    Each row is in the operating system's hands when `append` returns, so a killed process loses
    none. Not-a-number and the infinities are written as `null`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost_rows = 0
        """Rows that could not be written."""

    def append(self, update: int, frames: int, values: Mapping[str, Any]) -> None:
        """Add one row; a full disk is warned about once and does not raise.

        Raises:
            ValueError: if `values` itself has an `update` or `frames`.
        """
        if not values.keys().isdisjoint({"update", "frames"}):
            raise ValueError("A metric row sets update and frames itself.")
        row = {name: _plain(value) for name, value in values.items()}
        try:
            _append_line(self.path, {"update": update, "frames": frames, **row})
        except OSError as error:
            self._count_lost(error)

    def rows(self) -> list[dict[str, Any]]:
        """All complete rows, oldest first."""
        return [row for _, row in self._lines()]

    def truncate_after(self, update: int) -> None:
        """Drop rows of later updates than `update`, and a torn last line, atomically.

        After a resume from the checkpoint of `update`, the file grows into the same bytes as that
        of a run that was never interrupted.
        """
        if not self.path.exists():
            return
        kept = b"".join(line for line, row in self._lines() if row["update"] <= update)
        if kept != self.path.read_bytes():
            write_atomically(self.path, kept)

    def sync(self) -> None:
        """Wait until all rows are on the disk; call it before saving a checkpoint."""
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            warnings.warn(f"{self.path} may not be on the disk: {error}.", MetricsWarning, 2)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Each well-formed line with its row; others than a torn last one are warned about."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            row = _parse_row(line)
            if row is not None:
                yield line, row
            elif number < len(lines):
                message = f"{self.path}, line {number} is damaged and was left out."
                warnings.warn(message, MetricsWarning, 4)

    def _count_lost(self, error: OSError) -> None:
        self.lost_rows += 1
        if self.lost_rows == 1:
            warnings.warn(
                f"A row of {self.path} was LOST: {error}. Training goes on; this is said once, "
                "whatever more is lost.",
                MetricsWarning,
                stacklevel=3,
            )


def default_path(family: str, agent: str, seed: int, now: datetime | None = None) -> Path:
    """`runs/<family>-<agent>-s<seed>-<local time>`, the time to the second."""
    stamp = (now or datetime.now().astimezone()).strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{family}-{agent}-s{seed}-{stamp}"


def environment(command: list[str]) -> dict[str, Any]:
    """What surrounds a run: versions, source, machine, command line and time."""
    return {
        "versions": package_versions(),
        "git": git_state(Path(__file__).resolve()),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "command": command,
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def typed(command: Sequence[str]) -> str:
    """A command as people type it: `quickstudy` however it was started, no folder of a program."""
    program, *arguments = command
    name = Path(program).name
    return " ".join(["quickstudy" if name == "cli.py" else name, *arguments])


def command_line() -> str:
    """What this process was called with."""
    return typed(sys.argv)


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of `PACKAGES`; `None` for one that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def git_state(source: Path) -> dict[str, Any] | None:
    """The commit that `source` is checked out from, and whether the checkout has changes.

    `None` where git is missing or does not track `source`: a package installed below somebody's
    repository must not report that repository's commit.
    """
    if _git(source, "ls-files", "--error-unmatch", source.name) is None:
        return None
    commit = _git(source, "rev-parse", "HEAD")
    changes = _git(source, "status", "--porcelain")
    return {"commit": commit, "dirty": bool(changes)}


def _pretty(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Value:
    """A JSON value; NaN and infinities, which JSON lacks, become `None`."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    number = float(value)
    return number if math.isfinite(number) else None


def _parse_row(line: bytes) -> dict[str, Any] | None:
    """The row on a line, or `None` if the line is torn or damaged."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("update"), int) else None


def _append_line(path: Path, row: Mapping[str, Any]) -> None:
    line = (json.dumps(row, allow_nan=False) + "\n").encode()
    # Unbuffered: a buffer would write what is left of a failed row when the file is closed.
    with path.open("ab", buffering=0) as file:
        start = file.tell()
        if file.write(line) != len(line):
            # The disk filled up amid the row; the next row must not be glued to half a row.
            os.ftruncate(file.fileno(), start)
            raise OSError("no space left for a whole row")


def _append_or_warn(path: Path, row: Mapping[str, Any]) -> None:
    try:
        _append_line(path, row)
    except OSError as error:
        warnings.warn(f"{path} was not written: {error}.", MetricsWarning, 3)


def _git(source: Path, *arguments: str) -> str | None:
    """The output of a git command in the folder of `source`, or `None` if it fails."""
    # A hook's GIT_DIR would point git at another repository.
    variables = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(source.parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=variables,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
