"""The benchmarks' arithmetic and wiring; no test here asserts how fast anything is."""

import json
import subprocess

import mujoco
import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console

from quickstudy.envs.batch_engine import load_model
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks import bench as bench_module
from quickstudy.experiments.benchmarks import (
    c_loop,
    families,
    gymnasium_baselines,
    interleave,
)
from quickstudy.experiments.benchmarks.bench import BenchConfig, bench, select
from quickstudy.experiments.benchmarks.c_loop import STATE, CLoop, RolloutLoop, physics_loop
from quickstudy.experiments.benchmarks.gymnasium_baselines import single_benchmark, vector_benchmark
from quickstudy.experiments.benchmarks.interleave import Case, Plan
from quickstudy.experiments.benchmarks.memory import memory_benchmark
from quickstudy.experiments.benchmarks.physics import (
    episode_slices,
    physics_benchmark,
    physics_cases,
    steps_in,
)
from quickstudy.experiments.benchmarks.result import Bar, Effort, Result
from quickstudy.experiments.benchmarks.training import Stopwatch, shares, training_benchmark

TINY = Effort(
    plan=Plan(rounds=2, seconds=0.0, min_repetitions=2, warm_up=False), episode_length=4, epochs=1
)


def start_states(model, num_worlds):
    """Different states, feet near the floor, as integration rows."""
    generator = np.random.default_rng(3)
    rows = []
    for _ in range(num_worlds):
        data = mujoco.MjData(model)
        data.qpos[:] = generator.uniform(-0.1, 0.1, model.nq)
        data.qvel[:] = generator.normal(0.0, 0.5, model.nv)
        row = np.empty(mujoco.mj_stateSize(model, STATE))
        mujoco.mj_getState(model, data, row, STATE)
        rows.append(row)
    return np.stack(rows)


def python_loop(model, state_NS, ctrl_TNA, substeps):
    """The plainest way to step: the reference."""
    finals = []
    for n, state_S in enumerate(state_NS):
        data = mujoco.MjData(model)
        mujoco.mj_setState(model, data, state_S, STATE)
        for ctrl_NA in ctrl_TNA:
            data.ctrl[:] = ctrl_NA[n]
            for _ in range(substeps):
                mujoco.mj_step(model, data)
        final = np.empty_like(state_S)
        mujoco.mj_getState(model, data, final, STATE)
        finals.append(final)
    return np.stack(finals)


@pytest.mark.parametrize("loop_class", [CLoop, RolloutLoop])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_loop_equals_python_loop_bit_for_bit(loop_class, num_threads):
    model = load_model("half_cheetah.xml")
    ctrl_TNA = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 5, model.nu))
    start_NS = start_states(model, 5)
    loop = loop_class(model, 5, 5, num_threads)
    loop.load(start_NS)
    loop.play(ctrl_TNA[:10])
    loop.play(ctrl_TNA[10:])
    expected_NS = python_loop(model, start_NS, ctrl_TNA, substeps=5)
    assert np.array_equal(loop.state(), expected_NS)
    assert not np.array_equal(expected_NS, start_NS)


def test_both_cases_of_a_physics_benchmark_do_the_same_physics():
    env = TrialEnv("HalfCheetahDir", 3, episode_length=7)
    loop, (reference, ours) = physics_cases(env, Effort(plan=Plan(rounds=3), episode_length=7))
    for _ in range(2):
        reference.prepare()
        for part in range(3):
            assert reference.run() == ours.run()
            if part < 2:  # at the episode's end the environment resets
                rows = env.family.engine.state_dict()["rows"].numpy()
                assert np.array_equal(loop.state(), rows)


def test_without_a_compiler_the_rollout_stands_in(monkeypatch):
    monkeypatch.setenv("CC", "there-is-no-such-compiler")
    c_loop._library.cache_clear()
    model = load_model("half_cheetah.xml")
    assert physics_loop(model, 2, 5, 1).name == "Batch.rollout"
    monkeypatch.setenv("CC", "false")
    assert physics_loop(model, 2, 5, 1).name == "Batch.rollout"


