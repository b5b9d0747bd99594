"""A full environment step (observation, reward, resets) against the physics alone.

Both play the same random actions from the same states. A repetition is one whole episode, so its
timed window holds one reset of every world, as any stretch of training does on average.

Shape legend: T steps of an episode, N worlds, A action dimensions.
"""

import itertools
from collections.abc import Callable

import numpy as np
import torch

from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks.c_loop import PhysicsLoop, physics_loop
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare
from quickstudy.experiments.threads import ACTING, available, torch_threads


def physics_benchmark(family: str, num_worlds: int, at_least: float) -> Benchmark:
    """`TrialEnv.step` of a family against the C loop."""
    name = f"physics/{family}-{num_worlds}"

    def run(effort: Effort) -> list[Result]:
        with torch_threads(ACTING):
            env = TrialEnv(family, num_worlds, episode_length=effort.episode_length)
            loop, cases = physics_cases(env, effort)
            reference, measured = interleave(cases, effort.plan)
        note = "reference: " + loop.name
        return [compare(name, measured, reference, Bar("at least", at_least), notes=(note,))]

    return Benchmark(name, run)


def physics_cases(env: TrialEnv, effort: Effort) -> tuple[PhysicsLoop, tuple[Case, Case]]:
    """The physics loop, and the two cases: it and the environment."""
    env.reset(effort.seed)
    assert isinstance(env.family, MujocoFamily)
    engine = env.family.engine
    action_TNA = random_actions(effort, env.num_worlds, engine.mjmodel.nu)
    loop = physics_loop(engine.mjmodel, env.num_worlds, engine.substeps, available())
    slices = episode_slices(effort)

    def load() -> None:
        """The states that the environment's next episode starts from."""
        loop.load(engine.state_dict()["rows"].numpy())

    ours = Case("TrialEnv", play_trials(env, action_TNA, slices))
    return loop, (Case(loop.name, _play_loop(loop, action_TNA, slices), load), ours)


def random_actions(effort: Effort, num_worlds: int, num_actions: int) -> np.ndarray:
    """An episode of uniform actions, float32 `(T, N, A)`."""
    generator = np.random.default_rng(effort.seed)
    shape = (effort.episode_length, num_worlds, num_actions)
    return generator.uniform(-1.0, 1.0, shape).astype(np.float32)


def episode_slices(effort: Effort) -> list[slice]:
    """An episode's steps in as many slices as a repetition has rounds."""
    cuts = np.linspace(0, effort.episode_length, effort.plan.rounds + 1).round().astype(int)
    return [slice(a, b) for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)]


def steps_in(part: slice) -> int:
    """How many steps a slice has."""
    return len(range(part.start, part.stop))


def play_trials(env: TrialEnv, action_TNA: np.ndarray, slices: list[slice]) -> Callable[[], int]:
    """Plays the next slice of an episode at each call."""
    episode = torch.from_numpy(action_TNA)
    parts = itertools.cycle(slices)

    def run() -> int:
        part = next(parts)
        for action_NA in episode[part]:
            env.step(action_NA)
        env.finished()
        return env.num_worlds * steps_in(part)

    return run


def _play_loop(loop: PhysicsLoop, action_TNA: np.ndarray, slices: list[slice]) -> Callable[[], int]:
    ctrl_TNA = action_TNA.astype(np.float64)
    num_worlds = len(action_TNA[0])
    parts = itertools.cycle(slices)

    def run() -> int:
        part = next(parts)
        loop.play(ctrl_TNA[part])
        return num_worlds * steps_in(part)

    return run
