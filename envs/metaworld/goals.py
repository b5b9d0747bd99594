"""The goals of Meta-World's benchmarks, drawn by Meta-World's own code but without its physics."""

import importlib
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.random import RandomState

from quickstudy.envs.metaworld.environments import ENVIRONMENTS, GOAL_SEED, GOALS
from quickstudy.envs.metaworld.package import load_metaworld


def environment_class(environment: int) -> Any:
    """Meta-World's class of an environment, by its number.

    Raises:
        ValueError: where metaworld is missing or of another version.
    """
    load_metaworld()
    classes = importlib.import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS
    return classes[f"{ENVIRONMENTS[environment]}-v3"]


@cache
def goals(environment: int) -> tuple[np.ndarray, ...]:
    """The random vectors of `metaworld.ML1(name, seed=0)`: 50 of its train tasks, 50 of its test's.

    A vector of 3 or 6 numbers fixes where goal and objects are, in metres.
    """
    env = environment_class(environment)()
    env.seeded_rand_vec = True
    env._freeze_rand_vec = False
    # No draw depends on the 500 steps in which a reset closes the hand (tested): 10 will do.
    env._reset_hand = partial(env._reset_hand, steps=1)
    return tuple(_draw(env, GOAL_SEED) + _draw(env, GOAL_SEED + 1))


def _draw(env: Any, seed: int) -> list[np.ndarray]:
    """The benchmark seeds NumPy's global generator; this is the same stream in a private one."""
    env.np_random = RandomState(seed)
    vectors = []
    for _ in range(GOALS):
        env.reset()
        vectors.append(env._last_rand_vec.copy())
    return vectors
