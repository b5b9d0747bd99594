"""A drift in numbers: whether it is one, how far from PPO's and DPO's, how much it changes.

What an agent feels of a drift is its gradient ∂D/∂r, so that is what is compared: over a grid of
equally likely situations in which log r is uniform within ± log 2, A is standard normal (agents
whiten it) and n/N is uniform.

Shape legend: L moments of a life, R ratios, A advantages.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.objectives.drift_check import Drift, DriftCheck, DriftGrid, check_drift
from quickstudy.agents.objectives.drifts import dpo_drift, ppo_drift
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.experiments.discovery.findings import moments

LARGEST_LOG_RATIO = math.log(2.0)
"""Ratios are looked at from ½ to 2."""
_EACH = 32
"""Ratios, and advantages."""
_TIMES = 10


@dataclass(frozen=True)
class Situations:
    """Where drifts are compared, float64."""

    log_ratio_RA: Tensor
    advantage_RA: Tensor
    moments: list[Lifetime]


@dataclass(frozen=True)
class DriftFigures:
    """Root mean squares of gradients, in units of the advantage (∂D/∂r has the unit of A)."""

    check: DriftCheck
    valid: bool
    """Whether D ≥ 0, D(1) = 0 and ∂D/∂r(1) = 0, looked up on a grid."""
    size: float
    """Of the gradient itself."""
    to_ppo: float
    """Of its difference from PPO's gradient."""
    to_dpo: float
    """Of its difference from DPO's."""
    amplitude: float
    """Of its difference from its own mean over the life: 0 if it never changes."""


def reference_drifts(clip: float) -> dict[str, Drift]:
    """PPO's and DPO's, which never change."""
    return {
        "PPO": lambda log_ratio, advantage, _: ppo_drift(log_ratio, advantage, clip),
        "DPO": lambda log_ratio, advantage, _: dpo_drift(log_ratio, advantage),
    }


def ratio_gradient(
    drift: Drift, log_ratio: Tensor, advantage: Tensor, lifetime: Lifetime
) -> Tensor:
    """∂D/∂r, of the shape of `log_ratio`."""
    log_ratio = log_ratio.detach().requires_grad_()
    with torch.enable_grad():
        total = drift(log_ratio, advantage, lifetime).sum()
    (by_log_ratio,) = torch.autograd.grad(total, log_ratio)
    return by_log_ratio * (-log_ratio.detach()).exp()


def situations(total: int) -> Situations:
    """Midpoints of equally likely cells, in a life of `total` updates."""
    share = (torch.arange(_EACH, dtype=torch.float64) + 0.5) / _EACH
    log_ratio_R = (2.0 * share - 1.0) * LARGEST_LOG_RATIO
    advantage_A = torch.special.ndtri(share)
    log_ratio_RA, advantage_RA = torch.meshgrid(log_ratio_R, advantage_A, indexing="ij")
    times = [(k + 0.5) / _TIMES for k in range(_TIMES)]
    return Situations(log_ratio_RA, advantage_RA, moments(total, times))


def over_life(look: Callable[[Tensor, Tensor, Lifetime], Tensor], seen: Situations) -> Tensor:
    """What there is to see at each situation, `(L, R, A)`."""
    return torch.stack(
        [look(seen.log_ratio_RA, seen.advantage_RA, moment) for moment in seen.moments]
    )


def gradients(drift: Drift, seen: Situations) -> Tensor:
    """∂D/∂r, `(L, R, A)`."""
    return over_life(lambda r, a, moment: ratio_gradient(drift, r, a, moment), seen)


def drift_figures(drift: Drift, clip: float, total: int) -> DriftFigures:
    """All figures of a drift of float64, beside PPO of this `clip`; N is `total`."""
    seen = situations(total)
    own_LRA = gradients(drift, seen)
    distance = {
        name: _rms(own_LRA - gradients(other, seen))
        for name, other in reference_drifts(clip).items()
    }
    updates = tuple(int(moment.updates) for moment in moments(total))
    check = check_drift(drift, DriftGrid(updates=updates, total=total))
    return DriftFigures(
        check=check,
        valid=check.passes(),
        size=_rms(own_LRA),
        to_ppo=distance["PPO"],
        to_dpo=distance["DPO"],
        amplitude=_rms(own_LRA - own_LRA.mean(dim=0)),
    )


def _rms(value: Tensor) -> float:
    return float(value.square().mean().sqrt())
