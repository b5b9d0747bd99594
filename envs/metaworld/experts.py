"""Meta-World's own scripted policies: one for each environment, told where its goal is."""

import importlib
import warnings
from functools import cache
from typing import Any

import numpy as np

from quickstudy.envs.metaworld.arena import arena_of
from quickstudy.envs.metaworld.environments import ENVIRONMENTS
from quickstudy.envs.metaworld.package import load_metaworld

GOAL = slice(36, 39)
"""Where an observation shows the goal."""


def scripted_action(environment: int, goal: int, observation: np.ndarray) -> np.ndarray:
    """What the script of an environment does if this is its goal.

    Args:
        environment: its number.
        goal: its goal's number.
        observation: `(39,)` float64, its goal shown or not.

    Returns:
        `(4,)`, in [−1, 1].
    """
    told = observation.copy()
    told[GOAL] = arena_of(environment, goal_visible=True).start(goal).observation[GOAL]
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it is clipped here
        chosen: np.ndarray = _script(environment).get_action(told)
    return chosen.clip(-1.0, 1.0)


@cache
def _script(environment: int) -> Any:
    load_metaworld()
    scripts = importlib.import_module("metaworld.policies").ENV_POLICY_MAP
    return scripts[f"{ENVIRONMENTS[environment]}-v3"]()
