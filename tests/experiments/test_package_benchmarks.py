"""The cases of `bench envs` that run dm_control and Meta-World themselves. No speed is asserted."""

import numpy as np
import pytest

from quickstudy.envs.dmc import suite
from quickstudy.envs.metaworld import package
from quickstudy.envs.metaworld.package import load_metaworld
from quickstudy.envs.registry import FAMILIES
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks import metaworld_baselines
from quickstudy.experiments.benchmarks.bench import SUITES
from quickstudy.experiments.benchmarks.dmc_baselines import (
    SUITE_TASKS,
    dmc_benchmark,
    play_suite,
    suite_environment,
)
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.metaworld_baselines import metaworld_benchmark
from quickstudy.experiments.benchmarks.result import Effort

TINY = Effort(
    plan=Plan(rounds=2, seconds=0.0, min_repetitions=2, warm_up=False), episode_length=4, epochs=1
)


def test_the_suite_has_every_family_of_the_control_suite_and_two_of_metaworlds():
    names = [benchmark.name for benchmark in SUITES["envs"]()]
    families = [name for name in FAMILIES if name.startswith("DMC")]
    assert len(families) == 12
    assert [n for n in names if n.startswith("dmc/")] == [f"dmc/{f}-256" for f in families]
    theirs = [n for n in names if n.startswith("metaworld/")]
    assert theirs == ["metaworld/ML1Reach-10", "metaworld/ML10-10"]
    # The package refuses worlds among which its 50 tasks of each environment do not go round.
    for name, num_environments in zip(theirs, (1, 10), strict=True):
        assert 50 * num_environments % int(name.rpartition("-")[2]) == 0


@pytest.mark.parametrize("family", SUITE_TASKS)
def test_every_family_is_timed_against_dm_control(family):
    pytest.importorskip("dm_control", reason="pip install 'quickstudy[dmc]'")
    (result,) = dmc_benchmark(family, 2, at_least=0.0).run(TINY)
    assert result.met
    assert ".".join(SUITE_TASKS[family]) in result.notes[0]
    assert (result.reference.name, result.measured.name) == ("dm_control", "TrialEnv")


@pytest.mark.parametrize("family", ["DMCFingerSpin", "DMCBallInCupCatch", "DMCAcrobotSwingup"])
def test_dm_controls_episodes_are_as_long_and_reset_at_their_end(family):
    pytest.importorskip("dm_control", reason="pip install 'quickstudy[dmc]'")
    env = TrialEnv(family, 1, episode_length=7)
    theirs = suite_environment(env, seed=0)
    resets, reset = [], theirs.reset
    theirs.reset = lambda: resets.append(env) or reset()
    action_TA = np.zeros((7, env.blank_action.shape[1]))
    run = play_suite(theirs, action_TA, [slice(0, 3), slice(3, 7)])
    counts = [(run(), len(resets)) for _ in range(4)]
    assert counts == [(3, 1), (4, 2), (3, 2), (4, 3)]  # the first reset is the start


def fewer_goals(monkeypatch):
    """Each of the package's goals takes a second of physics."""
    monkeypatch.setattr(load_metaworld(), "_N_GOALS", 2)


def test_worlds_are_timed_against_the_packages_vector_environment(monkeypatch):
    fewer_goals(monkeypatch)
    (result,) = metaworld_benchmark("ML1Reach", 2, at_least=0.0).run(TINY)
    assert result.met
    assert result.reference.name == "AsyncVectorEnv"


@pytest.mark.slow
def test_ten_worlds_are_timed_on_ten_environments(monkeypatch):
    fewer_goals(monkeypatch)
    (result,) = metaworld_benchmark("ML10", 10, at_least=0.0).run(TINY)
    assert result.met


def test_both_play_each_environment_equally_often():
    worlds = metaworld_baselines.our_worlds("ML10", 20)
    environments = worlds._source.task_ND[:, 0].long()
    assert environments.bincount()[environments].tolist() == [2] * 20
    worlds.close()


def test_what_is_not_installed_is_skipped_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(suite, "find_spec", lambda name: None)
    monkeypatch.setattr(package, "installed_version", lambda: None)
    monkeypatch.setattr(metaworld_baselines, "load_metaworld", load_metaworld.__wrapped__)
    cases = (dmc_benchmark("DMCFingerSpin", 2, 10.0), metaworld_benchmark("ML1Reach", 2, 1.0))
    for case, extra in zip(cases, ("dmc", "metaworld"), strict=True):
        (result,) = case.run(TINY)
        assert (result.value, result.met) == (None, None)
        assert "skipped" in result.notes[0]
        assert f"quickstudy[{extra}]" in result.notes[0]


def test_metaworld_is_skipped_where_processes_are_not_forked(monkeypatch):
    monkeypatch.setattr(
        metaworld_baselines.multiprocessing, "get_start_method", lambda: "forkserver"
    )
    (result,) = metaworld_benchmark("ML1Reach", 2, 1.0).run(TINY)
    assert result.value is None
    assert "forked" in result.notes[0]
