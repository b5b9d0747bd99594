"""Memories and scans on a GPU: against cuDNN's LSTM and GRU, and against what memory can move.

A scan does next to no arithmetic: its floor is the time that its bytes take (the table in
`agents/triton_scan.py`). Frames of these cases are bytes, so that the ratio to a copy is that of
two bandwidths. The scans are captured into a graph and replayed, so that Python is not timed, over
several sets of tensors, so that the device's cache does not serve what was used last.

Shape legend: T time, B worlds, P channels, D features.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from quickstudy.agents.captured import CudaGraph
from quickstudy.agents.models import MODELS
from quickstudy.agents.scan import diag_scan
from quickstudy.experiments.benchmarks.cuda_clock import counting, cuda_clock, lasting, repeated
from quickstudy.experiments.benchmarks.interleave import Case, Measurement, Plan, interleave
from quickstudy.experiments.benchmarks.models import MIB, WIDTH, build, torch_pass, training_pass
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare

LENGTHS = (128, 1024, 8192)
BATCHES = (64, 8)
SLICE = 5e-3
"""Seconds that one timed slice lasts, about."""
CLEAR = 2**28
"""Bytes that are passed over before any is met again: several times a cache."""
SCAN_STEPS, SCAN_CHANNELS = 1024, 128
SCAN_BARS = {64: 0.70, 8: 0.40}
"""Share of a copy's bandwidth, by worlds."""
KINDS = {"float32": (False, False), "complex64": (True, False),
         "bfloat16": (False, True), "bfloat16-pairs": (True, True)}  # fmt: skip
"""Inputs of a scan: whether its numbers are complex, and whether they come in bfloat16."""

Clock = Callable[[], float]


def cuda_model_benchmarks() -> list[Benchmark]:
    """The scan against a copy, then every memory against cuDNN."""
    scans = [scan_benchmark(kind, worlds) for worlds in SCAN_BARS for kind in KINDS]
    return [*scans, *(cuda_model_benchmark(name) for name in MODELS)]


# --- memories ---------------------------------------------------------------------------------


def cuda_model_benchmark(name: str) -> Benchmark:
    """One memory at all lengths and batches, forwards and backwards."""

    def run(effort: Effort) -> list[Result]:
        clock, device = cuda_clock(), torch.device("cuda")
        shapes = [(T, B) for B in BATCHES for T in LENGTHS] if effort.epochs > 1 else [(128, 64)]
        with tensor_float32():
            return [measure_model(name, T, B, effort, clock, device) for T, B in shapes]

    return Benchmark(f"models/{name}", run)


def measure_model(
    name: str, T: int, B: int, effort: Effort, clock: Clock, device: torch.device
) -> Result:
    """In turns with PyTorch's LSTM and GRU; the ratio is to the LSTM."""
    case = f"models/{name}-{T}-{B}"
    generator = torch.Generator().manual_seed(effort.seed)
    x_TBD = torch.randn(T, B, WIDTH, generator=generator).to(device).requires_grad_()
    run = training_pass(build(name, horizon=T, seed=effort.seed).to(device), x_TBD)
    try:
        peak = peak_allocated(run, device)
        runs = {"nn.LSTM": torch_pass(nn.LSTM, x_TBD), "nn.GRU": torch_pass(nn.GRU, x_TBD)}
        lstm, gru, measured = timed(runs | {name: run}, brief_plan(effort, 2.0), clock)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return Result(case, None, model_bar(name, T, B), notes=("out of memory",))
    details = {
        "forward and backward ms": 1e3 * T * B / measured.rate,
        "× nn.GRU": measured.rate / gru.rate,
        "peak MiB": peak / MIB,
    }
    return compare(case, measured, lstm, model_bar(name, T, B), details=details)


def model_bar(name: str, T: int, B: int) -> Bar | None:
    """S5 at batch 64: faster than the LSTM from 128 steps on, five times from 1024."""
    if name != "s5" or B != 64:
        return None
    return Bar("at least", 5.0 if T >= 1024 else 1.0)


def peak_allocated(run: Callable[[], int], device: torch.device) -> int:
    """Bytes by which `run` raised what torch has allocated on the device, at its peak."""
    if device.type != "cuda":
        run()
        return 0
    run()  # what is made once, at the first call
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


