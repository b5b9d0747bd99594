"""`quickstudy eval … --save-memory`: what a memory holds, for TensorBoard's projector.

Shape legend: N tasks, M memory features, P points (one per task and episode).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from tensorboard.plugins import projector
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.envs.atomic_files import write_atomically
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import FixedTasks, TrialEnv
from quickstudy.experiments.config import TrainConfig
from quickstudy.experiments.evaluate import MAX_WORLDS
from quickstudy.experiments.policies import AgentPolicy
from quickstudy.experiments.report import EvalConfig

FOLDER = "projector"


@dataclass(frozen=True)
class MemoryPoints:
    """What the heads read from the memory at the last step of each episode."""

    memory_PM: Tensor
    task_PD: Tensor
    episode_P: Tensor
    """From 1."""
    return_P: Tensor
    """Of that episode."""


def collect_memory(agent: Agent, training: TrainConfig, config: EvalConfig) -> MemoryPoints:
    """Play one trial on each task and keep the memory as each episode ends (at most 1024 tasks)."""
    space = family_class(training.family).task_space
    task_ND = space.listing(config.split, min(config.tasks, MAX_WORLDS), config.seed)
    env = config.setup(training).env(len(task_ND), FixedTasks(task_ND))
    policy = AgentPolicy(agent, deterministic=not config.sampled, seed=config.seed)
    points = _play(policy, env, config.seed)
    env.close()
    return points


def save_memory(points: MemoryPoints, run_dir: Path, parameters: list[str]) -> Path:
    """Write points and labels where `tensorboard --logdir RUN_DIR/projector` finds them."""
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    header = "\t".join([*parameters, "episode", "return"])
    labels = [header, *map(_label, points.task_PD, points.episode_P, points.return_P)]
    rows = ["\t".join(f"{value:.6g}" for value in row) for row in points.memory_PM.tolist()]
    for name, lines in {"memory.tsv": rows, "labels.tsv": labels}.items():
        write_atomically(folder / name, ("\n".join(lines) + "\n").encode())
    settings = projector.ProjectorConfig()
    embedding = settings.embeddings.add()
    embedding.tensor_name = "memory at the end of each episode"
    embedding.tensor_path, embedding.metadata_path = "memory.tsv", "labels.tsv"
    projector.visualize_embeddings(str(folder), settings)
    return folder


def _label(task_D: Tensor, episode: Tensor, total: Tensor) -> str:
    task = [f"{value:.4g}" for value in task_D.tolist()]
    return "\t".join([*task, str(int(episode)), f"{float(total):.4g}"])


def _play(policy: AgentPolicy, env: TrialEnv, seed: int) -> MemoryPoints:
    """Until every world has finished its first trial."""
    time_step = env.reset(seed)
    policy.begin(env)
    playing_N = torch.ones(env.num_worlds, dtype=torch.bool)
    episode_N = torch.ones(env.num_worlds, dtype=torch.int64)
    return_N = torch.zeros(env.num_worlds)
    task_ND = env.tasks.to("cpu", copy=True)
    parts = []
    while playing_N.any():
        time_step = env.step(policy.act(time_step))
        start_N, trial_end_N = time_step.episode_start.cpu(), time_step.trial_end.cpu()
        return_N = return_N + time_step.reward.cpu()
        ended_N = start_N & playing_N
        fields = (policy.memory.cpu(), task_ND, episode_N, return_N)
        parts.append([rows[ended_N] for rows in fields])
        episode_N = episode_N + ended_N
        return_N = return_N.masked_fill(start_N, 0.0)
        playing_N = playing_N & ~trial_end_N
    return MemoryPoints(*(torch.cat(column) for column in zip(*parts, strict=True)))
