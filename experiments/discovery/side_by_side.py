"""Whole discoveries side by side: a process each costs less than sharing every generation."""

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.console import Console

from quickstudy.envs.processes import begin_process
from quickstudy.experiments.discovery.config import DiscoverConfig
from quickstudy.experiments.discovery.discover import discover, resume
from quickstudy.experiments.signals import StopRequest

_LOOK_AROUND = 0.5
"""Seconds after which a stop signal is noticed at the latest."""


def bring_to_their_ends(
    runs: Mapping[Path, DiscoverConfig], processes: int, console: Console
) -> None:
    """Begin each discovery in its folder, or go on with it; if one at a time, then here.

    Raises:
        ValueError: for a folder that is in use, if one at a time.
        ChildProcessError: if a process failed; those beside it are saved.
        SystemExit: after a stop signal, once all that ran are saved.
    """
    if processes > 1:
        _side_by_side(runs, processes, console)
        return
    for number, (path, config) in enumerate(runs.items(), start=1):
        console.print(f"{path.name} ({number} of {len(runs)})", markup=False)
        _bring_to_its_end(path, config, console)


def _bring_to_its_end(path: Path, config: DiscoverConfig, console: Console) -> None:
    if (path / "config.json").exists():
        resume(path, console, config.processes)
    else:
        discover(config, path, console)


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    said: Connection
    """Where it says what went wrong."""

    def failure(self) -> str:
        """What went wrong, once it has ended."""
        try:
            return str(self.said.recv())
        except EOFError:
            return f"its process ended with {self.process.exitcode}"


def _side_by_side(runs: Mapping[Path, DiscoverConfig], processes: int, console: Console) -> None:
    waiting, running, failed = deque(runs.items()), dict[Path, _Child](), list[str]()
    stopping = False
    with StopRequest() as stop:
        while running or (waiting and not stopping):
            while waiting and not stopping and len(running) < processes:
                path, config = waiting.popleft()
                running[path] = _started(path, config)
            wait([child.process.sentinel for child in running.values()], _LOOK_AROUND)
            for path in [path for path, child in running.items() if not child.process.is_alive()]:
                child = running.pop(path)
                if child.process.exitcode == 0:
                    done = len(runs) - len(waiting) - len(running) - len(failed)
                    console.print(f"{path.name} is done ({done} of {len(runs)})", markup=False)
                elif not stopping:
                    failed.append(f"{path.name}: {child.failure()}")
            if not stopping and (failed or stop.received is not None):
                stopping = True
                for child in running.values():
                    child.process.terminate()  # which saves it
    if failed:
        raise ChildProcessError(f"{' '.join(failed)} (What others have done is kept.)")
    if stop.received is not None:
        console.print(f"Stopped by {stop.received.name}. Go on by the same command.")
        raise SystemExit(stop.exit_code)


def _started(path: Path, config: DiscoverConfig) -> _Child:
    # Not forked from here: threads run. The server imports what all need.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    said, say = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(path, config, say))
    process.start()
    say.close()
    return _Child(process, said)


def _work(path: Path, config: DiscoverConfig, say: Connection) -> None:
    """In a process of its own, and a session: the driver passes on what the terminal says."""
    os.setsid()
    begin_process()
    try:
        _bring_to_its_end(path, config, Console(quiet=True))
    except Exception as error:
        say.send(f"{type(error).__name__}: {error}")
        raise
