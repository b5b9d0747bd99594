"""Many training runs, each an ordinary run folder made by a process of its own.

What is finished is not repeated, what was cut off goes on, so a study can be stopped and started
again, or grow.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console

from quickstudy.agents.learner import LearnerConfig
from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.envs.errors import unknown
from quickstudy.experiments.run_folder import RunFolder

TRAIN_OPTIONS = (
    *("worlds", "width", "head", "switch-episode", "checkpoint-interval", "eval-interval"),
    *(f"ppo.{f.name}".replace("_", "-") for f in fields(PPOConfig)),
    *(f"learner.{f.name}".replace("_", "-") for f in fields(LearnerConfig)),
)
"""Options of `quickstudy train` that studies pass on: one value each, the same in every run."""


def require_train_options(options: Mapping[str, str]) -> None:
    """Raise `ValueError` for one that studies do not pass on."""
    for name in options:
        if name not in TRAIN_OPTIONS:
            raise unknown("training option", name, TRAIN_OPTIONS)


def told_apart(options: Mapping[str, str]) -> str:
    """What to add to the names of runs with these options."""
    return "".join(f"-{name}-{value}" for name, value in sorted(options.items()))


@dataclass(frozen=True)
class TrainingRun:
    """One training run, by the command that makes it."""

    path: Path
    command: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, family: str, options: Mapping[str, object]) -> "TrainingRun":
        """`quickstudy train FAMILY` with these options, without a video."""
        options = {**options, "run-dir": path}
        flags = [str(part) for key, value in options.items() for part in (f"--{key}", value)]
        return cls(path, ("train", family, "--no-video", *flags))

    @property
    def finished(self) -> bool:
        return (self.path / "evaluation.json").exists()

    @property
    def arguments(self) -> tuple[str, ...]:
        """What to call `quickstudy` with: from the start, or from where the run was cut off."""
        begun = (self.path / "config.json").exists()
        return ("train", "--resume", str(self.path)) if begun else self.command

    @property
    def seconds(self) -> float:
        """Wall time of the training so far."""
        rows = RunFolder(self.path).perf.rows()
        return float(sum(row["perf/rollout_seconds"] + row["perf/update_seconds"] for row in rows))


def train_all(runs: Sequence[TrainingRun], jobs: int, console: Console) -> None:
    """Train what is missing, `jobs` at a time, each on its share of the processors.

    Raises:
        RuntimeError: if a run fails; the others' results are kept.
    """
    missing = [run for run in runs if not run.finished]
    console.print(f"{len(runs) - len(missing)} of {len(runs)} runs are there already.")
    queue: SimpleQueue[set[int]] = SimpleQueue()
    for share in shares(jobs):
        queue.put(share)

    def train_one(run: TrainingRun) -> None:
        share = queue.get()
        try:
            train(run, share)
        finally:
            queue.put(share)
        console.print(f"{run.path.name}: {run.seconds:.0f} s", soft_wrap=True)

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(train_one, run) for run in missing]:
            done.result()


def train(run: TrainingRun, processors: set[int]) -> None:
    """Train in a process of its own, on these processors.

    Raises:
        RuntimeError: if it fails, with the end of what it printed.
    """
    command = [sys.executable, "-m", "quickstudy.experiments.cli", *run.arguments]
    pin = lambda: os.sched_setaffinity(0, processors)  # noqa: E731  # runs in the child
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=pin
    )
    if done.returncode != 0 or not run.finished:
        raise RuntimeError(f"quickstudy {' '.join(run.arguments)} failed:\n{done.stdout[-2000:]}")


def shares(jobs: int) -> list[set[int]]:
    """The processors dealt out to the jobs; with more jobs than processors, some share one."""
    processors = sorted(os.sched_getaffinity(0))
    if jobs >= len(processors):
        return [{processors[job % len(processors)]} for job in range(jobs)]
    return [set(processors[job::jobs]) for job in range(jobs)]
