"""Rough courses: a floor of slabs, with pits between them, stumps on them, and stairs.

After a slab of its own (the start) come 14 slabs of 1 m and a last one beyond the finish. They form
blocks: a pit or a stump takes two slabs, a flight of stairs one per step and one more. Which block
is which, how large, and whether stairs rise or fall is drawn from the seed. A pit is real: the
next slab lies farther away, and nothing but the depth is between them.

Shape legend: N worlds, B blocks, S slabs.
"""

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.parkour.course import HIDDEN, START, Course, Slots

STEP = 14.0 / 34.0 / 2.0
"""Metres per terrain step of the Box2D walker (14/30 of 34/15 units per metre), in which pits,
stumps and stairs are measured."""
NUM_SLABS = 14
SLAB_WIDTH = 1.0
NUM_BLOCKS = 7
"""As many as fit if all have two slabs."""
STUMP_WIDTH = 0.3
ROUGHNESS = 0.03
"""Metres, per unit of roughness, by which a slab lies at most above or below the last one."""
START_WIDTH, END_WIDTH = START + 3.0, 8.0
DEPTH = -40.0
"""Height of what lies below the slabs, m: below all stairs."""
PIT, STUMP, STAIRS = 0, 1, 2

GROUND = slice(0, NUM_SLABS + 2)
"""The slots of the slabs in order, the first and the last one among them; then come stumps."""

ROUGH_SLOTS = Slots(
    (
        START_WIDTH / 2,
        *(SLAB_WIDTH / 2,) * NUM_SLABS,
        END_WIDTH / 2,
        *(STUMP_WIDTH / 2,) * NUM_BLOCKS,
    ),
    floor=DEPTH,
)


def rough_course(task_ND: Tensor, key_N: Tensor) -> Course:
    """Slabs and stumps for the eight parameters of `ParkourRough` (see its manual)."""
    u_NK = rng.uniform(key_N, 3 * NUM_BLOCKS + NUM_SLABS)
    *u_3NB, u_NS = u_NK.split_with_sizes([NUM_BLOCKS] * 3 + [NUM_SLABS], dim=1)
    kind_NB = (3.0 * u_3NB[0]).long()
    steps_N1 = torch.floor(task_ND[:, 7:8] + 0.5).long()
    slabs_NB = torch.where(kind_NB == STAIRS, steps_N1, 1) + 1
    first_NB = slabs_NB.cumsum(dim=1) - slabs_NB
    size_NB = _sizes(task_ND, kind_NB, u_3NB[1])
    index_S = torch.arange(NUM_SLABS, device=task_ND.device)
    block_NS = (first_NB.unsqueeze(1) <= index_S.unsqueeze(1)).sum(dim=2) - 1
    kind_NS = kind_NB.gather(1, block_NS)
    size_NS = size_NB.gather(1, block_NS)
    order_NS = index_S - first_NB.gather(1, block_NS)
    gap_NS = torch.where((kind_NS == PIT) & (order_NS == 0), size_NS, 0.0)
    rises_NS = torch.where(u_3NB[2].gather(1, block_NS) < 0.5, -size_NS, size_NS)
    stairs_NS = torch.where((kind_NS == STAIRS) & (order_NS < steps_N1), rises_NS, 0.0)
    rough_NS = ROUGHNESS * task_ND[:, :1] * (2.0 * u_NS - 1.0)
    # Integers times a number would be float32.
    left_NS = START + SLAB_WIDTH * index_S.to(torch.float64) + gap_NS.cumsum(dim=1)
    top_NS = (stairs_NS + rough_NS).cumsum(dim=1)
    stumps = _stumps(kind_NB, first_NB, size_NB, left_NS, top_NS)
    return _laid(left_NS, top_NS, stumps)


def _sizes(task_ND: Tensor, kind_NB: Tensor, u_NB: Tensor) -> Tensor:
    """Width of pits, height of stumps and of stairs' steps, m: uniform between two parameters."""
    low_N3, high_N3 = task_ND[:, 1:7:2], task_ND[:, 2:7:2]
    low_NB, high_NB = low_N3.gather(1, kind_NB), high_N3.gather(1, kind_NB)
    return STEP * (low_NB + u_NB * (high_NB - low_NB))


def _stumps(
    kind_NB: Tensor, first_NB: Tensor, size_NB: Tensor, left_NS: Tensor, top_NS: Tensor
) -> Course:
    """A box in the middle of the first slab of each block that is a stump."""
    slab_NB = first_NB.clamp(max=NUM_SLABS - 1)
    used_NB = (kind_NB == STUMP) & (first_NB < NUM_SLABS)
    x_NB = left_NS.gather(1, slab_NB) + SLAB_WIDTH / 2
    face_NB = torch.where(used_NB, top_NS.gather(1, slab_NB) + size_NB, DEPTH - HIDDEN)
    return Course(x_NB, face_NB)


def _laid(left_NS: Tensor, top_NS: Tensor, stumps: Course) -> Course:
    """The first slab, the others, the last one, and the stumps, in the order of the slots."""
    zero_N1 = torch.zeros_like(top_NS[:, :1])
    right_N1 = left_NS[:, -1:] + SLAB_WIDTH
    x = [
        zero_N1 + (START - START_WIDTH / 2),
        left_NS + SLAB_WIDTH / 2,
        right_N1 + END_WIDTH / 2,
        stumps.x_NS,
    ]
    return Course(
        torch.cat(x, dim=1), torch.cat([zero_N1, top_NS, top_NS[:, -1:], stumps.face_NS], dim=1)
    )
