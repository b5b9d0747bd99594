"""The GPU's core cases: their arithmetic and wiring; nothing here asserts how fast anything is."""

import contextlib
import time

import pytest
import torch

from quickstudy.experiments.benchmarks import cuda_core
from quickstudy.experiments.benchmarks.bench import CUDA_SUITES
from quickstudy.experiments.benchmarks.cuda_core import Machine
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.result import Effort

TINY = Effort(plan=Plan(seconds=0.0, max_repetitions=2), episode_length=9, epochs=1)


class CallAgain:
    """Stands in for a CUDA graph: each replay is a call."""

    def warm_up(self):
        return contextlib.nullcontext()

    def record(self, step):
        self.replay = step


REHEARSAL = Machine("warp-cpu", CallAgain, time.perf_counter)


def test_the_core_suite_has_cuda_cases():
    names = [benchmark.name for benchmark in CUDA_SUITES["core"]()]
    memories = [benchmark.name for benchmark in CUDA_SUITES["models"]()]
    assert len(names) == len(set(names)) == 2 * 4 + 3 * 4 + len(memories)
    assert set(memories) < set(names), "one command measures everything"
    assert "acting/HalfCheetahVel-65536" in names
    assert "training/HalfCheetahVel-s5-4096" in names


def test_updates_stay_of_bounded_size():
    """In 8 worlds 2 · 9 steps; of 16 frames at most, 16 // (2 · 8) = 1 step an episode."""
    config = cuda_core.gpu_config("HalfCheetahVel", "rl2", 8, TINY, REHEARSAL)
    assert (config.episode_length, config.frames_per_update, config.num_updates) == (9, 144, 1)
    assert config.learner.minibatch_frames == 144 // cuda_core.MINIBATCHES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_core, "MOST_FRAMES", 16)
        config = cuda_core.gpu_config("HalfCheetahVel", "rl2", 8, TINY, REHEARSAL)
    assert (config.episode_length, config.frames_per_update) == (1, 16)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), ValueError("num_worlds=9 do not fit")]
)
def test_what_does_not_fit_says_so_and_the_rest_goes_on(error, monkeypatch):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(cuda_core, "TrialEnv", refuse)
    monkeypatch.setattr(cuda_core, "Training", refuse)
    (acting,) = cuda_core.measure_acting("HalfCheetahVel", 9, TINY, REHEARSAL)
    (training,) = cuda_core.measure_training("HalfCheetahVel", "rl2", 9, TINY, REHEARSAL)
    for result in (acting, training):
        assert result.value is None
        assert str(error) in result.notes[0]


@pytest.mark.slow
def test_all_cases_run_on_warps_cpu_device(monkeypatch):
    """The same code in 8 worlds; Warp compiles the cheetah at the first time (a minute)."""
    results = cuda_core.measure_acting("HalfCheetahVel", 8, TINY, REHEARSAL)
    names = [result.case.partition("/")[0] for result in results]
    assert names == ["environment", "policy-rl2", "policy-s5", "environment-rate"]
    assert all(result.value > 0 for result in results)
    (training,) = cuda_core.measure_training("HalfCheetahVel", "s5", 8, TINY, REHEARSAL)
    assert training.value > 0
    assert training.details["steps of a trial"] == 18
