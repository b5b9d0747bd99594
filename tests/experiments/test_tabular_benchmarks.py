"""The tabular populations' benchmark; nothing here asserts how fast anything is."""

from quickstudy.experiments.benchmarks.bench import SUITES
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.result import Effort
from quickstudy.experiments.benchmarks.tabular_lifetimes import one_update, tabular_benchmark


def test_an_update_is_a_rollout_of_every_agent():
    """16 copies, 20 steps, 3 agents."""
    assert one_update(3, 4, seed=0)() == 3 * 320


def test_the_value_is_in_millions_of_steps_per_second():
    plan = Plan(rounds=1, min_repetitions=1, max_repetitions=1, warm_up=False)
    (result,) = tabular_benchmark(2, 4, at_least=1.0).run(Effort(plan=plan))
    assert result.value == result.measured.rate / 1e6
    assert result.unit == "M/s"


def test_the_bars_are_the_issues():
    names = {benchmark.name for benchmark in SUITES["discovery"]()}
    assert names >= {"discovery/tabular-512-lpg-8", "discovery/tabular-512-lpg-16"}
