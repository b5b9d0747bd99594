"""The environments against Gymnasium's own HalfCheetah-v5.

Gymnasium's episodes last 1000 steps, so its resets fall outside a short window; ours are 200 steps
long and every repetition holds one reset of every world.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

import quickstudy  # noqa: F401  registers the families
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks.interleave import Case, Measurement, interleave
from quickstudy.experiments.benchmarks.physics import (
    episode_slices,
    play_trials,
    random_actions,
    steps_in,
)
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare
from quickstudy.experiments.threads import ACTING, torch_threads

FAMILY = "HalfCheetahDir"
GYM_ID = "HalfCheetah-v5"
NUM_ACTIONS = 6
SYNC_SHARE = 5
"""A slice of the synchronous vector has this many times fewer steps, to last about as long."""


@contextmanager
def quiet_mujoco() -> Iterator[None]:
    """Keep MuJoCo's complaint about Gymnasium's `settotalmass` off the screen and off the disk.

    By default every load of that file prints a warning and appends it to MUJOCO_LOG.TXT in the
    working directory. Other warnings are printed.
    """
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_warn)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def vector_benchmark(num_worlds: int, at_least: float) -> Benchmark:
    """`TrialEnv` and `gymnasium.make_vec` against `SyncVectorEnv`."""
    name = f"gymnasium/vector-{num_worlds}"
    names = (f"{name} TrialEnv", f"{name} make_vec")

    def run(effort: Effort) -> list[Result]:
        with torch_threads(ACTING), quiet_mujoco():
            sync = gym.vector.SyncVectorEnv([_make_theirs] * num_worlds)
            ours = gym.make_vec(f"quickstudy/{FAMILY}-v0", num_envs=num_worlds)
            trials = TrialEnv(FAMILY, num_worlds, episode_length=effort.episode_length)
            reference, *rest = _time_vectors(sync, ours, trials, effort)
            sync.close()
            ours.close()
        bar = Bar("at least", at_least)
        return [
            compare(name, measured, reference, bar, notes=(f"reference: SyncVectorEnv({GYM_ID})",))
            for name, measured in zip(names, rest, strict=True)
        ]

    return Benchmark(name, run)


def single_benchmark(at_least: float) -> Benchmark:
    """One environment with Gymnasium's default wrappers, theirs against ours."""
    name = "gymnasium/single"

    def run(effort: Effort) -> list[Result]:
        with torch_threads(ACTING), quiet_mujoco():
            theirs, ours = _make_theirs(), gym.make(f"quickstudy/{FAMILY}-v0")
            cases = (_single_case(GYM_ID, theirs, effort), _single_case(FAMILY, ours, effort))
            reference, measured = interleave(cases, effort.plan)
            theirs.close()
            ours.close()
        note = f"reference: gymnasium.make({GYM_ID!r})"
        return [compare(name, measured, reference, Bar("at least", at_least), notes=(note,))]

    return Benchmark(name, run)


def _make_theirs() -> gym.Env[Any, Any]:
    return gym.make(GYM_ID)


def _time_vectors(
    sync: gym.vector.VectorEnv[Any, Any, Any],
    ours: gym.vector.VectorEnv[Any, Any, Any],
    trials: TrialEnv,
    effort: Effort,
) -> list[Measurement]:
    action_TNA = random_actions(effort, trials.num_worlds, NUM_ACTIONS)
    slices = episode_slices(effort)
    few = [slice(s.start, s.start + math.ceil(steps_in(s) / SYNC_SHARE)) for s in slices]
    sync.reset(seed=effort.seed)
    ours.reset(seed=effort.seed)
    trials.reset(effort.seed)
    cases = (
        Case("SyncVectorEnv", play_vector(sync, action_TNA, few)),
        Case("TrialEnv", play_trials(trials, action_TNA, slices)),
        Case("make_vec", play_vector(ours, action_TNA, slices)),
    )
    return interleave(cases, effort.plan)


def play_vector(
    envs: gym.vector.VectorEnv[Any, Any, Any], action_TNA: np.ndarray, slices: list[slice]
) -> Callable[[], int]:
    """Plays the next slice at each call; the environments reset themselves."""
    parts = itertools.cycle(slices)

    def run() -> int:
        part = next(parts)
        for action_NA in action_TNA[part]:
            envs.step(action_NA)
        return envs.num_envs * steps_in(part)

    return run


def _single_case(name: str, env: gym.Env[Any, Any], effort: Effort) -> Case:
    action_TA = random_actions(effort, 1, NUM_ACTIONS)[:, 0]
    parts = itertools.cycle(episode_slices(effort))
    env.reset(seed=effort.seed)

    def run() -> int:
        part = next(parts)
        for action_A in action_TA[part]:
            _, _, terminated, truncated, _ = env.step(action_A)
            if terminated or truncated:
                env.reset()
        return steps_in(part)

    return Case(name, run)


def _warn(message: str) -> None:
    if "settotalmass" not in message:
        print(f"WARNING: {message}", file=sys.stderr)  # noqa: T201  as MuJoCo itself does
