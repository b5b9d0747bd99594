"""Timing of several cases in turns, so that whatever else the machine does falls on all of them.

A repetition is a number of rounds; in each round every case runs a short slice. A case's rate in a
repetition is the frames of its slices over their time; its ratio is that rate over the reference's
in the same repetition. Rates move with the load of the machine, ratios much less: bars are set on
medians of ratios.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def _nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Case:
    """Something to time, a slice at a time."""

    name: str
    run: Callable[[], int]
    """Does one slice; returns the frames in it."""
    prepare: Callable[[], None] = _nothing
    """Called before each repetition, outside the timed windows."""


@dataclass(frozen=True)
class Measurement:
    """One case's repetitions."""

    name: str
    rates: tuple[float, ...]
    """Frames per second, by repetition."""
    ratios: tuple[float, ...]
    """This case's rate over the reference's, by repetition."""

    @property
    def rate(self) -> float:
        """Median frames per second."""
        return statistics.median(self.rates)

    @property
    def ratio(self) -> float:
        """Median ratio to the reference."""
        return statistics.median(self.ratios)


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int = 8
    """Slices of each case per repetition."""
    seconds: float = 15.0
    """No further repetition is begun after this many seconds of measuring."""
    min_repetitions: int = 3
    """Repetitions made however long they take."""
    max_repetitions: int = 200
    """Repetitions after which enough is known."""
    warm_up: bool = True
    """Whether a first repetition is made and discarded."""


def interleave(
    cases: Sequence[Case], plan: Plan, clock: Callable[[], float] = time.perf_counter
) -> list[Measurement]:
    """Time the cases in turns; the first is the reference.

    Args:
        cases: what to time; their slices should take about equally long.
        plan: how often.
        clock: seconds since some moment.
    """
    if plan.warm_up:
        _repetition(cases, plan.rounds, clock)
    rates: list[list[float]] = []
    start = clock()
    while _goes_on(len(rates), clock() - start, plan):
        rates.append(_repetition(cases, plan.rounds, clock))
    return [_measurement(case.name, i, rates) for i, case in enumerate(cases)]


def _measurement(name: str, index: int, rates: list[list[float]]) -> Measurement:
    """Case `index` of repetitions whose first column is the reference."""
    ratios = tuple(row[index] / row[0] for row in rates)
    return Measurement(name, tuple(row[index] for row in rates), ratios)


def _goes_on(repetitions: int, elapsed: float, plan: Plan) -> bool:
    if repetitions < plan.min_repetitions:
        return True
    return repetitions < plan.max_repetitions and elapsed < plan.seconds


def _repetition(cases: Sequence[Case], rounds: int, clock: Callable[[], float]) -> list[float]:
    """Each case's frames per second over one repetition."""
    for case in cases:
        case.prepare()
    frames = [0] * len(cases)
    seconds = [0.0] * len(cases)
    for r in range(rounds):
        # Who goes first moves on, so that no case always follows the same one.
        for i in _rotated(len(cases), r):
            start = clock()
            frames[i] += cases[i].run()
            seconds[i] += clock() - start
    return [f / s for f, s in zip(frames, seconds, strict=True)]


def _rotated(count: int, by: int) -> list[int]:
    return [(i + by) % count for i in range(count)]
