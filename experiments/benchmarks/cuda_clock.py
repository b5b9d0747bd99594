"""Time as a CUDA device has it: what the host's clock shows is when work was handed over."""

from collections.abc import Callable

import torch


class EventClock:
    """Seconds of device time since it was made, up to the end of all that was handed over.

    Summed from one reading to the next: an event tells milliseconds in single precision, which
    after minutes would be too coarse. A reading waits for the device, so what is timed should last
    some milliseconds.
    """

    def __init__(self, event: Callable[[], torch.cuda.Event]) -> None:
        self._event = event
        self._seconds = 0.0
        self._last = self._now()

    def __call__(self) -> float:
        now = self._now()
        self._seconds += 1e-3 * self._last.elapsed_time(now)
        self._last = now
        return self._seconds

    def _now(self) -> torch.cuda.Event:
        event = self._event()
        event.record()
        event.synchronize()
        return event


def cuda_clock() -> EventClock:
    """A clock of the present stream of the present device."""
    return EventClock(
        lambda: torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
    )


def lasting(run: Callable[[], int], clock: Callable[[], float], seconds: float) -> int:
    """How often to call `run` for so many seconds of this clock, at least once; it runs twice."""
    run()
    start = clock()
    run()
    return max(1, round(seconds / max(clock() - start, 1e-9)))


def counting(run: Callable[[], object], frames: int) -> Callable[[], int]:
    """The run, which tells that it was so many frames."""

    def counted() -> int:
        run()
        return frames

    return counted


def repeated(run: Callable[[], int], times: int) -> Callable[[], int]:
    """So many calls as one, whose frames are all of theirs."""

    def run_all() -> int:
        return sum(run() for _ in range(times))

    return run_all
