"""Courses of obstacles at regular distances: stumps on the floor, gates between floor and ceiling.

Shape legend: N worlds, S obstacles.
"""

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.parkour.course import HIDDEN, START, Course, Slots

NUM_STUMPS = 24
STUMP_WIDTH = 0.2
STUMP_NOISE = 0.02
"""Standard deviation of a stump's height, m (0.1 · 14/30 Box2D units)."""

NUM_GATES = 12
GATE_WIDTH = 0.165
GATE_OPENING = 2.2
"""Metres from a gate's lower edge to its upper one (5 units)."""
GATE_CEILING = 4.4
"""Metres (10 units)."""
FLOOR_NOISE = 0.022
"""Standard deviations of a gate's edges, m (0.05 and 0.2 units)."""
CEILING_NOISE = 0.088

FLUSH = 1e-3
"""Obstacles lower than this, m, are left out: their faces would only double the ground's."""

STUMP_SLOTS = Slots((STUMP_WIDTH / 2,) * NUM_STUMPS)
GATE_SLOTS = Slots((GATE_WIDTH / 2,) * (2 * NUM_GATES), num_hanging=NUM_GATES, ceiling=GATE_CEILING)


def stump_course(height_N: Tensor, spacing_N: Tensor, key_N: Tensor) -> Course:
    """Stumps of noisy heights around `height_N`, with `spacing_N` free metres after each."""
    noise_NS = STUMP_NOISE * rng.normal(key_N, NUM_STUMPS)
    height_NS = height_N.unsqueeze(1) + noise_NS
    return Course(_centres(NUM_STUMPS, STUMP_WIDTH, spacing_N), _standing(height_NS))


def gate_course(centre_N: Tensor, spacing_N: Tensor, key_N: Tensor) -> Course:
    """Gates: below a stump up to half an opening under `centre_N`, above another down to it."""
    noise_NS = rng.normal(key_N, 2 * NUM_GATES)
    low_N1 = (centre_N - GATE_OPENING / 2).clamp(min=0.0).unsqueeze(1)
    high_N1 = (GATE_CEILING - GATE_OPENING / 2 - centre_N).clamp(min=0.0).unsqueeze(1)
    standing_NS = _standing(low_N1 + FLOOR_NOISE * noise_NS[:, :NUM_GATES])
    length_NS = high_N1 + CEILING_NOISE * noise_NS[:, NUM_GATES:]
    hanging_NS = GATE_CEILING - torch.where(length_NS > FLUSH, length_NS, -HIDDEN)
    x_NS = _centres(NUM_GATES, GATE_WIDTH, spacing_N)
    return Course(torch.cat([x_NS, x_NS], dim=1), torch.cat([standing_NS, hanging_NS], dim=1))


def _centres(num: int, width: float, spacing_N: Tensor) -> Tensor:
    """Obstacles one after the other, the first where the free start ends, `(N, S)`."""
    index_S = torch.arange(num, dtype=torch.float64, device=spacing_N.device)
    return START + width / 2 + index_S * (width + spacing_N.unsqueeze(1))


def _standing(height_NS: Tensor) -> Tensor:
    return torch.where(height_NS > FLUSH, height_NS, -HIDDEN)
