"""A past student's curriculum, for another to follow: its teacher's mixtures, one after the other.

Portelas et al. 2020 (arXiv 2011.08463, section 4): kept are the Gaussians where it made progress,
the niches; each mixture is left behind once the follower scores in it as the past student did.

Shape legend: n episodes, d dimensions, G Gaussians.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.curricula.classrooms.history import History
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.teacher import Mixture

LEAST_PROGRESS = 0.2
"""Gaussians of a mean absolute learning progress up to this are dropped (scores are in [0, 1])."""
LAST_SCORES = 50
"""A threshold is the mean of so many scores."""


@dataclass(frozen=True)
class Step:
    """One mixture of the curriculum."""

    mixture: Mixture
    """Weights are mean absolute learning progress."""
    threshold: float
    """What the past student scored in it before its teacher fitted the next."""


def has_niches(fits: Sequence[FittedMixture]) -> bool:
    """Whether there is anything to follow."""
    return any(bool((fit.mixture.weight_G > LEAST_PROGRESS).any()) for fit in fits)


def niches(history: History, random_share: float) -> list[Step]:
    """The curriculum of a past student; mixtures of which nothing is kept are dropped.

    A mixture's threshold is the mean of the last 50 scores that its kept Gaussians earned while
    levels were drawn from it (where they earned none, of all levels then). The last mixture is
    dropped if no level was drawn from it.

    Args:
        history: of a student whose teacher drew from Gaussians by their mean progress.
        random_share: how much of what its teacher proposed was uniform.
    """
    ends = [fit.episode for fit in history.fits[1:]] + [len(history.score_n)]
    windows = [slice(fit.episode, end) for fit, end in zip(history.fits, ends, strict=True)]
    return [
        _step(fit.mixture, history.point_nd[window], history.score_n[window], random_share)
        for fit, window in zip(history.fits, windows, strict=True)
        if has_niches([fit]) and window.start < window.stop
    ]


def pooled(steps: Sequence[Step]) -> Step:
    """All niches of all steps as one."""
    mixtures = [step.mixture for step in steps]
    pool = Mixture(
        torch.cat([m.weight_G for m in mixtures]),
        torch.cat([m.mean_Gd for m in mixtures]),
        torch.cat([m.covariance_Gdd for m in mixtures]),
    )
    return Step(pool, math.inf)


def origin(mixture: Mixture, point_nd: Tensor, random_share: float) -> Tensor:
    """The likeliest Gaussian for each point to come from, −1 for none (uniform), int64 `(n,)`.

    Histories do not tell; but the teacher's density is known: `random_share` uniform, else a
    Gaussian by its weight.
    """
    chance_G = (1 - random_share) * mixture.weight_G / mixture.weight_G.sum()
    log_nG = _log_density(mixture, point_nd.to(torch.float64)) + chance_G.log()
    uniform_n1 = torch.full((len(point_nd), 1), random_share, dtype=torch.float64).log()
    return torch.cat([uniform_n1, log_nG], dim=1).argmax(dim=1) - 1


def _step(mixture: Mixture, point_nd: Tensor, score_n: Tensor, random_share: float) -> Step:
    keep_G = mixture.weight_G > LEAST_PROGRESS
    origin_n = origin(mixture, point_nd, random_share)
    earned_n = score_n[(origin_n >= 0) & keep_G[origin_n]]
    last = (earned_n if len(earned_n) else score_n)[-LAST_SCORES:]
    kept = Mixture(
        mixture.weight_G[keep_G], mixture.mean_Gd[keep_G], mixture.covariance_Gdd[keep_G]
    )
    return Step(kept, float(last.double().mean()))


def _log_density(mixture: Mixture, point_nd: Tensor) -> Tensor:
    """Of each Gaussian at each point, `(n, G)`."""
    root_Gdd = torch.linalg.cholesky(mixture.covariance_Gdd)
    away_Gdn = (point_nd - mixture.mean_Gd.unsqueeze(1)).mT
    scaled_Gdn = torch.linalg.solve_triangular(root_Gdd, away_Gdn, upper=False)
    log_volume_G = root_Gdd.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    constant = 0.5 * point_nd.shape[1] * math.log(2 * math.pi)
    distance_nG = scaled_Gdn.square().sum(dim=1).mT
    log_nG: Tensor = -(0.5 * distance_nG + log_volume_G + constant)
    return log_nG
