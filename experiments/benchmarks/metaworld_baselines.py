"""Meta-World's families against the package's own asynchronous vector environment."""

import multiprocessing
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv

from quickstudy.envs.metaworld.package import load_metaworld
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import FixedTasks, TrialEnv
from quickstudy.experiments.benchmarks.envs import brief_benchmark
from quickstudy.experiments.benchmarks.gymnasium_baselines import play_vector
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.physics import episode_slices, play_trials, random_actions
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare

PACKAGE_IDS: dict[str, tuple[str, dict[str, Any]]] = {
    "ML1Reach": ("Meta-World/ML1-train", {"env_name": "reach-v3"}),
    "ML10": ("Meta-World/ML10-train", {}),
}
"""What the package calls our `MetaWorld…`, and what else it must be told."""


def metaworld_benchmark(benchmark: str, num_worlds: int, at_least: float) -> Benchmark:
    """`TrialEnv` against `gymnasium.make_vec` with `vector_strategy="async"`.

    Both play all of the benchmark's environments equally often (the package wants a multiple of
    their number), each world one task, in episodes of 500 steps, which end in the same repetitions.
    """
    name, bar = f"metaworld/{benchmark}-{num_worlds}", Bar("at least", at_least)

    def measure(effort: Effort) -> Result:
        if multiprocessing.get_start_method() != "fork":
            note = "skipped: the package fails on MuJoCo 4, unless its processes are forked"
            return Result(name, None, bar, notes=(note,))
        theirs = package_vector(benchmark, num_worlds, effort.seed)
        ours = our_worlds(benchmark, num_worlds)
        try:
            reference, measured = interleave(metaworld_cases(theirs, ours, effort), effort.plan)
        finally:
            theirs.close()
            ours.close()
        note = f"reference: {PACKAGE_IDS[benchmark][0]}, async"
        return compare(name, measured, reference, bar, notes=(note,))

    return brief_benchmark(name, bar, measure)


def package_vector(benchmark: str, num_worlds: int, seed: int) -> AsyncVectorEnv:
    """Worlds as Meta-World's users make them: a process for each."""
    load_metaworld()  # registers its ids, and mends what its processes inherit
    name, arguments = PACKAGE_IDS[benchmark]
    envs = gym.make_vec(
        name, vector_strategy="async", seed=seed, meta_batch_size=num_worlds, **arguments
    )
    assert isinstance(envs, AsyncVectorEnv)
    return envs


def our_worlds(benchmark: str, num_worlds: int) -> TrialEnv:
    """The first tasks of the training split, which take the environments in turn."""
    family = f"MetaWorld{benchmark}"
    task_ND = family_class(family).task_space.listing("train", num_worlds, 0)
    return TrialEnv(family, num_worlds, task_source=FixedTasks(task_ND))


def metaworld_cases(theirs: AsyncVectorEnv, ours: TrialEnv, effort: Effort) -> tuple[Case, Case]:
    """The package's worlds, and ours; all act alike."""
    action_TNA = random_actions(effort, ours.num_worlds, ours.blank_action.shape[1])
    slices = episode_slices(effort)
    theirs.call("sample_tasks")  # without which they have none; they keep it at later resets
    theirs.reset(seed=effort.seed)
    ours.reset(effort.seed)
    return (
        Case("AsyncVectorEnv", play_vector(theirs, action_TNA, slices)),
        Case("TrialEnv", play_trials(ours, action_TNA, slices)),
    )
