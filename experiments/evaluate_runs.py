"""Evaluating what run folders hold."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quickstudy.agents.agent import Agent
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.registry import family_class
from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.config import TrainConfig
from quickstudy.experiments.memory_export import collect_memory, save_memory
from quickstudy.experiments.report import EvalConfig, Report, evaluate_agents
from quickstudy.experiments.run_folder import RunFolder
from quickstudy.experiments.threads import ACTING, torch_threads
from quickstudy.experiments.training import load_agent

CHECKPOINTS = ("latest", "best")


def evaluate_runs(runs: Sequence[Path], config: EvalConfig, checkpoint: str = "latest") -> Report:
    """Evaluate the agents of one or more runs (seeds) on the same tasks.

    Raises:
        ValueError: for no run, an unknown split or checkpoint, a folder that holds no run, or runs
            that differ in more than their seed.
    """
    family = family_of(runs)
    if checkpoint not in CHECKPOINTS:
        raise unknown("checkpoint", checkpoint, CHECKPOINTS)
    require_positive("tasks", config.tasks)
    if config.episodes is not None:
        require_positive("episodes", config.episodes)
    # Refused before any checkpoint is read.
    family_class(family).task_space.check_split(config.split)
    loaded = [load_run(run, checkpoint, config.device) for run in runs]
    agents, configs = zip(*loaded, strict=True)
    _require_alike(runs, configs)
    with torch_threads(ACTING):
        return evaluate_agents(list(agents), configs[0], config)


def export_memory(run: Path, config: EvalConfig, checkpoint: str = "latest") -> Path:
    """Write what a run's memory holds for TensorBoard's projector; returns the folder.

    Raises:
        ValueError: as `evaluate_runs`, and for an agent without a memory.
    """
    agent, training = load_run(run, checkpoint, config.device)
    if not agent.memory.initial_state(1):
        raise ValueError(f"{run} is a run of {training.agent}, which has no memory to save.")
    with torch_threads(ACTING):
        points = collect_memory(agent, training, config)
    parameters = [p.name for p in family_class(training.family).task_space.parameters]
    return save_memory(points, run, parameters)


def family_of(runs: Sequence[Path]) -> str:
    """The family of the first run.

    Raises:
        ValueError: for no run, or a folder that holds none.
    """
    if not runs:
        raise ValueError("Which run? Give at least one run folder.")
    family: str = RunFolder(runs[0]).config()["family"]
    return family


def load_run(
    run_dir: Path, checkpoint: str = "latest", device: str = "cpu"
) -> tuple[Agent, TrainConfig]:
    """The trained agent of a run folder, on a device, and what it was trained with.

    Raises:
        ValueError: for a folder that holds no run, or no usable checkpoint.
    """
    run = RunFolder(run_dir)
    run.config()
    checkpoints = Checkpoints(run.checkpoints)
    load = checkpoints.load_best if checkpoint == "best" else checkpoints.load_latest
    state, _ = load()
    return load_agent(state, device)


def _require_alike(runs: Sequence[Path], configs: Sequence[TrainConfig]) -> None:
    for run, config in zip(runs, configs, strict=True):
        # Where they were trained is a matter of speed.
        if replace(config, seed=configs[0].seed, device=configs[0].device) != configs[0]:
            raise ValueError(
                f"{run} and {runs[0]} differ in more than their seed: evaluate them separately."
            )
