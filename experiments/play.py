"""`quickstudy play`: watch any policy, trained or not, before trusting a family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.play import Policy, play_one_trial
from quickstudy.envs.registry import family_class, family_entry
from quickstudy.envs.tasks import TaskSpace
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.envs.trials import FixedTasks
from quickstudy.experiments.evaluate_runs import load_run
from quickstudy.experiments.policies import (
    AgentPolicy,
    ExpertPolicy,
    RandomPolicy,
    ZeroPolicy,
)
from quickstudy.experiments.video import film, write_film

DUMMIES: dict[str, Callable[[int], Policy]] = {
    "zero": lambda seed: ZeroPolicy(),
    "random": RandomPolicy,
    "expert": lambda seed: ExpertPolicy(),
}


@dataclass(frozen=True)
class Player:
    """A policy, and what it plays."""

    name: str
    policy: Policy
    setup: TrialSetup

    def in_worlds_of(self, other: "Player") -> "Player":
        """The same policy where another one plays."""
        return replace(self, setup=replace(other.setup, reveal_task=self.setup.reveal_task))


def make_player(
    family: str,
    agent: str,
    seed: int,
    device: str = "cpu",
    family_options: Mapping[str, str] | None = None,
) -> Player:
    """The policy a user names: zero, random, expert, or a run folder (with its own options).

    Raises:
        ValueError: for an unknown name, or a run of another family.
    """
    family_entry(family)
    if agent in DUMMIES:
        setup = TrialSetup(family, device=device, family_options=family_options or {})
        return Player(agent, DUMMIES[agent](seed), setup)
    if not Path(agent).is_dir():
        raise unknown("agent (nor is it a run folder)", agent, DUMMIES)
    trained, config = load_run(Path(agent), device=device)
    if config.family != family:
        raise ValueError(f"{agent} was trained on {config.family}, not on {family}.")
    setup = replace(config.setup, device=device)
    return Player(f"trained {config.agent}", AgentPolicy(trained), setup)


def play(player: Player, task_ND: Tensor, seed: int) -> Table:
    """One trial on each task: return and length of every episode."""
    env = player.setup.env(len(task_ND), FixedTasks(task_ND))
    results = play_one_trial(player.policy, env, seed)
    parameters = env.family.task_space.parameters
    names = [f"{p.name} ({p.unit})" for p in parameters]
    episodes = [f"episode {k}" for k in range(1, env.episodes_per_trial + 1)]
    table = Table(*names, *episodes, title=f"{env.name}: return (steps) of each episode")
    rows = zip(task_ND.tolist(), results.returns.tolist(), results.lengths.tolist(), strict=True)
    for task, returns, lengths in rows:
        cells = [f"{r:.1f} ({steps})" for r, steps in zip(returns, lengths, strict=True)]
        shown = [p.shown(value) for p, value in zip(parameters, task, strict=True)]
        table.add_row(*shown, *cells)
    return table


def choose_tasks(
    family: str, split: str, num_tasks: int, seed: int, task: tuple[float, ...]
) -> Tensor:
    """The tasks to play: one given by the user, or a listing of a split.

    Raises:
        ValueError: for a task of the wrong length or an unknown split.
    """
    space: TaskSpace = family_class(family).task_space
    if not task:
        require_positive("tasks", num_tasks)
        return space.listing(split, num_tasks, seed)
    if len(task) != space.dim:
        names = ", ".join(f"{p.name} ({p.unit})" for p in space.parameters)
        raise ValueError(f"A task of {family} has {space.dim} parameter(s): {names}; got {task}.")
    return torch.tensor([task], dtype=torch.float64)


def film_players(players: Sequence[Player], task_ND: Tensor, seed: int, path: Path) -> None:
    """Film one trial on each task into an MP4 or GIF, the players one below the other.

    Their trials must be of one length.
    """
    films = [film(p.policy, p.setup, task_ND, seed, p.name) for p in players]
    fps = films[0][1]
    pictures = zip(*(frames for frames, _ in films), strict=True)
    frames = [np.concatenate(together) for together in pictures]
    write_film(path, frames, fps)
