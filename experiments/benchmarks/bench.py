"""`quickstudy bench`: how fast this machine steps and trains, and how much memory that takes.

Every figure that a bar is set on is a ratio to something else timed in turns with it (see
`interleave`), so it means the same on a slow machine as on a fast one.
"""

import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from quickstudy.agents.models import MODELS
from quickstudy.curricula.teachers import TEACHERS
from quickstudy.envs.devices import find_device
from quickstudy.envs.errors import unknown
from quickstudy.experiments.benchmarks.cuda_core import cuda_core_benchmarks
from quickstudy.experiments.benchmarks.cuda_models import cuda_model_benchmarks
from quickstudy.experiments.benchmarks.discovery import population_benchmark
from quickstudy.experiments.benchmarks.dmc_baselines import SUITE_TASKS, dmc_benchmark
from quickstudy.experiments.benchmarks.envs import (
    body_benchmark,
    body_families,
    environment_benchmark,
    mujoco_families,
    task_benchmark,
    task_families,
)
from quickstudy.experiments.benchmarks.families import EXACT_FAMILIES, family_benchmark
from quickstudy.experiments.benchmarks.gymnasium_baselines import (
    single_benchmark,
    vector_benchmark,
)
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.memory import memory_benchmark
from quickstudy.experiments.benchmarks.metaworld_baselines import metaworld_benchmark
from quickstudy.experiments.benchmarks.models import model_benchmark
from quickstudy.experiments.benchmarks.physics import physics_benchmark
from quickstudy.experiments.benchmarks.result import Benchmark, Effort, Result
from quickstudy.experiments.benchmarks.tabular_lifetimes import tabular_benchmark
from quickstudy.experiments.benchmarks.teachers import teacher_benchmark
from quickstudy.experiments.benchmarks.training import training_benchmark
from quickstudy.experiments.threads import available

BENCH_DEVICES = ("auto", "cpu", "cuda")

PACKAGES = (
    "quickstudy",
    "mujoco",
    "torch",
    "triton",
    "numpy",
    "gymnasium",
    "stable-baselines3",
    "sb3-contrib",
    "dm_control",
    "metaworld",
)

BUSY = 0.3
"""Load average per processor above which figures are not to be trusted."""

QUICK = Effort(plan=Plan(rounds=4, seconds=2.0, min_repetitions=1), episode_length=40, epochs=1)


@dataclass(frozen=True)
class BenchConfig:
    """What to measure, and where to write it."""

    suite: str = "core"
    """What to measure: core (physics, environments, training), envs (every MuJoCo family, and
    dm_control and Meta-World), models (every memory), families (those without physics), teachers
    (what each costs) or discovery (populations that learn side by side)."""
    json: Path | None = None
    """File to write versions, load, and every repetition's figures to."""
    device: str = "auto"
    """Where to measure: cpu or cuda; auto is cuda where there is a GPU and the suite has cases for
    it."""
    quick: bool = False
    """True: episodes of 40 steps, one epoch and few repetitions (a minute, and rougher figures)."""
    only: tuple[str, ...] = field(default=())
    """Run the cases whose names contain any of these, such as physics or AntDir; all if none."""
    seed: int = 0
    """Decides actions, tasks and weights."""


def core_benchmarks() -> list[Benchmark]:
    """Physics, environments, training and its memory, with their bars."""
    return [
        physics_benchmark("HalfCheetahDir", 64, at_least=0.90),
        physics_benchmark("HalfCheetahDir", 256, at_least=0.95),
        physics_benchmark("HalfCheetahDir", 1024, at_least=0.95),
        physics_benchmark("AntDir", 64, at_least=0.90),
        vector_benchmark(256, at_least=4.0),
        single_benchmark(at_least=0.8),
        training_benchmark(64, at_least=3.0, shared=False),
        training_benchmark(64, at_least=3.0, shared=True),
        memory_benchmark(1024, at_most=2.0),
    ]


def env_benchmarks() -> list[Benchmark]:
    """Every MuJoCo family: its step against its physics, its bodies' cost, its tasks' time.

    And the families that packages bring against those packages' own environments.
    """
    with_bodies = body_families()
    return [
        *(environment_benchmark(name, 256, at_least=0.85) for name in mujoco_families()),
        *(body_benchmark(name, 256, at_most=1.07) for name in with_bodies),
        *(
            task_benchmark(name, 1024, at_most=50.0 if name in with_bodies else 5.0)
            for name in task_families()
        ),
        *(dmc_benchmark(name, 256, at_least=10.0) for name in SUITE_TASKS),
        metaworld_benchmark("ML1Reach", 10, at_least=1.0),
        metaworld_benchmark("ML10", 10, at_least=1.0),
    ]


def model_benchmarks() -> list[Benchmark]:
    """Every memory by itself."""
    return [model_benchmark(name) for name in MODELS]


def family_benchmarks() -> list[Benchmark]:
    """The families without physics."""
    return [family_benchmark(name, 1024, at_least=1.0) for name in EXACT_FAMILIES]


def teacher_benchmarks() -> list[Benchmark]:
    """What every teacher costs per episode."""
    return [teacher_benchmark(name, 256, at_most=1.0) for name in TEACHERS]


def discovery_benchmarks() -> list[Benchmark]:
    """Populations of agents: networks against one agent after the other; tables per second."""
    return [
        population_benchmark(256, hidden_size=32, at_least=20.0),
        population_benchmark(256, hidden_size=64),
        tabular_benchmark(512, width=8, at_least=1.0),
        tabular_benchmark(512, width=16, at_least=1.0),
    ]


