"""A generation's work over processes; its results do not depend on how many there are.

Each process has one thread and an estimator of its own, built from the run's configuration, which
it uses for nothing but `work`. Tensors travel as arrays, whole: no process holds another's memory.
"""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from quickstudy.envs import processes as driven
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.estimators.estimator import Estimator, Shard
from quickstudy.experiments.discovery.jobs import Job, done
from quickstudy.experiments.signals import STOP_SIGNALS

Packed = dict[str, npt.NDArray[Any]]


class Workers:
    """N processes, or this one if N is 1."""

    def __init__(self, build: Callable[[], Estimator], processes: int) -> None:
        """Start no process yet.

        Args:
            build: makes the estimator; with several processes it must be picklable.
            processes: how many work side by side.

        Raises:
            ValueError: if there are to be fewer than 1.
        """
        require_positive("processes", processes)
        self._here = build() if processes == 1 else None
        self._pool = process_pool(processes, _begin_worker, build) if processes > 1 else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, jobs: Sequence[Job]) -> list[Shard]:
        """The results, in the order of the jobs.

        Raises:
            ChildProcessError: if a process died.
        """
        if self._pool is None:
            assert self._here is not None
            return [done(self._here, job) for job in jobs]
        try:
            return [_unpacked(result) for result in self._pool.map(_work, map(_sent, jobs))]
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "A process of the population died without a word (killed, out of memory?). Nothing "
                "but this generation is lost: go on by --resume, with fewer --processes or a "
                "smaller shard if memory ran out."
            ) from error


def process_pool(
    processes: int, begin: Callable[..., None], *arguments: Any
) -> ProcessPoolExecutor:
    """Processes that each call `begin` with the arguments before their first work."""
    modules = [__name__, "quickstudy.experiments.discovery.config"]
    return driven.process_pool(processes, modules, begin, *arguments)


def begin_process() -> None:
    """As any process of a pool; and signals to stop are for the driver alone."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    driven.begin_process()


_built: list[Estimator] = []
"""In a process of the pool: its estimator."""


def _begin_worker(build: Callable[[], Estimator]) -> None:
    begin_process()
    _built.append(build())


def _sent(job: Job) -> tuple[str, Packed]:
    return job[0], _packed(job[1])


def _work(sent: tuple[str, Packed]) -> Packed:
    """In a process of the pool."""
    kind, shard = sent
    return _packed(done(_built[0], (kind, _unpacked(shard))))


def _packed(shard: Shard) -> Packed:
    # Tensors themselves would be sent as handles of shared memory, one open file each.
    return {name: row.detach().contiguous().numpy() for name, row in shard.items()}


def _unpacked(packed: Packed) -> Shard:
    return {name: torch.from_numpy(np.asarray(row)) for name, row in packed.items()}
