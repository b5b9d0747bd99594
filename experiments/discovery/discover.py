"""A discovery from start to finish, and from a checkpoint onwards."""

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from torch import Tensor

from quickstudy.agents.objectives.discovered import Discovered, Provenance
from quickstudy.envs.atomic_files import write_json
from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.console import make_console
from quickstudy.experiments.discovery.config import DiscoverConfig, build_estimator
from quickstudy.experiments.discovery.discovery import Discovery, Generation
from quickstudy.experiments.discovery.display import Display
from quickstudy.experiments.discovery.options import spelled
from quickstudy.experiments.discovery.workers import Workers
from quickstudy.experiments.run_folder import (
    RunFolder,
    default_path,
    package_versions,
)
from quickstudy.experiments.signals import StopRequest
from quickstudy.experiments.tensorboard import Dashboard
from quickstudy.experiments.threads import ACTING, torch_threads

RULE = "rule.json"
"""The discovered rule in a run's folder."""


def discover(
    config: DiscoverConfig, run_dir: Path | None = None, console: Console | None = None
) -> Path:
    """Discover a rule in a new run folder; returns the folder.

    Raises:
        ValueError: for a configuration that cannot be run; nothing has been written then.
        ChildProcessError: if a process died; the last checkpoint is there to go on from.
        SystemExit: after a stop signal, once the state is saved (code 128 + the signal's number).
    """
    discovery = Discovery(config)  # what cannot be built leaves no folder
    path = run_dir or default_path("discover", config.preset, config.seed)
    with RunFolder.create(path, config.to_dict(), sys.argv) as run:
        _run(discovery, run, console or make_console())
    return path


def resume(run_dir: Path, console: Console | None = None, processes: int | None = None) -> Path:
    """Go on with a discovery from its last good checkpoint, bit for bit; returns its folder.

    Args:
        run_dir: the run's folder.
        console: where to print.
        processes: how many from now on; None: as it was begun.

    Raises:
        ValueError: if the folder holds no discovery, or no usable checkpoint.
    """
    with RunFolder.resume(run_dir, sys.argv) as run:
        config = read_config(run)
        config = replace(config, processes=processes or config.processes)
        discovery = Discovery(config)
        checkpoints = Checkpoints(run.checkpoints)
        if checkpoints.paths():
            discovery.load_state_dict(checkpoints.load_latest()[0])
        run.metrics.truncate_after(discovery.generation)
        run.perf.truncate_after(discovery.generation)
        _run(discovery, run, console or make_console())
    return run_dir


def read_config(run: RunFolder) -> DiscoverConfig:
    """The configuration that a discovery was begun with.

    Raises:
        ValueError: if the folder holds none.
    """
    record = run.config()
    if "preset" not in record:
        raise ValueError(f"{run.path} holds no discovery (was it begun by another command?).")
    return DiscoverConfig(**record)


def _run(discovery: Discovery, run: RunFolder, console: Console) -> None:
    """The loop, then the final score and the rule as a file."""
    checkpoints = Checkpoints(run.checkpoints)
    console.print(f"Run folder: {run.path}   (tensorboard --logdir {run.path.parent})")
    with _dashboard(run, discovery) as dashboard, _workers(discovery) as workers:
        stop, saved = _climb(discovery, run, dashboard, workers, checkpoints, console)
        if stop.received is None:
            _conclude(discovery, run, dashboard, workers, console)
            return
    lost = "" if saved else " (its last generations could NOT be saved)"
    console.print(f"Stopped by {stop.received.name}{lost}. Go on by --resume {run.path}")
    raise SystemExit(stop.exit_code)


def _climb(
    discovery: Discovery,
    run: RunFolder,
    dashboard: Dashboard,
    workers: Workers,
    checkpoints: Checkpoints,
    console: Console,
) -> tuple[StopRequest, bool]:
    """All generations, or until a signal; whether all of them are saved."""
    saved_at = discovery.generation if checkpoints.paths() else None
    with StopRequest() as stop, Display(discovery, console) as display:
        while not discovery.finished and stop.received is None:
            generation = discovery.next_generation(workers)
            _log(discovery, generation, run, dashboard)
            display.show(generation)
            if discovery.generation % discovery.config.checkpoint_interval == 0:
                saved_at = _save(discovery, run, checkpoints)
        if saved_at != discovery.generation:
            saved_at = _save(discovery, run, checkpoints)
    return stop, saved_at == discovery.generation