SUITES: dict[str, Callable[[], list[Benchmark]]] = {
    "core": core_benchmarks,
    "envs": env_benchmarks,
    "models": model_benchmarks,
    "families": family_benchmarks,
    "teachers": teacher_benchmarks,
    "discovery": discovery_benchmarks,
}
"""What `quickstudy bench SUITE` measures."""

CUDA_SUITES: dict[str, Callable[[], list[Benchmark]]] = {
    "core": lambda: [*cuda_core_benchmarks(), *cuda_model_benchmarks()],
    "models": cuda_model_benchmarks,
}
"""What it measures on a GPU: by default all of it."""


def bench(config: BenchConfig, console: Console | None = None) -> list[Result]:
    """Measure, show a table, and write the figures if a file is named.

    Raises:
        ValueError: for an unknown device, a filter that no case matches or a file in no folder;
            before anything is measured.
    """
    console = console or Console()
    _check(config)
    effort = replace(QUICK if config.quick else Effort(), seed=config.seed)
    device = bench_device(config.device, config.suite)
    if device == "cuda" and config.suite not in CUDA_SUITES:
        console.print(no_cuda_cases(config.suite))
        return []
    suites = CUDA_SUITES if device == "cuda" else SUITES
    selected = select(suites[config.suite](), config.only)
    conditions = machine()
    results = run_all(selected, effort, console)
    console.print(table(results))
    for line in [*remarks(results), *busy(conditions)]:
        console.print(line)
    if config.json is not None:
        record = report(config, conditions, results)
        config.json.write_text(json.dumps(record, indent=1) + "\n")
    return results


def bench_device(name: str, suite: str) -> str:
    """What `auto` means for a suite here.

    Raises:
        ValueError: for an unknown device, or for cuda where torch sees no GPU.
    """
    if name not in BENCH_DEVICES:
        raise unknown("device", name, BENCH_DEVICES)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() and suite in CUDA_SUITES else "cpu"
    return find_device(name).name


def no_cuda_cases(suite: str) -> str:
    """Why nothing is measured."""
    return (
        f"The {suite} suite has no cases for cuda yet: it times work of the CPU. With them: "
        f"{', '.join(CUDA_SUITES)}."
    )


def select(candidates: Sequence[Benchmark], only: Iterable[str]) -> list[Benchmark]:
    """The benchmarks whose names contain any of the filters; all if there is none.

    Raises:
        ValueError: for a filter that matches nothing.
    """
    filters = list(only)
    for text in filters:
        if not any(text in benchmark.name for benchmark in candidates):
            raise unknown("benchmark", text, [benchmark.name for benchmark in candidates])
    return [b for b in candidates if not filters or any(text in b.name for text in filters)]


def run_all(selected: Sequence[Benchmark], effort: Effort, console: Console) -> list[Result]:
    """Run one after the other, saying which."""
    results: list[Result] = []
    for benchmark in selected:
        with console.status(f"{benchmark.name} …"):
            start = time.perf_counter()
            results += benchmark.run(effort)
        console.print(f"{benchmark.name}: {time.perf_counter() - start:.0f} s")
    return results


def table(results: Sequence[Result]) -> Table:
    """One line per case."""
    shown = Table(title="quickstudy bench", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    shown.add_column("case", no_wrap=True)
    for heading in ("bar", "measured", "min–max", "frames/s", "ref.", "reps"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        shown.add_row(*_row(result))
    return shown


def remarks(results: Sequence[Result]) -> list[str]:
    """What the table has no room for: notes and further figures."""
    lines = []
    for result in results:
        figures = [f"{name} {value:.2f}" for name, value in result.details.items()]
        if figures or result.notes:
            lines.append(f"{result.case}: {', '.join([*result.notes, *figures])}")
    return lines


def busy(conditions: dict[str, Any]) -> list[str]:
    """A warning if other processes were running when the measurement began."""
    load, cpus = conditions["load_average_before"][0], conditions["cpus"]
    if load < BUSY * cpus:
        return []
    return [
        f"[yellow]The load average was {load:.1f} on {cpus} processors before measuring: use no "
        "figure from a busy machine. What needs all processors loses most."
    ]


def machine() -> dict[str, Any]:
    """The circumstances of a measurement."""
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": available(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_average_before": os.getloadavg(),
    }


def report(
    config: BenchConfig, conditions: dict[str, Any], results: Sequence[Result]
) -> dict[str, Any]:
    """Everything measured, as plain types for JSON."""
    settings = {
        "suite": config.suite,
        "device": bench_device(config.device, config.suite),
        "quick": config.quick,
        "only": list(config.only),
        "seed": config.seed,
    }
    return (
        conditions
        | settings
        | {
            "load_average_after": os.getloadavg(),
            "results": [result.to_dict() for result in results],
        }
    )


def _check(config: BenchConfig) -> None:
    if config.suite not in SUITES:
        raise unknown("suite", config.suite, SUITES)
    if config.json is not None and not config.json.parent.is_dir():
        raise ValueError(f"--json {config.json}: there is no folder {config.json.parent}.")


def _row(result: Result) -> list[str]:
    unit = "" if result.unit == "×" else f" {result.unit}"
    verdict = {True: "[green]", False: "[red]", None: ""}[result.met]
    value = "—" if result.value is None else f"{verdict}{result.value:.2f}{unit}"
    bar = "" if result.bar is None else f"{result.bar}{unit}"
    if result.measured is None or result.reference is None:
        return [result.case, bar, value, "", "", "", ""]
    ratios = result.measured.ratios
    spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
    rates = [f"{m.rate / 1000:.1f}k" for m in (result.measured, result.reference)]
    return [result.case, bar, value, spread, *rates, str(len(ratios))]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name, where Linux says it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
