"""Evaluating what run folders hold."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quickstudy.agents.agent import Agent
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.registry import family_class
from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.config import TrainConfig
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
    if not runs:
        raise ValueError("Which run? Give at least one run folder.")
    if checkpoint not in CHECKPOINTS:
        raise unknown("checkpoint", checkpoint, CHECKPOINTS)
    require_positive("tasks", config.tasks)
    if config.episodes is not None:
        require_positive("episodes", config.episodes)
    # Refused before any checkpoint is read.
    family_class(RunFolder(runs[0]).config()["family"]).task_space.check_split(config.split)
    agents, configs = zip(*[_load(run, checkpoint) for run in runs], strict=True)
    _require_alike(runs, configs)
    with torch_threads(ACTING):
        return evaluate_agents(list(agents), configs[0], config)


def _load(run_dir: Path, checkpoint: str) -> tuple[Agent, TrainConfig]:
    run = RunFolder(run_dir)
    run.config()
    checkpoints = Checkpoints(run.checkpoints)
    load = checkpoints.load_best if checkpoint == "best" else checkpoints.load_latest
    state, _ = load()
    return load_agent(state)


def _require_alike(runs: Sequence[Path], configs: Sequence[TrainConfig]) -> None:
    for run, config in zip(runs, configs, strict=True):
        if replace(config, seed=configs[0].seed) != configs[0]:
            raise ValueError(
                f"{run} and {runs[0]} differ in more than their seed: evaluate them separately."
            )
