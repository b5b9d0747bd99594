"""`quickstudy compare`: the same training for several agents, families and seeds, in one table.

A comparison can be stopped and started again, or grow by an agent, a family or a seed.

Shape legend: S seeds, N tasks, K episodes.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.agents.objectives.registry import make_objective, portable_name
from quickstudy.agents.registry import agent_config
from quickstudy.curricula.teachers import TEACHERS
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.references.stored import stored_references
from quickstudy.envs.registry import family_entry
from quickstudy.experiments.config import resolve_device
from quickstudy.experiments.evaluate_runs import evaluate_runs, load_run
from quickstudy.experiments.output_files import origin
from quickstudy.experiments.report import EvalConfig, Report
from quickstudy.experiments.scores import SIGNALS, Signal
from quickstudy.experiments.statistics import Interval, stratified_bootstrap
from quickstudy.experiments.training_runs import (
    TrainingRun,
    require_train_options,
    told_apart,
    train_all,
)


@dataclass(frozen=True)
class Arena:
    """A family and the trial it is played in; written `Family` or `Family/60x3` (H × K)."""

    family: str
    episode_length: int
    episodes_per_trial: int

    @classmethod
    def parse(cls, text: str) -> "Arena":
        """Raises `ValueError` for an unknown family or a trial that is not `HxK`."""
        family, _, trial = text.partition("/")
        entry = family_entry(family)
        if not trial:
            return cls(family, entry.episode_length, entry.episodes_per_trial)
        sizes = trial.split("x")
        if len(sizes) != 2 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ValueError(f"{text!r}: write a trial as {family}/HxK, such as {family}/60x3.")
        return cls(family, int(sizes[0]), int(sizes[1]))

    def require_frames(self, frames: int) -> None:
        """Raise `ValueError` if they are less than one trial."""
        if frames < self.episode_length * self.episodes_per_trial:
            raise ValueError(f"frames {frames} is less than one trial of {self}.")

    def options(self, device: str) -> dict[str, object]:
        """What `quickstudy train` is told of it, on a device that may be `auto`."""
        return {
            "episode-length": self.episode_length,
            "episodes-per-trial": self.episodes_per_trial,
            "device": resolve_device(device, self.family),
        }

    def __str__(self) -> str:
        return f"{self.family}/{self.episode_length}x{self.episodes_per_trial}"


@dataclass(frozen=True)
class Contender:
    """An agent, how it learns and who teaches it: `agent[@objective][+teacher[:signal]]`."""

    agent: str
    teacher: str = "none"
    signal: Signal | Literal["auto"] = "auto"
    objective: str = "ppo"

    @classmethod
    def parse(cls, text: str) -> "Contender":
        """Raises `ValueError` for an unknown agent, objective, teacher or signal."""
        learner, plus, taught = text.partition("+")
        agent, _, objective = learner.partition("@")
        agent_config(agent)
        objective = objective or "ppo"
        make_objective(objective, PPOConfig())
        objective = portable_name(objective)
        return cls(agent, *_lessons(taught), objective) if plus else cls(agent, objective=objective)

    def __str__(self) -> str:
        learner = self.agent if self.objective == "ppo" else f"{self.agent}@{self.objective}"
        return learner if self.teacher == "none" else f"{learner}+{self.teacher}:{self.signal}"


def _lessons(text: str) -> tuple[str, Signal]:
    """A teacher and what it is told; raises `ValueError` for an unknown one."""
    teacher, _, signal = text.partition(":")
    if teacher not in TEACHERS:
        raise unknown("teacher", teacher, TEACHERS)
    if not signal:
        return teacher, TEACHERS[teacher].told
    for known in SIGNALS:
        if known == signal:
            return teacher, known
    raise unknown("signal", signal, SIGNALS)


@dataclass(frozen=True)
class CompareConfig:
    """What is compared."""

    families: tuple[str, ...]
    """Families, each as `Family` or `Family/HxK`."""
    agents: tuple[str, ...]
    """Agents, each as `agent[@objective][+teacher[:signal]]`."""
    seeds: int = 3
    """Training seeds 0 … seeds − 1 of each."""
    frames: int = 1_000_000
    """Training frames of each run."""
    train_options: dict[str, str] = field(default_factory=dict)
    """Options of `quickstudy train` for every run, without their dashes: NAME VALUE …"""
    tasks: int = 128
    """Test tasks each trained agent is scored on."""
    folder: Path = Path("runs/compare")
    """Where the runs are kept."""
    jobs: int = 1
    """Runs at a time, each on its share of the processors."""
    device: str = "cpu"
    """Where runs and evaluations are: auto, cpu, cuda or warp-cpu."""


@dataclass(frozen=True)
class Row:
    """One agent in one arena, over all seeds."""

    arena: str
    agent: str
    parameters: int
    """Trained numbers of the whole agent."""
    score: Interval
    """Interquartile mean of the last episode's return over seeds and tasks, with its interval."""
    first: Interval
    """The same of the first episode."""
    mean_last: Interval
    """Mean of the last episode's return, with its interval."""
    trial: Interval
    """Mean return of a whole trial, with its interval."""
    mean_by_seed: list[float]
    """Mean return of the last episode for each seed."""
    training_seconds: float
    """Wall time of a run, mean over seeds (beside as many others as there were jobs)."""