def _log(
    discovery: Discovery, generation: Generation, run: RunFolder, dashboard: Dashboard
) -> None:
    """Metrics that depend on the seed alone go to one file, wall-clock figures to another."""
    perf = {
        "perf/steps_per_second": generation.steps / generation.seconds,
        "perf/seconds": generation.seconds,
    }
    if discovery.generation == 1:
        dashboard.interval_chart("Discovery", "centre/score")
    run.metrics.append(discovery.generation, discovery.steps, generation.metrics)
    run.perf.append(discovery.generation, discovery.steps, perf)
    dashboard.scalars(generation.metrics | perf, discovery.steps)
    if discovery.generation % discovery.config.picture_interval == 0:
        _draw(discovery, dashboard)


def _draw(discovery: Discovery, dashboard: Dashboard) -> None:
    plan = discovery.plan
    if plan.preset.draw is None:
        return
    for name, image_HW3 in plan.preset.draw(plan.lives, discovery.centre).items():
        dashboard.picture(name, image_HW3, discovery.steps)


def _save(discovery: Discovery, run: RunFolder, checkpoints: Checkpoints) -> int | None:
    """Save; returns the generation saved, or None if the disk refused."""
    run.metrics.sync()
    path = checkpoints.save(discovery.state_dict(), discovery.generation)
    return None if path is None else discovery.generation


def _conclude(
    discovery: Discovery, run: RunFolder, dashboard: Dashboard, workers: Workers, console: Console
) -> None:
    """Score the final rule on fresh lives, and write it as a file of its own."""
    verdict = discovery.judge(workers)
    figures = verdict.figures()
    write_json(
        run.path / "evaluation.json",
        {
            "figures": figures,
            "scores": _finite(verdict.score_n),
            "first_scores": _finite(verdict.first_n),
            "steps": verdict.steps,
        },
    )
    dashboard.hyperparameters(discovery.config.to_dict(), figures)
    _draw(discovery, dashboard)
    lives = f"Score of {len(verdict.score_n)} fresh lives"
    console.print(f"{lives}: {shown(figures, 'final/score')}", markup=False)
    console.print(f"More than its first rule: {shown(figures, 'final/gain')}", markup=False)
    rule = _write_rule(discovery, run)
    console.print(f"Rule: {rule}" if rule else "(Rules of this kind stay in the checkpoints.)")


def shown(figures: Mapping[str, float], name: str) -> str:
    """A figure and its interval; what it says if there is none."""
    if name not in figures:
        return "unknown, every agent broke"
    point, low, high = (figures[name + end] for end in ("", "_low", "_high"))
    return f"{point:.4g} [{low:.4g}, {high:.4g}]"


def _finite(score_n: Tensor) -> list[float | None]:
    return [score if math.isfinite(score) else None for score in score_n.tolist()]


def _write_rule(discovery: Discovery, run: RunFolder) -> Path | None:
    """The discovered rule as a file, if it is of a kind that others can learn by."""
    describe = discovery.plan.preset.rule
    if describe is None:
        return None
    kind, network = describe(discovery.plan.lives)
    spent = discovery.steps + discovery.centre_steps
    notes = {
        "preset": discovery.config.preset,
        "generations": discovery.generation,
        "lives": spelled(discovery.plan.lives),
    }
    seeds = (discovery.config.seed,)
    provenance = Provenance(run.command, seeds, spent, package_versions(), notes)
    Discovered(kind, network, discovery.centre, provenance).save(run.path / RULE)
    return run.path / RULE


def _workers(discovery: Discovery) -> Workers:
    return Workers(partial(build_estimator, discovery.config), discovery.config.processes or 1)


@contextmanager
def _dashboard(run: RunFolder, discovery: Discovery) -> Iterator[Dashboard]:
    """Also keeps torch to one thread, which is what a process of the population has."""
    dashboard = Dashboard(run.path, purge_step=discovery.steps or None)
    try:
        with torch_threads(ACTING):
            yield dashboard
    finally:
        dashboard.close()
