"""N Meta-World worlds spread over processes, since most of a step is Python's.

Shape legend: N worlds, A action dimensions, P numbers of a saved world.
"""

import itertools
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

import numpy as np

from quickstudy.envs.metaworld.worker import (
    LOAD,
    RESET,
    SAVE,
    STEP,
    read,
    write,
)
from quickstudy.envs.metaworld.worlds import SAVED_SIZE, Result


class Worker:
    """One process and the worlds `part` that it steps."""

    def __init__(self, part: slice, *, goal_visible: bool) -> None:
        self.part = part
        self.num_worlds = part.stop - part.start
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quickstudy.envs.metaworld.worker",
             str(self.num_worlds), str(goal_visible)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        self.calls = cast(BinaryIO, self._process.stdin)
        self.replies = cast(BinaryIO, self._process.stdout)

    def close(self) -> None:
        """End the process; it ends by itself if this one does."""
        # Closing its pipe would not do: processes forked in between hold it open.
        self._process.terminate()
        self._process.wait()
        self.replies.close()
        with suppress(BrokenPipeError):  # a call that it did not read
            self.calls.close()


class Workers:
    """What `Worlds` does, in several processes at once."""

    def __init__(self, num_worlds: int, num_workers: int, *, goal_visible: bool) -> None:
        self.result = Result.blank(num_worlds)
        self._num_worlds = num_worlds
        bounds = [num_worlds * i // num_workers for i in range(num_workers + 1)]
        parts = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        self._workers = [Worker(part, goal_visible=goal_visible) for part in parts]
        self._close = weakref.finalize(self, _close_all, self._workers)

    def reset(self, task_N2: np.ndarray) -> None:
        """Start episodes on tasks (int64 environment and goal); where `STAYS`, go on."""
        self._call(RESET, task_N2)
        self._read_results()

    def step(self, action_NA: np.ndarray) -> None:
        """Act once in every world; float32 in [−1, 1]."""
        self._call(STEP, action_NA)
        self._read_results()

    def save(self) -> np.ndarray:
        """Everything that later steps depend on but the tasks, float64 `(N, P)`."""
        self._call(SAVE)
        saved_NP = np.empty((self._num_worlds, SAVED_SIZE))
        for worker in self._workers:
            shape = (worker.num_worlds, SAVED_SIZE)
            saved_NP[worker.part] = self._read(worker, shape, np.float64)
        return saved_NP

    def load(self, task_N2: np.ndarray, saved_NP: np.ndarray) -> None:
        """Go on where `save` was called, on the tasks of then."""
        self._call(LOAD, task_N2, saved_NP)

    def close(self) -> None:
        """End the processes."""
        self._close()

    def _call(self, name: bytes, *arrays: np.ndarray) -> None:
        """Each worker is given its rows; all work at the same time."""
        with _explained():
            for worker in self._workers:
                worker.calls.write(name)
                write(worker.calls, *(array[worker.part] for array in arrays))

    def _read_results(self) -> None:
        for worker in self._workers:
            for array in self.result.arrays:
                rows = array[worker.part]
                rows[:] = self._read(worker, rows.shape, rows.dtype.type)

    def _read(self, worker: Worker, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        with _explained():
            return read(worker.replies, shape, dtype)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (EOFError, BrokenPipeError):
        raise RuntimeError("A Meta-World process has ended; see what it wrote above.") from None


def _close_all(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.close()
