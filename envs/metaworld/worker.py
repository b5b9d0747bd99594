"""A process that steps some of the worlds, told what to do on its standard input.

Started by `workers` as `python -m quickstudy.envs.metaworld.worker NUM_WORLDS GOAL_VISIBLE`.
A message is one byte that names a call, then its arrays, whose shapes both sides know.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from quickstudy.envs.metaworld.worlds import ACTION_SIZE, SAVED_SIZE, Worlds

RESET, STEP, SAVE, LOAD = b"R", b"S", b"V", b"L"


def write(stream: BinaryIO, *arrays: np.ndarray) -> None:
    """Send arrays, without their shapes."""
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()


def read(stream: BinaryIO, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Receive one array.

    Raises:
        EOFError: if the other side has ended.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    received = stream.read(size)
    if len(received) < size:
        raise EOFError
    return np.frombuffer(received, dtype).reshape(shape)


def serve(worlds: Worlds, num_worlds: int, calls: BinaryIO, replies: BinaryIO) -> None:
    """Answer calls until there is nobody left to call."""

    def tasks() -> np.ndarray:
        return read(calls, (num_worlds, 2), np.int64)

    def reset() -> None:
        worlds.reset(tasks())
        write(replies, *worlds.result.arrays)

    def step() -> None:
        worlds.step(read(calls, (num_worlds, ACTION_SIZE), np.float32))
        write(replies, *worlds.result.arrays)

    def save() -> None:
        write(replies, worlds.save())

    def load() -> None:
        worlds.load(tasks(), read(calls, (num_worlds, SAVED_SIZE), np.float64))

    answers: dict[bytes, Callable[[], None]] = {RESET: reset, STEP: step, SAVE: save, LOAD: load}
    while call := calls.read(1):
        answers[call]()


def main() -> None:
    """Serve on the standard streams."""
    # Ctrl-C reaches every process of a terminal; this one ends when its caller does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What anything prints must not end up among the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    num_worlds, goal_visible = int(sys.argv[1]), sys.argv[2] == "True"
    worlds = Worlds(num_worlds, goal_visible=goal_visible)
    serve(worlds, num_worlds, sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
