"""Every memory by itself: reading long sequences forwards and backwards, acting, and its memory.

One layer of each, as wide as the reference, one layer of PyTorch's own LSTM, on the same sequences.

Shape legend: T time, B worlds, D features.
"""

import ctypes
import dataclasses
import gc
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from quickstudy.agents.models import MODELS
from quickstudy.agents.sequence_model import SequenceModel
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare
from quickstudy.experiments.threads import ACTING, available, torch_threads

WIDTH = 128
WORLDS = 8
ACTING_WORLDS = 64
LENGTHS = (128, 1024, 8192)
QUICK_LENGTHS = (128,)
LONG = 1024
"""From this length on the S5 is to be faster than the LSTM."""
MIB = 2**20


def model_benchmark(name: str) -> Benchmark:
    """One memory over all lengths, against `nn.LSTM`, and how its cost grows with the length."""
    title = f"models/{name}"

    def run(effort: Effort) -> list[Result]:
        with torch_threads(available()):
            lengths = LENGTHS if effort.epochs > 1 else QUICK_LENGTHS
            results = [_at_length(name, T, effort) for T in lengths]
        return [*results, *_growth(title, name, results)]

    return Benchmark(title, run)


def build(name: str, horizon: int, seed: int = 0) -> SequenceModel:
    """One layer of a registered memory at the common width."""
    cls = MODELS[name]
    names = {field.name for field in dataclasses.fields(cls)}
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "layers": 1}
    config = cls(**{key: value for key, value in sizes.items() if key in names})
    return config.build(WIDTH, torch.Generator().manual_seed(seed), horizon)


def training_pass(model: SequenceModel, x_TBD: Tensor) -> Callable[[], int]:
    """Reads a sequence and forms all gradients; returns the frames in it."""
    reset_TB = torch.zeros(x_TBD.shape[:2], dtype=torch.bool, device=x_TBD.device)
    state = model.initial_state(x_TBD.shape[1])

    def run() -> int:
        y_TBD, _ = model.scan(x_TBD, reset_TB, state)
        y_TBD.square().mean().backward()  # type: ignore[no-untyped-call]  # torch has no types here
        return reset_TB.numel()

    return run


def torch_pass(kind: type[nn.LSTM] | type[nn.GRU], x_TBD: Tensor) -> Callable[[], int]:
    """The same of PyTorch's own LSTM or GRU (cuDNN's, on CUDA)."""
    model = kind(WIDTH, WIDTH, device=x_TBD.device)

    def run() -> int:
        y_TBD, _ = model(x_TBD)
        y_TBD.square().mean().backward()
        return x_TBD.shape[0] * x_TBD.shape[1]

    return run


def acting_seconds(model: SequenceModel, T: int) -> float:
    """Median time of a step of 64 worlds that have read T − 1 inputs, on one thread."""
    x_TBD = torch.zeros(T - 1, ACTING_WORLDS, WIDTH)
    reset_TB = torch.zeros(x_TBD.shape[:2], dtype=torch.bool)
    seconds = []
    with torch.no_grad():
        _, state = model.scan(x_TBD, reset_TB, model.initial_state(ACTING_WORLDS))
        with torch_threads(ACTING):
            for _ in range(20):
                start = time.perf_counter()
                _, state = model.step(x_TBD[0], reset_TB[0], state)
                seconds.append(time.perf_counter() - start)
    return median(seconds)


def peak_growth(run: Callable[[], int]) -> int:
    """Bytes by which `run` raised the process's resident memory at its peak (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    run()
    return _status("VmHWM") - before


def gemm_floor(run: Callable[[], int], num_frames: int) -> float:
    """Seconds that the matrix products in `run` alone would take, at the speed of a large one."""
    with FlopCounterMode(display=False) as counter:
        run()
    x_ND, weight_DD = torch.ones(num_frames, WIDTH), torch.ones(WIDTH, WIDTH)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        x_ND @ weight_DD
        seconds.append(time.perf_counter() - start)
    rate = 2 * num_frames * WIDTH**2 / median(seconds)
    return float(counter.get_total_flops()) / rate


def _at_length(name: str, T: int, effort: Effort) -> Result:
    generator = torch.Generator().manual_seed(effort.seed)
    x_TBD = torch.randn(T, WORLDS, WIDTH, generator=generator).requires_grad_()
    model = build(name, horizon=T, seed=effort.seed)
    run = training_pass(model, x_TBD)
    peak = peak_growth(run)
    floor = gemm_floor(run, T * WORLDS)
    plan = dataclasses.replace(effort.plan, rounds=1, seconds=3.0, min_repetitions=2)
    reference, measured = interleave(
        (Case("nn.LSTM", torch_pass(nn.LSTM, x_TBD)), Case(name, run)), plan
    )
    seconds = T * WORLDS / measured.rate
    details = {
        "forward and backward ms": 1e3 * seconds,
        "÷ GEMM floor": seconds / floor,
        "acting ms": 1e3 * acting_seconds(model, T),
        "peak MiB": peak / MIB,
    }
    bar = Bar("at least", 1.0) if name == "s5" and T >= LONG else None
    return compare(f"models/{name}-{T}", measured, reference, bar, details=details)


def _growth(title: str, name: str, results: list[Result]) -> list[Result]:
    """Cost per frame at the greatest length over that at the one before: 1 is linear."""
    if len(results) < 2:
        return []
    before, last = results[-2].details, results[-1].details
    longer = LENGTHS[-1] / LENGTHS[-2]
    linear = Bar("at most", 1.5) if name == "s5" else None
    keys = {"time": "forward and backward ms", "memory": "peak MiB"}
    return [
        Result(f"{title} {what} growth", last[key] / before[key] / longer, linear)
        for what, key in keys.items()
    ]


def _status(field: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}.")