class FakeClock:
    """Time that passes only when a case says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def case(self, name, frames, seconds, log=None):
        durations = iter(seconds)

        def run():
            self.now += next(durations)
            if log is not None:
                log.append(name)
            return frames

        def prepare():
            self.now += 100.0  # must not count

        return Case(name, run, prepare)


def test_ratios_by_hand():
    clock = FakeClock()
    # Two repetitions of two rounds. Reference: 20 frames in 1 + 1 s, then in 1 + 3 s: 10/s and 5/s.
    # Ours: 40 frames in 2 + 3 s, then in 1 + 4 s: 8/s and 8/s. Ratios 0.8 and 1.6, median 1.2.
    cases = (
        clock.case("reference", 10, [1.0, 1.0, 1.0, 3.0]),
        clock.case("ours", 20, [2.0, 3.0, 1.0, 4.0]),
    )
    plan = Plan(rounds=2, seconds=0.0, min_repetitions=2, warm_up=False)
    reference, ours = interleave.interleave(cases, plan, clock)
    assert reference.rates == pytest.approx((10.0, 5.0))
    assert reference.ratios == (1.0, 1.0)
    assert ours.rates == pytest.approx((8.0, 8.0))
    assert ours.ratios == pytest.approx((0.8, 1.6))
    assert ours.ratio == pytest.approx(1.2)
    assert ours.rate == pytest.approx(8.0)


def test_cases_take_turns_and_the_warm_up_is_discarded():
    clock, log = FakeClock(), []
    cases = (clock.case("a", 1, [50.0, 50.0, 1.0, 1.0], log), clock.case("b", 1, [1.0] * 4, log))
    plan = Plan(rounds=2, seconds=0.0, min_repetitions=1)
    a, b = interleave.interleave(cases, plan, clock)
    assert "".join(log) == "abba" * 2
    assert a.rates == (1.0,)
    assert b.ratios == (1.0,)


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 2), (5.0, 3), (1e6, 4)])
def test_repetitions_end_by_time_within_their_limits(seconds, expected):
    clock = FakeClock()
    only = Case("only", clock.case("only", 1, [2.0] * 4).run)
    plan = Plan(1, seconds, min_repetitions=2, max_repetitions=4, warm_up=False)
    (measured,) = interleave.interleave((only,), plan, clock)
    assert len(measured.rates) == expected


@pytest.mark.parametrize(("length", "rounds"), [(200, 8), (7, 3), (4, 2)])
def test_slices_cover_an_episode(length, rounds):
    slices = episode_slices(Effort(plan=Plan(rounds=rounds), episode_length=length))
    assert len(slices) == rounds
    assert sum(map(steps_in, slices)) == length
    assert [t for part in slices for t in range(length)[part]] == list(range(length))


def test_shares_by_hand():
    # 10 s of rollout, of which 6 in env.step, of which 4 physics; 10 s of update.
    seconds = {"physics": 4.0, "environment": 6.0, "rollout": 10.0, "update": 10.0}
    assert shares(seconds) == pytest.approx(
        {
            "physics share": 0.2,
            "environment share": 0.1,
            "policy share": 0.2,
            "update share": 0.5,
        }
    )


def test_stopwatch_passes_calls_through():
    class Adder:
        def add(self, a, b):
            return a + b

    adder, stopwatch = Adder(), Stopwatch()
    stopwatch.watch("adding", adder, "add")
    assert adder.add(1, b=2) == 3
    assert stopwatch.seconds["adding"] > 0.0


@pytest.mark.parametrize(
    ("bar", "value", "met"),
    [
        (Bar("at least", 0.9), 0.9, True),
        (Bar("at least", 0.9), 0.89, False),
        (Bar("at most", 2.0), 1.5, True),
        (Bar("at most", 2.0), 2.1, False),
        (None, 1.0, None),
        (Bar("at most", 2.0), None, None),
    ],
)
def test_bars(bar, value, met):
    assert Result("x", value, bar).met is met


def test_only_the_known_warning_is_dropped(capsys):
    gymnasium_baselines._warn("compiler attribute 'settotalmass' is deprecated")
    gymnasium_baselines._warn("something else")
    assert capsys.readouterr().err == "WARNING: something else\n"


@pytest.fixture
def tiny_benchmarks(monkeypatch):
    """The same benchmarks over a few worlds and steps."""
    pytest.importorskip("sb3_contrib")
    tiny = [
        physics_benchmark("HalfCheetahDir", 3, at_least=0.0),
        vector_benchmark(2, at_least=0.0),
        single_benchmark(at_least=0.0),
        training_benchmark(4, at_least=0.0, shared=True),
        memory_benchmark(4, at_most=1e9),
    ]
    monkeypatch.setitem(bench_module.SUITES, "core", lambda: tiny)
    monkeypatch.setattr(bench_module, "QUICK", TINY)


def test_quick_run_at_tiny_size(tiny_benchmarks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bench.json"
    console = Console(record=True, width=120)
    results = bench(BenchConfig(json=path, quick=True, seed=5), console)
    text = console.export_text()
    record = json.loads(path.read_text())
    cases = [entry["case"] for entry in record["results"]]
    assert cases == [result.case for result in results]
    assert len(cases) == 6
    for entry in record["results"]:
        assert entry["case"] in text
        assert entry["met"] is True
        assert entry["value"] > 0.0
        if entry["measured"] is not None:
            assert len(entry["measured"]["ratios"]) == 2
            assert len(entry["reference"]["rates"]) == 2
    training = record["results"][4]
    assert sum(training["details"].values()) == pytest.approx(1.0)
    assert record["seed"] == 5
    assert record["versions"]["mujoco"] == mujoco.__version__
    assert {"timestamp", "cpus", "load_average_before", "load_average_after"} <= record.keys()
    assert list(tmp_path.iterdir()) == [path], "MUJOCO_LOG.TXT left behind?"


def test_filters(tiny_benchmarks):
    every = bench_module.SUITES["core"]()
    assert select(every, ()) == every
    assert [b.name for b in select(every, ("single", "memory"))] == [
        "gymnasium/single",
        "memory/HalfCheetahDir-4",
    ]
    with pytest.raises(ValueError, match="Did you mean 'memory/HalfCheetahDir-4'"):
        select(every, ("memory/HalfCheetahDir-5",))


def test_family_steps_are_counted_in_all_worlds():
    """200 steps of 3 worlds."""
    assert families.stepping("GridNavi", 3)() == 600
    (result,) = families.family_benchmark("GridNavi", 3, at_least=0.0).run(TINY)
    assert (result.unit, result.met) == ("M/s", True)


def test_every_exact_family_of_discrete_actions_is_measured():
    """All but the probes, and CartPole, whose best score nobody computes."""
    discrete = {n for n in FAMILIES if isinstance(family_class(n).action_space, spaces.Discrete)}
    probes = {name for name in FAMILIES if name.startswith("Probe")}
    assert discrete - probes - {"CartPole"} == set(families.EXACT_FAMILIES)


def test_bad_input_is_refused_before_measuring(monkeypatch, tmp_path):
    monkeypatch.setattr(bench_module, "run_all", lambda *_: pytest.fail("it measured"))
    with pytest.raises(ValueError, match="there is no folder"):
        bench(BenchConfig(json=tmp_path / "nowhere" / "bench.json"))
    with pytest.raises(ValueError, match="Unknown device 'cuba'"):
        bench(BenchConfig(device="cuba"))
    with pytest.raises(ValueError, match=r"Unknown suite 'model'\. Did you mean 'models'"):
        bench(BenchConfig(suite="model"))
    with pytest.raises(ValueError, match="Unknown benchmark"):
        bench(BenchConfig(only=("nothing like it",)))


def test_a_failing_compiler_is_no_silent_failure(monkeypatch):
    monkeypatch.setenv("CC", "false")
    c_loop._library.cache_clear()
    with pytest.raises(subprocess.CalledProcessError):
        CLoop(load_model("half_cheetah.xml"), 1, 5, 1)
