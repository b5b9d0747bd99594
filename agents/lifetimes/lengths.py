"""How many updates lives have.

Shape legend: P agents.
"""

import math

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive


def require_lengths(min_updates: int, max_updates: int) -> None:
    """Raise `ValueError` unless there are lengths from the one to the other, at least 1."""
    require_positive("min_updates", min_updates)
    if max_updates < min_updates:
        raise ValueError(
            f"max_updates must be at least min_updates ({min_updates}), got {max_updates}."
        )


def log_uniform(key_P: Tensor, low: int, high: int) -> Tensor:
    """Lengths from `low` to `high`, `(P,)` int64: P(N) = ln((N + 1)/N) / ln((high + 1)/low)."""
    draw_P = rng.uniform(key_P, 1)[:, 0]
    length_P = low * (draw_P * math.log((high + 1) / low)).exp()
    return length_P.to(torch.int64).clamp(low, high)
