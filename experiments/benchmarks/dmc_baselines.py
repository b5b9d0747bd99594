"""The control suite's families against dm_control's own environments, stepped in Python.

Shape legend: T steps of an episode, A action dimensions.
"""

import importlib
import itertools
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from quickstudy.envs.headless import mujoco
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks.envs import brief_benchmark
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.physics import (
    episode_slices,
    play_trials,
    random_actions,
    steps_in,
)
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare

SUITE_TASKS = {
    "DMCAcrobotSwingup": ("acrobot", "swingup"),
    "DMCBallInCupCatch": ("ball_in_cup", "catch"),
    "DMCCartpoleBalance": ("cartpole", "balance"),
    "DMCCartpoleSwingup": ("cartpole", "swingup"),
    "DMCFingerSpin": ("finger", "spin"),
    "DMCFingerTurnEasy": ("finger", "turn_easy"),
    "DMCFingerTurnHard": ("finger", "turn_hard"),
    "DMCPendulumSwingup": ("pendulum", "swingup"),
    "DMCPointMassEasy": ("point_mass", "easy"),
    "DMCPointMassHard": ("point_mass", "hard"),
    "DMCReacherEasy": ("reacher", "easy"),
    "DMCReacherHard": ("reacher", "hard"),
}
"""Our families' domain and task in dm_control."""


def dmc_benchmark(family: str, num_worlds: int, at_least: float) -> Benchmark:
    """`TrialEnv` against one dm_control environment, reset at the end of equally long episodes."""
    name, bar = f"dmc/{family}-{num_worlds}", Bar("at least", at_least)

    def measure(effort: Effort) -> Result:
        env = TrialEnv(family, num_worlds, episode_length=effort.episode_length)
        reference, measured = interleave(dmc_cases(env, effort), effort.plan)
        note = f"reference: one dm_control environment, {'.'.join(SUITE_TASKS[family])}"
        return compare(name, measured, reference, bar, notes=(note,))

    return brief_benchmark(name, bar, measure)


def dmc_cases(env: TrialEnv, effort: Effort) -> tuple[Case, Case]:
    """dm_control's environment, and ours."""
    env.reset(effort.seed)
    size, slices = env.blank_action.shape[1], episode_slices(effort)
    action_TA = random_actions(effort, 1, size)[:, 0].astype(np.float64)
    theirs = play_suite(suite_environment(env, effort.seed), action_TA, slices)
    ours = play_trials(env, random_actions(effort, env.num_worlds, size), slices)
    return Case("dm_control", theirs), Case("TrialEnv", ours)


def suite_environment(env: TrialEnv, seed: int) -> Any:
    """dm_control's own environment of the same task, with episodes of the same length."""
    assert isinstance(env.family, MujocoFamily)
    # Half a step less, so that no rounding makes it a step more.
    seconds = (env.episode_length - 0.5) * env.family.engine.dt
    options = {"random": seed, "time_limit": seconds}
    return load_suite().load(*SUITE_TASKS[env.name], task_kwargs=options)


def play_suite(env: Any, action_TA: np.ndarray, slices: list[slice]) -> Callable[[], int]:
    """Plays the next slice of an episode at each call; an ended one is reset."""
    parts = itertools.cycle(slices)
    env.reset()

    def run() -> int:
        part = next(parts)
        for action_A in action_TA[part]:
            if env.step(action_A).last():
                env.reset()
        return steps_in(part)

    return run


@cache
def load_suite() -> Any:
    """The module `dm_control.suite`, made to run on MuJoCo 4.

    dm_control 1.0.50 lists fields of the flexible bodies that MuJoCo 4 has no more; no task here
    uses them, so they are struck from its list before it looks for them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its window library finds no screen
        sizes = importlib.import_module("dm_control.mujoco.wrapper.mjbindings.sizes")
        model = mujoco.MjModel.from_xml_string("<mujoco/>")
        for name, struct in (("mjmodel", model), ("mjdata", mujoco.MjData(model))):
            known = sizes.array_sizes[name]
            gone = [field for field in known if not hasattr(struct, field)]
            assert all(field.startswith("flex") for field in gone), gone
            for field in gone:
                del known[field]
        return importlib.import_module("dm_control.suite")
