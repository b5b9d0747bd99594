"""Training end to end (rollout and update), against sb3-contrib's RecurrentPPO.

Both learn HalfCheetah from the same batch: as many environments and steps, minibatches of as many
frames, as many epochs, recurrent layers of 128 units, heads with one hidden layer of 128. The
baseline is given its fastest set-up: DummyVecEnv (stepping 64 worker processes is slower on few
cores), one torch thread to act with, and to update with one or all, whichever is faster when tried.
It is measured twice: as the library sets it up, with a second LSTM for the value (`default`), and
with one LSTM that policy and value share, as ours do (`shared`).
"""

import dataclasses
import functools
import importlib.util
import math
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch

from quickstudy.agents.learner import LearnerConfig
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.experiments.benchmarks.gymnasium_baselines import FAMILY, GYM_ID, quiet_mujoco
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.threads import ACTING, available, torch_threads
from quickstudy.experiments.training import Training

HIDDEN = 128
MINIBATCHES = 2
EPISODES = 2


def training_benchmark(num_worlds: int, at_least: float, *, shared: bool) -> Benchmark:
    """Frames per second of `train` against RecurrentPPO's, and where ours go.

    `shared`: whether the baseline's value reads the policy's LSTM instead of its own.
    """
    name = f"training/RecurrentPPO-{'shared' if shared else 'default'}-{num_worlds}"

    def run(effort: Effort) -> list[Result]:
        bar = Bar("at least", at_least)
        if importlib.util.find_spec("sb3_contrib") is None:
            note = "skipped: needs sb3-contrib (pip install 'quickstudy[dev]')"
            return [Result(name, None, bar, notes=(note,))]
        return [_against_recurrent_ppo(name, num_worlds, bar, effort, shared)]

    return Benchmark(name, run)


class Stopwatch:
    """Adds up the time spent in methods of objects."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def watch(self, name: str, owner: object, method: str) -> None:
        """Count the calls of `owner.method` from now on under `name`."""
        inner: Callable[..., Any] = getattr(owner, method)
        self.seconds[name] = 0.0

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - start

        setattr(owner, method, timed)


def watched(training: Training) -> Stopwatch:
    """A stopwatch on the parts of a training run."""
    stopwatch = Stopwatch()
    family = training.actor.env.family
    assert isinstance(family, MujocoFamily)
    stopwatch.watch("physics", family.engine, "step")
    stopwatch.watch("environment", training.actor.env, "step")
    stopwatch.watch("rollout", training.actor, "collect")
    stopwatch.watch("update", training.learner, "update")
    return stopwatch


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """What part of rollout and update each kind of work takes, from nested times.

    `physics` is MuJoCo's, `environment` the rest of the environment's step (observation, reward,
    resets), `policy` the rest of the rollout, `update` the learner's.
    """
    total = seconds["rollout"] + seconds["update"]
    parts = {
        "physics": seconds["physics"],
        "environment": seconds["environment"] - seconds["physics"],
        "policy": seconds["rollout"] - seconds["environment"],
        "update": seconds["update"],
    }
    return {f"{name} share": part / total for name, part in parts.items()}


def our_training(num_worlds: int, effort: Effort) -> Training:
    """A run whose every update makes all its epochs."""
    config = resolve(
        TrainConfig(
            family=FAMILY,
            worlds=num_worlds,
            seed=effort.seed,
            episode_length=effort.episode_length,
            episodes_per_trial=EPISODES,
        )
    )
    learner = LearnerConfig(
        epochs=effort.epochs,
        minibatch_frames=config.frames_per_update // MINIBATCHES,
        stop_divergence=math.inf,
    )
    return Training(dataclasses.replace(config, learner=learner))


class RecurrentBaseline:
    """sb3-contrib's RecurrentPPO on Gymnasium's HalfCheetah, one update at a time."""

    def __init__(self, num_worlds: int, effort: Effort, shared: bool) -> None:
        """Build it, and find out how many torch threads its update is fastest with."""
        self._learner = _recurrent_ppo(num_worlds, effort, shared)
        self._frames = num_worlds * effort.episode_length * EPISODES
        self.threads = min({ACTING, available()}, key=self._seconds)

    def update(self) -> int:
        """One rollout and its epochs; returns the frames in it."""
        self._learn(self.threads)
        return self._frames

    def close(self) -> None:
        self._learner.env.close()

    def _seconds(self, threads: int) -> float:
        start = time.perf_counter()
        self._learn(threads)
        return time.perf_counter() - start

    def _learn(self, threads: int) -> None:
        callback = _switch_threads(threads)
        self._learner.learn(self._frames, callback=callback, reset_num_timesteps=False)


def _switch_threads(threads: int) -> Any:
    """A callback under which RecurrentPPO acts with one torch thread and updates with `threads`."""
    from stable_baselines3.common.callbacks import BaseCallback

    class SwitchThreads(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            torch.set_num_threads(ACTING)

        def _on_rollout_end(self) -> None:
            torch.set_num_threads(threads)

    return SwitchThreads()


def _recurrent_ppo(num_worlds: int, effort: Effort, shared: bool) -> Any:
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    make = functools.partial(gym.make, GYM_ID, max_episode_steps=effort.episode_length)
    num_steps = effort.episode_length * EPISODES
    return RecurrentPPO(
        "MlpLstmPolicy",
        DummyVecEnv([make] * num_worlds),
        n_steps=num_steps,
        batch_size=num_worlds * num_steps // MINIBATCHES,
        n_epochs=effort.epochs,
        seed=effort.seed,
        device="cpu",
        policy_kwargs={
            "lstm_hidden_size": HIDDEN,
            "shared_lstm": shared,
            "enable_critic_lstm": not shared,
            "net_arch": {"pi": [HIDDEN], "vf": [HIDDEN]},
        },
    )


def _against_recurrent_ppo(
    name: str, num_worlds: int, bar: Bar, effort: Effort, shared: bool
) -> Result:
    frames = num_worlds * effort.episode_length * EPISODES
    with torch_threads(ACTING), quiet_mujoco():
        baseline = RecurrentBaseline(num_worlds, effort, shared)
        training = our_training(num_worlds, effort)
        stopwatch = watched(training)

        def update() -> int:
            training.update()
            return frames

        plan = dataclasses.replace(effort.plan, rounds=1)
        cases = (Case("RecurrentPPO", baseline.update), Case("train", update))
        reference, measured = interleave(cases, plan)
        baseline.close()
    note = f"reference: sb3-contrib, DummyVecEnv, updating with {baseline.threads} torch thread(s)"
    return compare(name, measured, reference, bar, notes=(note,), details=shares(stopwatch.seconds))
