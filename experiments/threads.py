"""How many threads torch may use.

Its OpenMP threads spin while they wait, which steals the simulator's cores: act with one, learn
with all.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

ACTING = 1


def available() -> int:
    """Processors this process may use (not the machine's)."""
    return len(os.sched_getaffinity(0))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Limit torch to `count` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
