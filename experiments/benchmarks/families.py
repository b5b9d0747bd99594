"""How fast the families without physics step: random actions in `TrialEnv`, everything included."""

import dataclasses
from collections.abc import Callable

import torch

from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result
from quickstudy.experiments.policies import RandomPolicy
from quickstudy.experiments.threads import ACTING, torch_threads

EXACT_FAMILIES = (
    "Bandit2",
    "Bandit5",
    "Bandit10",
    "Bandit50",
    "TabularMDP",
    "GridNavi",
    "DarkRoom",
    "KeyToDoor",
    "MemoryChain",
)
STEPS = 200


def family_benchmark(family: str, num_worlds: int, at_least: float) -> Benchmark:
    """Millions of environment steps per second on one thread."""
    name = f"families/{family}-{num_worlds}"

    def run(effort: Effort) -> list[Result]:
        plan = dataclasses.replace(effort.plan, rounds=1, seconds=min(2.0, effort.plan.seconds))
        with torch_threads(ACTING):
            (measured,) = interleave((Case(family, stepping(family, num_worlds)),), plan)
        return [Result(name, measured.rate / 1e6, Bar("at least", at_least), "M/s")]

    return Benchmark(name, run)


def stepping(family: str, num_worlds: int) -> Callable[[], int]:
    """Takes 200 steps of actions drawn beforehand; returns the steps of all worlds."""
    env = TrialEnv(family, num_worlds)
    time_step = env.reset(0)
    policy = RandomPolicy(0)
    policy.begin(env)
    actions = torch.stack([policy.act(time_step) for _ in range(STEPS)])

    def run() -> int:
        for action in actions:
            env.step(action)
        env.finished()
        return STEPS * num_worlds

    return run
