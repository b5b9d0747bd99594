"""Checks of a teacher's constants, with messages for who chose them."""

import torch
from torch import Tensor


def require_share(name: str, value: float) -> None:
    """Raise `ValueError` unless `value` is a number from 0 to 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}.")


def require_above(name: str, value: float, least: float) -> None:
    """Raise `ValueError` unless `value` is above `least`."""
    if not value > least:
        raise ValueError(f"{name} must be above {least}, got {value!r}.")


def corner(name: str, value: tuple[float, ...], dim: int, default: float) -> Tensor:
    """A point of the unit cube given as an option, float64 `(dim,)`; `()` means `default` in all.

    Raises:
        ValueError: unless it has one number from 0 to 1 per dimension.
    """
    point = value or (default,) * dim
    if len(point) != dim or not all(0.0 <= x <= 1.0 for x in point):
        raise ValueError(
            f"{name} must be {dim} numbers from 0 to 1 (one per dimension), got {value!r}."
        )
    return torch.tensor(point, dtype=torch.float64)
