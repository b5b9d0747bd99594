"""Whether a drift is one: D ≥ 0, D = 0 and ∂D/∂r = 0 at r = 1, looked up on a grid.

Shape legend: R ratios, A advantages, L moments of a life.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.objectives.lifetime import Lifetime

Drift = Callable[[Tensor, Tensor, Lifetime], Tensor]
"""D of log-ratios and advantages, of their shape, at a moment of a life (scalars)."""

_STEP = 1e-7
"""How far from r = 1 slopes are measured, on either side: a kink shows, curvature hardly."""


@dataclass(frozen=True)
class DriftGrid:
    """Where to look."""

    log_ratio: Sequence[float] = tuple(i / 20 for i in range(-60, 61))
    advantage: Sequence[float] = tuple(i / 4 for i in range(-16, 17))
    updates: Sequence[int] = (0, 25, 50, 75, 99)
    total: int = 100


@dataclass(frozen=True)
class DriftCheck:
    """The worst of a grid; of a drift, all are 0 (slopes up to 10⁻⁷ times the curvature)."""

    below_zero: float
    """max(0, −D)."""
    at_one: float
    """|D| at r = 1."""
    slope_at_one: float
    """|∂D/∂r| at r = 1, from either side."""

    def passes(self, tolerance: float = 1e-4) -> bool:
        """Whether nothing is worse than this (NaN is)."""
        return all(
            worst <= tolerance for worst in (self.below_zero, self.at_one, self.slope_at_one)
        )


def check_drift(drift: Drift, grid: DriftGrid | None = None) -> DriftCheck:
    """Look at every point of a grid, in float64 (a rule has to be of float64, too)."""
    grid = grid or DriftGrid()
    advantage_A = torch.tensor(grid.advantage, dtype=torch.float64)
    log_ratio_R = torch.tensor(grid.log_ratio, dtype=torch.float64)
    beside_2 = torch.log1p(torch.tensor([-_STEP, _STEP], dtype=torch.float64))
    moments = [
        Lifetime(torch.tensor(updates), torch.tensor(grid.total)) for updates in grid.updates
    ]

    def looked_up(log_ratio: Tensor) -> Tensor:
        log_ratio_RA, advantage_RA = torch.meshgrid(log_ratio, advantage_A, indexing="ij")
        return torch.stack([drift(log_ratio_RA, advantage_RA, moment) for moment in moments])

    at_one = looked_up(torch.zeros(1, dtype=torch.float64))
    return DriftCheck(
        below_zero=_worst((-looked_up(log_ratio_R)).relu()),
        at_one=_worst(at_one),
        slope_at_one=_worst((looked_up(beside_2) - at_one) / _STEP),
    )


def _worst(violation: Tensor) -> float:
    """The largest absolute value; NaN if there is one."""
    return float(violation.abs().max())
