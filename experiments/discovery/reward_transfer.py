"""Does a discovered reward serve other agents, and other buttons, than those it was found with?

The question of Zheng et al. 2020 (arXiv 1912.05500): a reward says what to strive for, not how.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from torch import Tensor

from quickstudy.agents.lifetimes.rewards import RewardConfig, RewardLifetimes
from quickstudy.agents.lifetimes.rewards_learners import (
    ActorCriticConfig,
    QLearningConfig,
    reinforce,
)
from quickstudy.envs.errors import require_positive
from quickstudy.envs.tabular.permuted_actions import PermutedActions
from quickstudy.envs.tabular.registry import make_tabular_tasks
from quickstudy.experiments.discovery.keys import Purpose, keys
from quickstudy.experiments.statistics import mean_interval

LEARNERS: dict[str, ActorCriticConfig | QLearningConfig] = {
    "a2c": ActorCriticConfig(),
    "reinforce": reinforce(),
    "q-learning": QLearningConfig(),
}


@dataclass(frozen=True)
class RewardTransfer:
    """Whom the reward is given to."""

    lives: RewardConfig = field(default_factory=RewardConfig)
    """How it was discovered."""
    order: tuple[int, ...] = (2, 3, 0, 1)
    """Action a then does what action order[a] did."""
    num_lives: int = 256
    """Lives per cell, each on a task of its own."""
    seed: int = 0
    """Decides their tasks and luck; not the seed of the discovery."""


def reward_transfer(config: RewardTransfer, rule_M: Tensor, console: Console) -> dict[str, Any]:
    """Scores with the discovered reward and with the true one, of each learner, actions in order
    and permuted; prints a table, returns the result for JSON.

    Raises:
        ValueError: for unknown tasks, or an order that is no permutation of their actions.
    """
    require_positive("num_lives", config.num_lives)
    result: dict[str, Any] = {"config": asdict(config), "cells": {}}
    for permuted in (False, True):
        for name, learner in LEARNERS.items():
            lives = replace(config.lives, learner=learner)
            cell = f"{name}, permuted" if permuted else name
            result["cells"][cell] = _cell(config, lives, rule_M, permuted)
    console.print(table(result))
    return result


def table(result: dict[str, Any]) -> Table:
    """A row for each learner, under each naming of the actions."""
    rows = ("discovered", "true", "difference")
    shown = Table("learner", *rows, title="Scores by the discovered and by the true reward")
    for name, cell in result["cells"].items():
        intervals = [cell[row] for row in rows]
        shown.add_row(
            name, *(f"{i['point']:.3f} [{i['low']:.3f}, {i['high']:.3f}]" for i in intervals)
        )
    return shown


def _cell(
    config: RewardTransfer, lives: RewardConfig, rule_M: Tensor, permuted: bool
) -> dict[str, Any]:
    """The same lives twice, by either reward."""
    true = replace(lives, rule=replace(lives.rule, mix="added", weight=0.0))
    found, plain = (_scores(config, each, rule_M, permuted) for each in (lives, true))
    return {
        "discovered": asdict(mean_interval(found)),
        "true": asdict(mean_interval(plain)),
        "difference": asdict(mean_interval(found - plain)),
    }


def _scores(
    config: RewardTransfer, lives: RewardConfig, rule_M: Tensor, permuted: bool
) -> npt.NDArray[np.float64]:
    tasks = make_tabular_tasks(lives.tasks)
    if permuted:
        tasks = PermutedActions(tasks, config.order)
    key_P = keys(config.seed, Purpose.CONCLUSION, 0, config.num_lives)
    rule_PM = rule_M.expand(config.num_lives, -1)
    score_P: npt.NDArray[np.float64] = (
        RewardLifetimes(lives, tasks).live(rule_PM, key_P).score_P.numpy()
    )
    return score_P
