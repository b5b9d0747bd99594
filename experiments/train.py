"""Training from start to finish, and from a checkpoint onwards."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from quickstudy.envs.accounts import TrialResults
from quickstudy.envs.registry import family_class
from quickstudy.experiments.checkpoint import Checkpoints, State
from quickstudy.experiments.config import TrainConfig, resolve, resolve_device
from quickstudy.experiments.console import make_console
from quickstudy.experiments.curriculum_log import append_lesson, read_lessons
from quickstudy.experiments.curriculum_maps import PICTURES_PER_SECOND, curriculum_pictures
from quickstudy.experiments.policies import AgentPolicy
from quickstudy.experiments.progress import Display
from quickstudy.experiments.report import EvalConfig, Report, evaluate_agents
from quickstudy.experiments.run_folder import RunFolder, default_path
from quickstudy.experiments.signals import StopRequest
from quickstudy.experiments.tensorboard import Dashboard
from quickstudy.experiments.threads import ACTING, torch_threads
from quickstudy.experiments.training import (
    Progress,
    Training,
    returns_by_episode,
    success_by_episode,
)
from quickstudy.experiments.video import RenderingUnavailableError, film, gif_bytes, write_film


def train(config: TrainConfig, run_dir: Path | None = None, console: Console | None = None) -> Path:
    """Train an agent in a new run folder; returns the folder.

    Raises:
        ValueError: for a configuration that cannot be run (before anything is built), or one that
            needs an extra that is not installed; nothing has been written then.
        SystemExit: after a stop signal, once the state is saved (code 128 + the signal's number).
    """
    config = resolve(config)
    path = run_dir or default_path(config.family, config.agent, config.seed)
    training = Training(config)  # what cannot be built leaves no folder
    with RunFolder.create(path, config.to_dict(), sys.argv) as run:
        _run(training, run, console or make_console())
    return path


def resume(run_dir: Path, console: Console | None = None, device: str | None = None) -> Path:
    """Go on with a run from its last good checkpoint, bit for bit; returns its folder.

    Args:
        run_dir: the run's folder.
        console: where to print.
        device: where to run; where the run was begun if None. On another device than its last
            checkpoint's it goes on, but not bit for bit.

    Raises:
        ValueError: if the folder holds no run, or no usable checkpoint, or if the device is not
            there.
    """
    console = console or make_console()
    with RunFolder.resume(run_dir, sys.argv) as run:
        config = TrainConfig.from_dict(run.config())
        config = replace(config, device=resolve_device(device or config.device, config.family))
        training = Training(config)
        checkpoints = Checkpoints(run.checkpoints)
        if checkpoints.paths():
            _restore(training, checkpoints.load_latest()[0], console)
        run.metrics.truncate_after(training.num_updates)
        run.perf.truncate_after(training.num_updates)
        run.curriculum.truncate_after(training.num_updates)
        _run(training, run, console)
    return run_dir


def _restore(training: Training, state: State, console: Console) -> None:
    before, now = state["config"]["device"], training.config.device
    if before != now:
        console.print(
            f"The checkpoint is from device {before}: on {now} the run goes on where it was, but "
            "no longer bit for bit."
        )
    training.load_state_dict(state)


def _run(training: Training, run: RunFolder, console: Console) -> None:
    """The loop, then the final evaluation."""
    checkpoints = Checkpoints(run.checkpoints)
    dashboard = Dashboard(run.path, purge_step=training.frames or None)
    console.print(f"Run folder: {run.path}   (tensorboard --logdir {run.path.parent})")
    console.print(f"Device: {training.config.device}")
    saved_at = training.num_updates if checkpoints.paths() else None
    with StopRequest() as stop, Display(training.config, console) as display:
        while not training.finished and stop.received is None:
            progress = training.update()
            _log(training, progress, run, dashboard, display)
            if training.num_updates % training.config.checkpoint_interval == 0:
                saved_at = _save(training, progress, run, checkpoints)
        if saved_at != training.num_updates:
            saved_at = _save(training, None, run, checkpoints)
    if stop.received is None:
        _conclude(training, run, dashboard, console)
    dashboard.close()
    if stop.received is not None:
        lost = "" if saved_at == training.num_updates else " (its last updates could NOT be saved)"
        console.print(f"Stopped by {stop.received.name}{lost}. Go on by --resume {run.path}")
        raise SystemExit(stop.exit_code)


def _log(
    training: Training, progress: Progress, run: RunFolder, dashboard: Dashboard, display: Display
) -> None:
    """Metrics that depend on the seed alone go to one file, wall-clock figures to another."""
    returns_K = returns_by_episode(progress.trials)
    row = _adaptation_scalars(returns_K) | _success_scalars(progress.trials)
    row |= {f"train/{name}": value for name, value in progress.learning.items()}
    row |= {f"curriculum/{name}": value for name, value in progress.curriculum.items()}
    row["train/diverged_worlds"] = float(training.actor.env.num_diverged)
    if training.num_updates % training.config.eval_interval == 0:
        row |= _evaluate_briefly(training).scalars()
    seconds = progress.rollout_seconds + progress.update_seconds + progress.teacher_seconds
    speed = training.config.frames_per_update / seconds
    perf = {
        "perf/frames_per_second": speed,
        "perf/rollout_seconds": progress.rollout_seconds,
        "perf/update_seconds": progress.update_seconds,
        "perf/teacher_seconds": progress.teacher_seconds,
    }
    if training.num_updates == 1:
        dashboard.layout()
    run.metrics.append(training.num_updates, training.frames, row)
    _log_lesson(training, progress, run)
    run.perf.append(training.num_updates, training.frames, perf)
    dashboard.scalars(row | perf, training.frames)
    display.show(training.num_updates, training.frames, speed, returns_K.tolist())


def _log_lesson(training: Training, progress: Progress, run: RunFolder) -> None:
    if training.curriculum is None or progress.scores is None:
        return
    append_lesson(
        run.curriculum,
        training.num_updates,
        training.frames,
        progress.trials.tasks,
        progress.scores,
        training.curriculum.teacher.mixture(),
    )


def _adaptation_scalars(returns_K: Tensor) -> dict[str, float]:
    returns = {f"adapt/return_ep{k}": r for k, r in enumerate(returns_K.tolist(), start=1)}
    return returns | {"adapt/gain": float(returns_K[-1] - returns_K[0])}


def _success_scalars(trials: TrialResults) -> dict[str, float]:
    """Empty for families that do not say what a success is."""
    success_K = success_by_episode(trials)
    rates = [] if success_K is None else success_K.tolist()
    return {f"train/success_ep{k}": rate for k, rate in enumerate(rates, start=1)}


def _save(
    training: Training, progress: Progress | None, run: RunFolder, checkpoints: Checkpoints
) -> int | None:
    """Save; returns the update saved, or None if the disk refused.

    `best` is judged by training trials at the regular intervals, so the test tasks choose nothing
    and a stop in between changes nothing.
    """
    before = training.best_return
    if progress is not None:
        training.best_return = max(before, float(returns_by_episode(progress.trials).mean()))
    best = training.best_return > before
    run.metrics.sync()
    if checkpoints.save(training.state_dict(), training.num_updates, best=best) is None:
        training.best_return = before
        return None
    return training.num_updates


def _evaluate_briefly(training: Training) -> Report:
    config = EvalConfig(tasks=training.config.eval_tasks, device=training.config.device)
    with torch_threads(ACTING):
        return evaluate_agents([training.agent], training.config, config, ablate=False)


def _conclude(training: Training, run: RunFolder, dashboard: Dashboard, console: Console) -> None:
    """Evaluate on held-out tasks, print the table, and film the agent."""
    with torch_threads(ACTING):
        config = EvalConfig(device=training.config.device)
        report = evaluate_agents([training.agent], training.config, config)
    console.print(report.table())
    (run.path / "evaluation.json").write_text(json.dumps(report.to_dict()))
    dashboard.text("evaluation", report.markdown(), training.frames)
    dashboard.hyperparameters(
        training.config.to_dict(),
        {f"hparam/{name}": value for name, value in report.scalars().items()},
    )
    if training.curriculum is not None:
        _map_curriculum(training, run, dashboard, console)
    if not training.config.video:
        return
    try:
        video = _film(training, run.path / "adaptation.mp4", dashboard)
    except RenderingUnavailableError as error:
        console.print(f"No video: {error}")
    else:
        console.print(f"Video: {video}")


def _map_curriculum(
    training: Training, run: RunFolder, dashboard: Dashboard, console: Console
) -> None:
    """Draw what the teacher chose over time, as `curriculum.gif` and in TensorBoard."""
    config = training.config
    title = f"{config.family}, teacher {config.teacher}, signal {config.signal}"
    space = family_class(config.family).task_space
    try:
        pictures = curriculum_pictures(read_lessons(run.curriculum), space, title)
    except ValueError as error:
        console.print(f"No map of the curriculum: {error}")
        return
    encoded = gif_bytes(pictures, PICTURES_PER_SECOND)
    path = run.path / "curriculum.gif"
    path.write_bytes(encoded)
    height, width = pictures[0].shape[:2]
    dashboard.gif("curriculum", encoded, width, height, training.frames)
    console.print(f"Curriculum: {path}")


def _film(training: Training, path: Path, dashboard: Dashboard) -> Path:
    config = training.config
    space = family_class(config.family).task_space
    frames, fps = film(
        AgentPolicy(training.agent),
        replace(config.setup, switch_episode=None),
        torch.unique(space.listing("test", 2, seed=0), dim=0),
    )
    write_film(path, frames, fps)
    height, width = frames[0].shape[:2]
    dashboard.gif("adaptation", gif_bytes(frames[::2], fps / 2), width, height, training.frames)
    return path
