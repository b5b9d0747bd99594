"""`quickstudy compare`: the same training for several agents, families and seeds, in one table.

A comparison can be stopped and started again, or grow by an agent, a family or a seed.

Shape legend: S seeds, N tasks, K episodes.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from quickstudy.envs.references.stored import stored_references
from quickstudy.experiments.compare_config import Arena, CompareConfig, Contender
from quickstudy.experiments.config import resolve_device
from quickstudy.experiments.evaluate_runs import evaluate_runs, load_run
from quickstudy.experiments.output_files import origin
from quickstudy.experiments.report import EvalConfig, Report
from quickstudy.experiments.statistics import Interval, stratified_bootstrap
from quickstudy.experiments.training_runs import (
    TrainingRun,
    told_apart,
    train_all,
)


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
    arenas = config.arenas()
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


def _interval(report: Report, episode: int, statistic: str) -> Interval:
    returns_SN1 = report.returns_SNK[:, :, [episode]]
    return stratified_bootstrap(returns_SN1, statistic, seed=report.config.seed)


def _shown(interval: Interval) -> str:
    return f"{interval.point:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