@contextmanager
def tensor_float32() -> Iterator[None]:
    """Products in TF32 for all: cuDNN's recurrent networks take it unasked."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


# --- scans ------------------------------------------------------------------------------------


def scan_benchmark(kind: str, worlds: int) -> Benchmark:
    """`diag_scan` of 1024 steps and 128 channels, forwards alone and with its gradients."""
    title = f"scan/{kind}-{worlds}"

    def run(effort: Effort) -> list[Result]:
        shape = (SCAN_STEPS, worlds, SCAN_CHANNELS)
        device = torch.device("cuda")
        return measure_scan(title, kind, shape, effort, cuda_clock(), device)

    return Benchmark(title, run)


def measure_scan(
    title: str,
    kind: str,
    shape: tuple[int, int, int],
    effort: Effort,
    clock: Clock,
    device: torch.device,
    clear: int = CLEAR,
) -> list[Result]:
    """In turns with a copy of `clear` bytes; the ratio is of bandwidths."""
    forward, backward = bytes_moved(kind, shape)
    inputs = [
        scan_inputs(kind, shape, effort.seed + n, device) for n in range(_sets(forward, clear))
    ]
    source = torch.ones(clear // 4, device=device)
    target = torch.empty_like(source)

    def scans() -> object:
        return [diag_scan(*case.tensors) for case in inputs]

    def gradients() -> object:
        return [case.gradients() for case in inputs]

    runs = {
        "copy": replayed(lambda: target.copy_(source), 2 * clear, device),
        f"{title}-forward": replayed(scans, len(inputs) * forward, device),
        title: replayed(gradients, len(inputs) * (forward + backward), device),
    }
    copy, *measured = timed(runs, brief_plan(effort, 3.0), clock)
    # Half the bytes at the same instructions: shown, but no bar is on it.
    bar = None if kind.startswith("bfloat16") else Bar("at least", SCAN_BARS.get(shape[1], 0.0))
    return [
        compare(m.name, m, copy, bar, details={"GB/s": m.rate / 1e9, "copy GB/s": copy.rate / 1e9})
        for m in measured
    ]


def bytes_moved(kind: str, shape: tuple[int, int, int]) -> tuple[int, int]:
    """By a scan with fixed gates, forwards and backwards: b, x; g, x, db; a byte a reset each."""
    T, B, P = shape
    is_complex, half = KINDS[kind]
    number = 8 if is_complex else 4
    given = number // 2 if half else number
    return T * B * (P * (given + number) + 1), T * B * (P * (2 * number + given) + 1)


@dataclasses.dataclass(frozen=True)
class ScanInputs:
    """One set of tensors: gate, input, what the first step finds, resets; a gradient of x."""

    tensors: tuple[Tensor, Tensor, Tensor, Tensor]
    arriving_TBP: Tensor

    def gradients(self) -> object:
        """A scan and its gradients, which are handed over so that their memory is their own."""
        x_TBP = diag_scan(*self.tensors)
        return x_TBP, torch.autograd.grad(x_TBP, self.tensors[:3], self.arriving_TBP)


def scan_inputs(
    kind: str, shape: tuple[int, int, int], seed: int, device: torch.device
) -> ScanInputs:
    """Random ones, with a reset in one of a hundred steps."""
    T, B, P = shape
    is_complex, half = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex64 if is_complex else torch.float32
    b_TBP = torch.randn(T, B, P, generator=generator, dtype=dtype)
    if half:
        b_TBP = (torch.view_as_real(b_TBP) if is_complex else b_TBP).to(torch.bfloat16)
    gate_P = torch.full((P,), 0.99, dtype=dtype)
    tensors = (gate_P, b_TBP, torch.zeros(B, P, dtype=dtype))
    reset_TB = torch.rand(T, B, generator=generator) < 0.01
    gate_P, b_TBP, x0_BP = (tensor.to(device).requires_grad_() for tensor in tensors)
    arriving_TBP = torch.randn(T, B, P, generator=generator, dtype=dtype).to(device)
    return ScanInputs((gate_P, b_TBP, x0_BP, reset_TB.to(device)), arriving_TBP)


def replayed(work: Callable[[], object], frames: int, device: torch.device) -> Callable[[], int]:
    """The work as a captured graph, on CUDA; it stands for so many frames."""
    return counting(_captured(work) if device.type == "cuda" else work, frames)


@dataclasses.dataclass(frozen=True)
class _Captured:
    """A graph, with its results: their memory is their own for as long as they are held."""

    graph: CudaGraph
    results: list[object]

    def __call__(self) -> None:
        self.graph.replay()


def _captured(work: Callable[[], object]) -> _Captured:
    graph, results = CudaGraph(), list[object]()
    with graph.warm_up():  # kernels are compiled before they are captured
        for _ in range(2):
            work()
    graph.record(lambda: results.append(work()))
    return _Captured(graph, results)


def _sets(forward: int, clear: int) -> int:
    return max(2, -(-clear // forward))


# --- timing -----------------------------------------------------------------------------------


def timed(runs: dict[str, Callable[[], int]], plan: Plan, clock: Clock) -> list[Measurement]:
    """All in turns, each repeated until a slice lasts long enough for the clock."""
    cases = [Case(name, repeated(run, lasting(run, clock, SLICE))) for name, run in runs.items()]
    return interleave(cases, plan, clock)


def brief_plan(effort: Effort, seconds: float) -> Plan:
    """As much as each of many cases is given."""
    return dataclasses.replace(
        effort.plan, rounds=4, seconds=min(seconds, effort.plan.seconds), min_repetitions=2
    )
