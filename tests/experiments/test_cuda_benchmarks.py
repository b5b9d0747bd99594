"""The GPU benchmarks' clock, arithmetic and wiring; nothing here asserts how fast anything is."""

import itertools

import pytest
import torch
from rich.console import Console

from quickstudy.agents.models import MODELS
from quickstudy.experiments.benchmarks import bench as bench_module
from quickstudy.experiments.benchmarks import cuda_models
from quickstudy.experiments.benchmarks.bench import BenchConfig, bench, bench_device
from quickstudy.experiments.benchmarks.cuda_clock import EventClock, lasting, repeated
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.result import Bar, Effort

TINY = Effort(plan=Plan(seconds=0.0, max_repetitions=2), epochs=1)
CPU = torch.device("cpu")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Event:
    """A device that advances by 2 ms from one event to the next."""

    def __init__(self, ticks):
        self.ticks, self.at, self.waited = ticks, None, False

    def record(self):
        self.at = next(self.ticks)

    def synchronize(self):
        self.waited = True

    def elapsed_time(self, later):
        assert self.waited
        assert later.waited
        return 2.0 * (later.at - self.at)


def test_an_event_clock_adds_up_device_time_in_seconds():
    ticks = itertools.count()
    clock = EventClock(lambda: Event(ticks))
    assert clock() == pytest.approx(0.002)
    next(ticks)  # a long one
    assert clock() == pytest.approx(0.006)


def test_slices_are_made_to_last():
    """A call takes 2 s of a clock: 3 calls for 6 s, and one where one is long enough."""
    ticks = itertools.count(step=2.0)
    calls = []
    assert lasting(lambda: calls.append(1) or 7, lambda: next(ticks), 6.0) == 3
    assert lasting(lambda: 7, lambda: next(ticks), 0.5) == 1
    assert len(calls) == 2
    assert repeated(lambda: 7, 3)() == 21


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # 10 steps of 2 worlds of 3 channels, 60 numbers of 4 bytes: b and x; g, x and db. And 20
        # resets each way.
        ("float32", (480 + 20, 720 + 20)),
        ("complex64", (960 + 20, 1440 + 20)),
        # b and db in half: 2 + 4; 4 + 4 + 2.
        ("bfloat16", (360 + 20, 600 + 20)),
        ("bfloat16-pairs", (720 + 20, 1200 + 20)),
    ],
)
def test_bytes_moved_by_hand(kind, expected):
    assert cuda_models.bytes_moved(kind, (10, 2, 3)) == expected


@pytest.mark.parametrize("kind", cuda_models.KINDS)
def test_a_scan_is_measured_against_a_copy(kind):
    ticks = itertools.count()
    results = cuda_models.measure_scan(
        f"scan/{kind}-64", kind, (6, 64, 2), TINY, lambda: next(ticks), CPU, clear=2**14
    )
    assert [result.case for result in results] == [f"scan/{kind}-64-forward", f"scan/{kind}-64"]
    forward, backward = cuda_models.bytes_moved(kind, (6, 64, 2))
    # By a clock that says one second for whatever is timed, a slice is one call, and rates are the
    # bytes of a call: those of all sets, or of the copy of 16 KiB.
    sets = cuda_models._sets(forward, 2**14)
    assert results[0].value == pytest.approx(sets * forward / 2**15)
    assert results[1].value == pytest.approx(sets * (forward + backward) / 2**15)
    assert results[0].bar == (None if "bf" in kind else Bar("at least", 0.7))


def test_sets_cover_what_is_to_be_cleared():
    assert cuda_models._sets(100, 1000) == 10
    assert cuda_models._sets(101, 1000) == 10
    assert cuda_models._sets(5000, 1000) == 2


def test_a_memory_is_measured_against_torchs_lstm_and_gru():
    ticks = itertools.count()
    result = cuda_models.measure_model("s5", 3, 2, TINY, lambda: next(ticks), CPU)
    assert result.case == "models/s5-3-2"
    assert result.reference.name == "nn.LSTM"
    assert result.value == pytest.approx(1.0)  # by this clock all take a second
    assert set(result.details) == {"forward and backward ms", "× nn.GRU", "peak MiB"}


def test_what_does_not_fit_is_said(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(cuda_models, "peak_allocated", full)
    result = cuda_models.measure_model("s5", 3, 64, TINY, lambda: 0.0, CPU)
    assert (result.value, result.notes) == (None, ("out of memory",))


def test_bars_of_s5():
    limits = [cuda_models.model_bar("s5", T, 64).limit for T in cuda_models.LENGTHS]
    assert limits == [1.0, 5.0, 5.0]
    assert cuda_models.model_bar("s5", 1024, 8) is None
    assert cuda_models.model_bar("gru", 1024, 64) is None


def test_every_memory_and_scan_is_in_the_suite():
    names = [benchmark.name for benchmark in cuda_models.cuda_model_benchmarks()]
    assert len(set(names)) == len(names)
    assert {f"models/{name}" for name in MODELS} < set(names)
    assert {"scan/complex64-64", "scan/bfloat16-8"} < set(names)


def test_products_are_left_as_they_were():
    before = torch.get_float32_matmul_precision()
    with cuda_models.tensor_float32():
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


# --- which device -----------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_is_cuda_where_there_is_a_gpu_and_the_suite_has_cases_for_it(gpu):
    assert bench_device("auto", "models") == "cuda"
    assert bench_device("auto", "families") == "cpu"
    assert bench_device("cpu", "models") == "cpu"


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(no_gpu):
    assert bench_device("auto", "models") == "cpu"
    with pytest.raises(ValueError, match=r"'cuda'.*Use device 'cpu'"):
        bench(BenchConfig(suite="models", device="cuda"))


def test_a_suite_without_cases_for_cuda_says_so(gpu, monkeypatch):
    monkeypatch.setattr(bench_module, "run_all", lambda *_: pytest.fail("it measured"))
    console = Console(record=True, width=200)
    assert bench(BenchConfig(suite="families", device="cuda"), console) == []
    assert "families suite has no cases for cuda yet" in console.export_text()


@NEEDS_CUDA
def test_the_suite_runs_on_a_gpu():
    results = bench(BenchConfig(suite="models", device="cuda", quick=True, only=("scan/", "s5")))
    assert all(result.value for result in results)
