"""`bench envs`: its cases do the same physics, its suite is complete. No speed is asserted."""

import itertools

import numpy as np
import pytest
import torch
from rich.console import Console

from quickstudy.envs import rng
from quickstudy.envs.body_family import BodyFamily
from quickstudy.envs.errors import MissingExtraError
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.registry import FAMILIES, family_class, make_family
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks import bench as bench_module
from quickstudy.experiments.benchmarks import envs
from quickstudy.experiments.benchmarks.bench import BenchConfig, bench
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.physics import episode_slices, random_actions
from quickstudy.experiments.benchmarks.result import Effort

TINY = Effort(
    plan=Plan(rounds=2, seconds=0.0, min_repetitions=2, warm_up=False), episode_length=4, epochs=1
)
SHORT = Effort(plan=Plan(rounds=3), episode_length=9)


def rows_of(env):
    return env.family.engine.state_dict()["rows"].numpy()


@pytest.mark.parametrize("family", ["HalfCheetahDir", "ReacherGoal", "PointRecall", "AntCrippled"])
def test_both_cases_do_the_same_physics_in_every_repetition(family):
    """PointRecall hands the engine other controls than the actions; bodies are all the same one."""
    env = TrialEnv(family, 3, episode_length=9, episodes_per_trial=1)
    loop, (reference, ours) = envs.environment_cases(env, SHORT)
    for _ in range(2):
        reference.prepare()
        ours.prepare()
        for part in range(3):
            assert reference.run() == ours.run() == 9
            if part < 2:  # at the episode's end the environment resets
                assert np.array_equal(loop.state(), rows_of(env)), part


def test_where_worlds_were_reset_the_loop_goes_on_from_their_states():
    """World 1 ends an episode in the second slice of three, and no other does."""
    env = TrialEnv("AntDir", 3, episode_length=9)
    env.reset(SHORT.seed)
    advance, steps = env.family._advance, []

    def fall_once(action):
        outcome = advance(action)
        steps.append(None)
        if len(steps) == 5:
            outcome.terminated[1] = True
        return outcome

    env.family._advance = fall_once
    slices = episode_slices(SHORT)
    action_TNA = np.zeros((9, 3, 8), np.float32)
    recording = envs.record(env, action_TNA, slices)
    assert [state is not None for state in recording.states] == [True, False, True]
    assert recording.ctrl_TNU.shape == (9, 3, 8)


def test_a_recording_holds_the_controls_and_leaves_the_engine_as_it_was():
    env = TrialEnv("HalfCheetahDir", 2, episode_length=9)
    env.reset(0)
    action_TNA = np.random.default_rng(0).uniform(-2.0, 2.0, (9, 2, 6)).astype(np.float32)
    recording = envs.record(env, action_TNA, episode_slices(SHORT))
    assert np.array_equal(recording.ctrl_TNU, np.clip(action_TNA, -1.0, 1.0))
    assert "step" not in vars(env.family.engine)


@pytest.mark.parametrize("family", envs.body_families())
def test_engines_with_one_body_and_with_own_bodies_do_the_same_sums(family):
    own, shared = envs.body_engines(family, 3, seed=0)
    shared.load_state_dict(own.state_dict())
    ctrl_TNU = torch.from_numpy(random_actions(SHORT, 3, own.mjmodel.nu))
    for engine in (own, shared):
        play = envs.play_engine(engine, ctrl_TNU, episode_slices(SHORT))
        assert [play() for _ in range(3)] == [9, 9, 9]
    assert torch.equal(own.state_dict()["rows"], shared.state_dict()["rows"])
    assert set(own.model) >= set(family_class(family).body_fields)
    assert not set(shared.model)


def test_levelled_bodies_are_the_models():
    """And stay so, whatever task comes."""
    family = make_family("HalfCheetahBody", 3)
    envs.start_over(family, rng.world_keys(0, rng.Stream.TASK, 3))
    mass = family.engine.model["body_mass"]
    base = torch.tensor(family.engine.mjmodel.body_mass)
    assert not torch.allclose(mass, base.expand_as(mass))
    envs.level(family)
    for seed in (1, 2):
        envs.start_over(family, rng.world_keys(seed, rng.Stream.TASK, 3))
        assert torch.equal(mass, base.expand_as(mass))


@pytest.mark.parametrize("new_tasks", [True, False])
def test_every_call_starts_episodes_on_other_tasks_or_the_same(monkeypatch, new_tasks):
    made = make_family("HalfCheetahVel", 5)
    envs.start_over(made, rng.world_keys(1, rng.Stream.TASK, 5))
    monkeypatch.setattr(envs, "make_family", lambda *_: made)
    run = envs.new_episodes("HalfCheetahVel", 5, new_tasks)
    seen = [(made.task_ND.clone(), made.observe()) for _ in range(3) if run() == 1]
    for before, after in itertools.pairwise(seen):
        assert not torch.equal(before[1], after[1])
        assert bool((before[0] == after[0]).all()) is not new_tasks
    assert bool(made.task_space.contains("train", made.task_ND).all())


def test_the_suite_measures_every_mujoco_family():
    names = [benchmark.name for benchmark in bench_module.SUITES["envs"]()]
    physical = [n for n in FAMILIES if issubclass(family_class(n), MujocoFamily)]
    assert len(names) == len(set(names))
    assert [n for n in names if n.startswith("envs/")] == [f"envs/{n}-256" for n in physical]
    bodies = [n for n in physical if issubclass(family_class(n), BodyFamily)]
    assert [n for n in names if n.startswith("bodies/")] == [f"bodies/{n}-256" for n in bodies]
    tasks = [n for n in names if n.startswith("tasks/")]
    assert {"tasks/AntDir-1024", "tasks/ReacherGoal-1024"} <= set(tasks)
    assert len(tasks) <= len(physical)


def test_a_family_gets_a_hundred_steps_and_few_seconds_at_most():
    short = envs.brief(Effort())
    assert (short.episode_length, short.plan.seconds, short.plan.min_repetitions) == (100, 6.0, 2)
    assert envs.brief(TINY) == TINY


def test_what_is_not_installed_is_said_and_not_measured():
    def measure(effort):
        raise MissingExtraError("pip install 'quickstudy[dmc]'")

    (result,) = envs.brief_benchmark("envs/X-1", None, measure).run(TINY)
    assert (result.value, result.met) == (None, None)
    assert "quickstudy[dmc]" in result.notes[0]


def test_a_tiny_run_of_all_three_kinds(monkeypatch):
    tiny = [
        envs.environment_benchmark("ReacherGoal", 2, at_least=0.0),
        envs.body_benchmark("AntCrippled", 2, at_most=1e9),
        envs.task_benchmark("ReacherGoal", 3, at_most=1e9),
    ]
    monkeypatch.setitem(bench_module.SUITES, "envs", lambda: tiny)
    monkeypatch.setattr(bench_module, "QUICK", TINY)
    console = Console(record=True, width=140)
    results = bench(BenchConfig(suite="envs", quick=True), console)
    assert [r.case for r in results] == [
        "envs/ReacherGoal-2",
        "bodies/AntCrippled-2",
        "tasks/ReacherGoal-3",
    ]
    assert [r.unit for r in results] == ["×", "×", "ms"]
    assert all(r.met for r in results)
    assert "actuator_gear" in console.export_text()
