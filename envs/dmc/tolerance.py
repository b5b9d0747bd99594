"""Rewards that are 1 within bounds and fall off outside (Tunyasuvunakool et al. 2020, section 4.2).

Shape legend: N worlds.
"""

import math

import torch
from torch import Tensor

VALUE_AT_MARGIN = 0.1


def within(x_N: Tensor, low: float, high: float) -> Tensor:
    """1 where low ≤ x ≤ high, else 0, float64."""
    return ((x_N >= low) & (x_N <= high)).to(torch.float64)


def gaussian(x_N: Tensor, low: float, high: float, margin: float) -> Tensor:
    """1 where low ≤ x ≤ high; a bell outside, which is at 0.1 a `margin` away from the bounds."""
    distance_N = torch.maximum(low - x_N, x_N - high).clamp(min=0.0) / margin
    scale = math.sqrt(-2.0 * math.log(VALUE_AT_MARGIN))
    return torch.exp(-0.5 * (distance_N * scale).square())


def quadratic(x_N: Tensor) -> Tensor:
    """A parabola that is 1 at x = 0 and 0 from |x| = 1 on."""
    return (1.0 - x_N.square()).clamp(min=0.0)
