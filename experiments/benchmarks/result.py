"""What a benchmark hands back, and what it is held against."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from quickstudy.experiments.benchmarks.interleave import Measurement, Plan


@dataclass(frozen=True)
class Bar:
    """The value a case is to reach, or not to exceed."""

    sense: Literal["at least", "at most"]
    limit: float

    def met(self, value: float) -> bool:
        return value >= self.limit if self.sense == "at least" else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.sense == 'at least' else '≤'} {self.limit:g}"


@dataclass(frozen=True)
class Result:
    """One case: what was measured, and against which bar."""

    case: str
    value: float | None
    """What the bar is on: the median ratio to the reference, GiB, millions of steps per second, or
    milliseconds; None if it could not run."""
    bar: Bar | None = None
    unit: Literal["×", "GiB", "M/s", "ms"] = "×"
    measured: Measurement | None = None
    reference: Measurement | None = None
    notes: tuple[str, ...] = ()
    """What to know when reading the numbers."""
    details: dict[str, float] = field(default_factory=dict)
    """Further numbers, named with their units."""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar or a value."""
        return None if self.bar is None or self.value is None else self.bar.met(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self) | {"met": self.met}


@dataclass(frozen=True)
class Effort:
    """How much a benchmark may do."""

    plan: Plan = field(default_factory=Plan)
    episode_length: int = 200
    """Steps per episode; one repetition of the environment benchmarks is one episode."""
    epochs: int = 4
    """Epochs of a training update."""
    seed: int = 0
    """Decides actions, weights and tasks."""


@dataclass(frozen=True)
class Benchmark:
    """A named measurement; it builds what it needs when it runs."""

    name: str
    run: Callable[[Effort], list[Result]]
    """Measures; usually one result, named like the benchmark."""


def compare(
    case: str,
    measured: Measurement,
    reference: Measurement,
    bar: Bar | None,
    *,
    notes: tuple[str, ...] = (),
    details: dict[str, float] | None = None,
) -> Result:
    """The result of a case that was interleaved with its reference."""
    return Result(case, measured.ratio, bar, "×", measured, reference, notes, details or {})