def compare(config: CompareConfig, console: Console) -> list[Row]:
    """Train what is missing, evaluate all, print a table per arena.

    Raises:
        ValueError: for an unknown family, agent or trial, or a count below 1; before any training.
        RuntimeError: if a training run fails; the others' results are kept.
    """
    arenas = [Arena.parse(text) for text in config.families]
    _check(config, arenas)
    cells = list(itertools.product(arenas, config.agents, range(config.seeds)))
    train_all([training_run(config, *cell) for cell in cells], config.jobs, console)
    rows = [row(config, arena, agent) for arena in arenas for agent in config.agents]
    for arena in arenas:
        console.print(table(str(arena), config, [r for r in rows if r.arena == str(arena)]))
    return rows


def row(config: CompareConfig, arena: Arena, agent: str) -> Row:
    """The result of one agent in one arena, from its finished runs."""
    runs = [training_run(config, arena, agent, seed) for seed in range(config.seeds)]
    return row_of(arena, agent, runs, config.tasks, config.device)


def row_of(arena: Arena, agent: str, runs: Sequence[TrainingRun], tasks: int, device: str) -> Row:
    """The result of finished runs that differ in their seed alone, on so many test tasks."""
    paths = [run.path for run in runs]
    device = resolve_device(device, arena.family)
    report = evaluate_runs(paths, EvalConfig(tasks=tasks, device=device))
    last_SN = report.returns_SNK[:, :, -1]
    return Row(
        str(arena),
        agent,
        sum(p.numel() for p in load_run(paths[0])[0].parameters()),
        _interval(report, -1, "iqm"),
        _interval(report, 0, "iqm"),
        _interval(report, -1, "mean"),
        report.trial,
        [float(mean) for mean in last_SN.mean(axis=1)],
        fmean(run.seconds for run in runs),
    )


def table(title: str, config: CompareConfig, rows: Sequence[Row]) -> Table:
    """One line per agent, the best first."""
    shown = Table(
        title=f"{title}: {config.frames:,} frames, {config.seeds} seeds, IQM [95 % interval]",
        title_justify="left",
    )
    shown.add_column("agent")
    headings = ("first episode", "last episode", "mean by seed", "trial, mean")
    for heading in (*headings, "parameters", "seconds"):
        shown.add_column(heading, justify="right")
    for r in sorted(rows, key=lambda r: -r.score.point):
        means = " ".join(f"{mean:.2f}" for mean in r.mean_by_seed)
        sizes = (f"{r.parameters:,}", f"{r.training_seconds:.0f}")
        shown.add_row(r.agent, _shown(r.first), _shown(r.score), means, _shown(r.trial), *sizes)
    arena = Arena.parse(title)
    references = stored_references(arena.family, arena.episode_length, arena.episodes_per_trial)
    known = ", ".join(f"{r.name} {r.trial_return:.2f}" for r in references)
    shown.caption = f"trials of references: {known}" if known else None
    return shown


def record(config: CompareConfig, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, as plain types for JSON."""
    settings = {name: value for name, value in asdict(config).items() if name != "folder"}
    return origin() | {"config": settings, "rows": [asdict(r) for r in rows]}


def training_run(config: CompareConfig, arena: Arena, agent: str, seed: int) -> TrainingRun:
    """The run of one agent in one arena with one seed."""
    contender = Contender.parse(agent)
    who = re.sub(r"[+:@/]+", "-", str(contender))
    changed = told_apart(config.train_options)
    name = f"{str(arena).replace('/', '-')}-{who}-{config.frames}{changed}-s{seed}"
    options = {
        **config.train_options,
        "agent": contender.agent,
        "teacher": contender.teacher,
        "signal": contender.signal,
        "objective": contender.objective,
        "frames": config.frames,
        "seed": seed,
        **arena.options(config.device),
    }
    return TrainingRun.of(config.folder / name, arena.family, options)


def _check(config: CompareConfig, arenas: Sequence[Arena]) -> None:
    if not arenas or not config.agents:
        raise ValueError("Compare what? Give at least one family and one agent.")
    for agent in config.agents:
        Contender.parse(agent)
    require_train_options(config.train_options)
    for name in ("seeds", "frames", "tasks", "jobs"):
        require_positive(name, getattr(config, name))
    for arena in arenas:
        arena.require_frames(config.frames)


def _interval(report: Report, episode: int, statistic: str) -> Interval:
    returns_SN1 = report.returns_SNK[:, :, [episode]]
    return stratified_bootstrap(returns_SN1, statistic, seed=report.config.seed)


def _shown(interval: Interval) -> str:
    return f"{interval.point:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
