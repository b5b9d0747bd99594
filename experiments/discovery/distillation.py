"""A drift said in four numbers: the member of DPO's family whose gradients are nearest to its own.

Least squares over the situations of `drift_figures`. Gradients are matched, not values, because
they are what an agent feels (as an option of Goldie et al. 2025, arXiv 2507.17668, for symbolic
distillation).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import least_squares
from torch import Tensor

from quickstudy.agents.objectives.dpo_family import DPOFamily, DPOFamilyConfig
from quickstudy.agents.objectives.drift_check import Drift
from quickstudy.experiments.discovery.drift_figures import gradients, over_life, situations

Ends = tuple[float, float]
"""A constant at n/N = 0 and 1."""

_FARTHEST = 5.0
"""Constants are sought within e^±5 of DPO's: beyond, nothing changes any more."""


@dataclass(frozen=True)
class Distilled:
    """The member that was found, and what it explains."""

    family: DPOFamily
    rule_M: Tensor
    """`(4,)` float32."""
    alpha: Ends
    beta: Ends
    r2_gradient: float
    """1 − (squared error)/(variance) of ∂D/∂r; NaN where the drift is 0."""
    r2_drift: float
    """The same of D."""

    def formula(self) -> list[str]:
        """In words of mathematics, a line per sign of the advantage."""
        return [
            f"A ≥ 0: D = ReLU((r−1)A − α·tanh((r−1)A/α)), α = {_line(self.alpha)}",
            f"A < 0: D = ReLU(log(r)A − β·tanh(log(r)A/β)), β = {_line(self.beta)}",
        ]


def distil(drift: Drift, total: int, entropy_coefficient: float | None = None) -> Distilled:
    """Fit the family to a drift of float64 in a life of `total` updates.

    Args:
        drift: the teacher.
        total: N.
        entropy_coefficient: what the teacher says about it, which is handed on.
    """
    family, seen = DPOFamily(DPOFamilyConfig(entropy_coefficient)), situations(total)
    wanted_LRA = gradients(drift, seen)

    def error(rule_M: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64]
        found = (gradients(_member(family, torch.from_numpy(rule_M)), seen) - wanted_LRA).numpy()
        return found.ravel()

    start = np.zeros(family.layout.num_parameters)
    fit = least_squares(error, start, bounds=(-_FARTHEST, _FARTHEST))
    best_M = torch.from_numpy(fit.x)
    student = _member(family, best_M)
    alpha, beta = family.ends(best_M)
    return Distilled(
        family=family,
        rule_M=best_M.to(torch.float32),
        alpha=(float(alpha[0]), float(alpha[1])),
        beta=(float(beta[0]), float(beta[1])),
        r2_gradient=_r2(wanted_LRA, gradients(student, seen)),
        r2_drift=_r2(over_life(drift, seen), over_life(student, seen)),
    )


def _member(family: DPOFamily, rule_M: Tensor) -> Drift:
    return lambda log_ratio, advantage, lifetime: family(rule_M, log_ratio, advantage, lifetime)


def _r2(wanted: Tensor, found: Tensor) -> float:
    """NaN where all that is wanted is the same."""
    variation = float((wanted - wanted.mean()).square().sum())
    error = float((wanted - found).square().sum())
    return 1.0 - error / variation if variation > 0.0 else math.nan


def _line(ends: Ends) -> str:
    """`1.9 + 0.3·n/N`; without its second part where it rounds to 0."""
    first, change = ends[0], ends[1] - ends[0]
    if abs(change) < 5e-4 * max(1.0, first):
        return f"{first:.3g}"
    return f"{first:.3g} {'+' if change > 0 else '−'} {abs(change):.3g}·n/N"
