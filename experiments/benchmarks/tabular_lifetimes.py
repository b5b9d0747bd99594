"""How fast populations of tabular agents live by rules of their own.

Shape legend: P agents, M parameters of a rule.
"""

from collections.abc import Callable

import torch

from quickstudy.agents.lifetimes.tabular import TabularConfig, TabularLifetimes
from quickstudy.agents.lifetimes.tabular_rules import LPGRuleConfig
from quickstudy.agents.objectives.lpg import LPGConfig
from quickstudy.envs import rng
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result
from quickstudy.experiments.threads import ACTING, torch_threads

BORN = 3
"""Updates made before anything is timed: policies are then no longer uniform."""


def tabular_benchmark(num_agents: int, width: int, at_least: float) -> Benchmark:
    """Millions of environment steps per second of P agents on small grid-worlds, on one thread.

    Acting, each agent's own LPG network of this width, and all tables' updates.
    """
    case = f"discovery/tabular-{num_agents}-lpg-{width}"

    def run(effort: Effort) -> list[Result]:
        with torch_threads(ACTING):
            update = one_update(num_agents, width, effort.seed)
            (measured,) = interleave((Case("tabular population", update),), effort.plan)
        bar = Bar("at least", at_least)
        return [Result(case, measured.rate / 1e6, bar, "M/s", measured)]

    return Benchmark(case, run)


def one_update(num_agents: int, width: int, seed: int) -> Callable[[], int]:
    """One update of every agent per call, of always the same population; returns the steps."""
    config = TabularConfig(rule=LPGRuleConfig(LPGConfig(width=width)), min_updates=BORN + 1)
    lifetimes = TabularLifetimes(config)
    key_P = rng.world_keys(seed, rng.Stream.STUDENT, num_agents)
    noise_PM = rng.normal(key_P, lifetimes.num_parameters).to(torch.float32)
    rule_PM = lifetimes.first_rule(seed) + 0.1 * noise_PM
    with torch.no_grad():
        rows = lifetimes.learn(rule_PM, lifetimes.begin(key_P), BORN)

    @torch.no_grad()
    def run() -> int:
        after = lifetimes.learn(rule_PM, rows, 1)
        return int((after["steps"] - rows["steps"]).sum())

    return run
