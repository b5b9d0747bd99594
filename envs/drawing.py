"""Simple pictures of mechanisms: rods on a square of paper, y upwards, the origin in its middle."""

import numpy as np

PICTURE_SIZE = 240
"""Pixels along each side."""
PAPER = 245

Point = tuple[float, float]
Colour = tuple[int, int, int]


def paper() -> np.ndarray:
    """An empty RGB picture, uint8 `(240, 240, 3)`."""
    return np.full((PICTURE_SIZE, PICTURE_SIZE, 3), PAPER, np.uint8)


def draw_rod(
    picture: np.ndarray, ends: tuple[Point, Point], radius: float, colour: Colour, side: float
) -> None:
    """All points within `radius` of a straight line between two points; a disc if they are one.

    Args:
        picture: what to draw into.
        ends: (x, y) of both, in the unit of `side`.
        radius: half the rod's width, in the same unit.
        colour: red, green, blue.
        side: what the picture's side stands for.
    """
    (x, y), end = ends
    along_x, along_y = end[0] - x, end[1] - y
    centres = ((np.arange(PICTURE_SIZE) + 0.5) / PICTURE_SIZE - 0.5) * side
    away_x, away_y = centres[None, :] - x, -centres[:, None] - y
    squared = along_x**2 + along_y**2
    share: float | np.ndarray = 0.0
    if squared > 0.0:
        share = np.clip((away_x * along_x + away_y * along_y) / squared, 0.0, 1.0)
    distance = np.hypot(away_x - share * along_x, away_y - share * along_y)
    picture[distance < radius] = colour
