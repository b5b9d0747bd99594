"""Do the two parts of ExploRS need each other? True returns with none, one and both of them.

The claim of Devidze et al. 2022: with sparse rewards and a distractor only the combination is
reliable. Arms share their seeds' luck.

Shape legend: G arms, N seeds.
"""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from quickstudy.agents.lifetimes.rewards_explors import ExploRS, ExploRSConfig
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.tabular.chains_rooms import (
    ChainConfig,
    RoomConfig,
    SlipperyMDP,
    SlipperyTasks,
)
from quickstudy.experiments.discovery.keys import Purpose, keys
from quickstudy.experiments.statistics import mean_interval

ARMS: dict[str, tuple[bool, bool]] = {
    "none": (False, False),
    "bonus": (True, False),
    "self": (False, True),
    "both": (True, True),
}
"""Who is paid the bonus B, and who learns the reward φ."""
TASKS: dict[str, ChainConfig | RoomConfig] = {
    "chain": ChainConfig(distractor=0.0),
    "chain-plus": ChainConfig(),
    "room": RoomConfig(distractor=0.0),
    "room-plus": RoomConfig(),
}


@dataclass(frozen=True)
class ExploRSStudy:
    """Sizes; episodes and constants as published."""

    tasks: tuple[str, ...] = ("chain-plus", "room-plus")
    """Which tasks: chain and room, with a distractor (plus) or without."""
    num_seeds: int = 10
    """Agents per arm."""
    episodes: int = 50_001
    """Of each agent."""
    points: int = 100
    """Points of the learning curves."""
    explors: ExploRSConfig = field(default_factory=ExploRSConfig)
    """Constants."""
    seed: int = 0
    """Decides all chance."""

    def check(self) -> None:
        """Raise `ValueError` for an unknown task, or a count below 1."""
        for task in self.tasks:
            if task not in TASKS:
                raise unknown("task", task, TASKS)
        for name in ("num_seeds", "episodes", "points"):
            require_positive(name, getattr(self, name))
        self.explors.check()


def explors_study(config: ExploRSStudy, console: Console) -> dict[str, Any]:
    """Train all arms on each task, print a table, return the result for JSON.

    Raises:
        ValueError: for a bad configuration.
    """
    config.check()
    result = {
        "config": asdict(config),
        "tasks": {task: _on_task(config, task, console) for task in config.tasks},
    }
    console.print(table(result))
    return result


def table(result: dict[str, Any]) -> Table:
    """Final returns per arm, what is best, and how much more both parts earn than the others.

    The claim holds on a task if no such difference has its interval below 0.
    """
    shown = Table("task", *ARMS, "optimal", title="ExploRS: expected true return at the end")
    for task, of_task in result["tasks"].items():
        finals = [_cell(of_task["final"][arm]["interval"]) for arm in ARMS]
        more = [_cell(of_task["both_minus"][arm]["interval"]) for arm in ARMS if arm != "both"]
        shown.add_row(task, *finals, f"{of_task['optimal']:.2f}")
        shown.add_row("  both minus it", *more, "", "")
    return shown


def _on_task(config: ExploRSStudy, task: str, console: Console) -> dict[str, Any]:
    """All arms on one task, side by side."""
    began = time.perf_counter()
    mdp = TASKS[task].build()
    agents = _agents(config, mdp)
    episodes, returns = [0], [agents.true_return()]
    for mark in _marks(config):
        agents.live(mark - agents.episodes)
        episodes.append(mark)
        returns.append(agents.true_return())
        if len(returns) % 10 == 0:
            console.print(f"{task}: episode {mark} of {config.episodes}", markup=False)
    curve_UGN = torch.stack(returns).view(len(returns), len(ARMS), config.num_seeds).numpy()
    return {
        "optimal": _optimal(mdp),
        "final": {arm: _summary(x) for arm, x in zip(ARMS, curve_UGN[-1], strict=True)},
        "both_minus": _differences(curve_UGN[-1]),
        "episodes": episodes,
        "curve": {arm: curve_UGN[:, g].mean(axis=1).tolist() for g, arm in enumerate(ARMS)},
        "environment_steps": int(agents.visits_PS.sum()),
        "seconds": time.perf_counter() - began,
    }


def _agents(config: ExploRSStudy, mdp: SlipperyMDP) -> ExploRS:
    """All seeds of the first arm, then those of the next, with the same keys."""
    key_N = keys(config.seed, Purpose.LIFE, 0, config.num_seeds)
    switches_G2 = torch.tensor(list(ARMS.values())).repeat_interleave(config.num_seeds, dim=0)
    return ExploRS(
        config.explors,
        mdp,
        key_N.repeat(len(ARMS)),
        bonus_P=switches_G2[:, 0],
        shaping_P=switches_G2[:, 1],
    )


def _marks(config: ExploRSStudy) -> list[int]:
    """After how many episodes to look."""
    marks = np.linspace(0, config.episodes, config.points + 1)[1:].round().astype(int)
    return sorted(set(marks.tolist()) - {0})


def _optimal(mdp: SlipperyMDP) -> float:
    tasks = SlipperyTasks(mdp)
    return float(tasks.optimal_return(tasks.sample(torch.zeros(1, dtype=torch.int64))))


def _summary(final_N: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {"per_seed": final_N.tolist(), "interval": asdict(mean_interval(final_N))}


def _differences(final_GN: npt.NDArray[np.float64]) -> dict[str, Any]:
    """What both parts earn more than the other arms, seed by seed."""
    both_N = final_GN[list(ARMS).index("both")]
    others = [arm for arm in ARMS if arm != "both"]
    return {arm: _summary(both_N - final_GN[list(ARMS).index(arm)]) for arm in others}


def _cell(interval: dict[str, float]) -> str:
    return f"{interval['point']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"
