"""A course: the places of a fixed number of boxes, and the heights that a robot's scan finds there.

Shape legend: N worlds, S boxes (slots), F of them on the floor (the first ones), P points.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TRACK_LENGTH = 20.0
"""Metres from the start to the finish. All lengths of a course are in L = 1 m, the length of the
unscaled biped's leg; 1 L is 34/15 units of the Box2D courses."""
START = 2.6
"""Metres from the start without obstacles: more than `SCAN_RANGE`, so that the first observation
is the same on every course."""
SCAN_RANGE = 2.35
"""Metres that the height scan sees ahead (5.33 Box2D units)."""
SCAN_POINTS = 10
HIDDEN = 0.3
"""Metres behind the floor's or the ceiling's surface at which unused boxes are out of reach."""


@dataclass(frozen=True)
class Slots:
    """The boxes of a family's courses: their sizes are the model's, their places each course's."""

    half_widths: tuple[float, ...]
    """Half of each box's extent along the track, m."""
    num_hanging: int = 0
    """How many of them, the last ones, hang from the ceiling."""
    half_height: float = 3.0
    floor: float = 0.0
    """Height of the ground between boxes, m."""
    ceiling: float | None = None
    """Height of the ceiling's underside, m."""

    @property
    def num_standing(self) -> int:
        """F."""
        return len(self.half_widths) - self.num_hanging

    @property
    def hidden_faces(self) -> tuple[float, ...]:
        """Where each box's face is while the box is not used, m."""
        below, above = self.floor - HIDDEN, (self.ceiling or 0.0) + HIDDEN
        return (below,) * self.num_standing + (above,) * self.num_hanging

    @property
    def offsets(self) -> tuple[float, ...]:
        """From each box's face to its centre, m."""
        return (-self.half_height,) * self.num_standing + (self.half_height,) * self.num_hanging


@dataclass(frozen=True)
class Course:
    """Where the boxes are; a slot that is not used has its face behind the floor or the ceiling."""

    x_NS: Tensor
    """Centres along the track, m."""
    face_NS: Tensor
    """Heights of the tops of standing and of the undersides of hanging boxes, m."""


def scan_distances(device: torch.device) -> Tensor:
    """How far ahead the scan looks, `(P,)`, m: ten equal steps up to the range."""
    steps_P = torch.arange(1, SCAN_POINTS + 1, dtype=torch.float64, device=device)
    return steps_P * (SCAN_RANGE / SCAN_POINTS)


def floor_heights(course: Course, slots: Slots, half_width_S: Tensor, x_NP: Tensor) -> Tensor:
    """The height of what stands at these places, `(N, P)`, m; the floor's where nothing does."""
    num = slots.num_standing
    over_NPF = _over(course.x_NS[:, :num], half_width_S[:num], x_NP)
    top_N1F = course.face_NS[:, :num].unsqueeze(1)
    return torch.where(over_NPF, top_N1F, slots.floor).amax(dim=2).clamp(min=slots.floor)


def ceiling_heights(course: Course, slots: Slots, half_width_S: Tensor, x_NP: Tensor) -> Tensor:
    """The height of what hangs over these places, `(N, P)`, m; the ceiling's where nothing does."""
    assert slots.ceiling is not None, "these courses have no ceiling"
    num = slots.num_standing
    under_NPC = _over(course.x_NS[:, num:], half_width_S[num:], x_NP)
    face_N1C = course.face_NS[:, num:].unsqueeze(1)
    return torch.where(under_NPC, face_N1C, slots.ceiling).amin(dim=2).clamp(max=slots.ceiling)


def _over(x_NF: Tensor, half_width_F: Tensor, x_NP: Tensor) -> Tensor:
    """`(N, P, F)`: True where a place is within a box's extent."""
    return (x_NP.unsqueeze(2) - x_NF.unsqueeze(1)).abs() <= half_width_F
