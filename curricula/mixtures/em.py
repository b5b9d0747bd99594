"""Gaussian mixtures: many fitted side by side by EM, the best chosen by AIC; and drawing from one.

A teacher refits after every few hundred levels, with 2, 3, … 10 Gaussians, and keeps the mixture of
the best AIC. The models are small (250 points, 3 dimensions), so what costs is the number of calls:
here the Gaussians of all models lie in one array, one after the other, and a model leaves it when
it has converged. NumPy, as it has less to do per call than torch.

Shape legend: n points, d dimensions, M models, C Gaussians of all models together, G of one,
F features of a point (1, its coordinates, their products).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from quickstudy.curricula.drawing import pick
from quickstudy.curricula.teacher import Mixture
from quickstudy.envs import rng

COVARIANCE_FLOOR = 1e-6
"""Added to every variance, as scikit-learn's `reg_covar`: no Gaussian is narrower than 0.001."""
TOLERANCE = 1e-3
"""A model is done when a step changes its mean log-likelihood by less, as scikit-learn's `tol`."""
MAX_STEPS = 100
_KMEANS_STEPS = 10
_NO_WEIGHT = 10 * np.finfo(np.float64).eps
"""Added to what a Gaussian holds, so that one which holds no point is no division by zero."""


@dataclass(frozen=True)
class Fit:
    """A mixture fitted to points."""

    mixture: Mixture
    """Its weights add up to 1."""
    log_likelihood: float
    """Mean over the points, in nats."""
    aic: float
    """Akaike's information criterion; the lower, the better."""


def fit_best(points_nd: Tensor, counts: Sequence[int], key: Tensor, restarts: int = 1) -> Fit:
    """The mixture of the lowest AIC among those of `fit_all`."""
    return min(fit_all(points_nd, counts, key, restarts), key=lambda fit: fit.aic)


def fit_all(points_nd: Tensor, counts: Sequence[int], key: Tensor, restarts: int = 1) -> list[Fit]:
    """Mixtures with full covariances, by expectation-maximisation (Dempster, Laird & Rubin 1977).

    Each starts from the clusters of k-means (at most 10 steps), itself started by k-means++
    (Arthur & Vassilvitskii 2007) and drawn from `key`, the model's count and its restart.

    Args:
        points_nd: float64, finite, of a scale of about 1 (the floor under variances is 1e-6).
        counts: numbers of Gaussians to try; those above n count as n.
        key: decides all that is drawn.
        restarts: models per count.

    Returns:
        One fit per count (rising) and restart.
    """
    x_nd = points_nd.numpy()
    tried = sorted({min(count, len(x_nd)) for count in counts})
    models = _Models.of([count for count in tried for _ in range(restarts)])
    draw_MG = _draws(key, models.count_M, restarts)
    centre_d = x_nd.mean(axis=0)
    parts = _converge(x_nd - centre_d, _clusters(x_nd - centre_d, models, draw_MG), models)
    return [_fit(part, centre_d, len(x_nd)) for part in parts]


def num_parameters(count: int, dim: int) -> int:
    """Free parameters of a mixture with full covariances: weights, means, covariances."""
    return count - 1 + count * dim + count * dim * (dim + 1) // 2


def draw(mixture: Mixture, choice_n: Tensor, normal_nd: Tensor) -> Tensor:
    """Points `(n, d)` from Gaussians that are chosen by their weight.

    Args:
        mixture: at least one Gaussian; where all weights are 0, each is as likely as the others.
        choice_n: uniforms in [0, 1) that choose the Gaussians.
        normal_nd: standard normal draws.
    """
    chosen_n = pick(mixture.weight_G, choice_n)
    root_Gdd = torch.linalg.cholesky(mixture.covariance_Gdd)
    away_nd: Tensor = (root_Gdd[chosen_n] @ normal_nd.unsqueeze(2)).squeeze(2)
    return mixture.mean_Gd[chosen_n] + away_nd


@dataclass(frozen=True)
class _Models:
    """Where the Gaussians of each model lie among those of all."""

    count_M: np.ndarray
    start_M: np.ndarray
    model_C: np.ndarray

    @classmethod
    def of(cls, counts: Sequence[int]) -> "_Models":
        count_M = np.array(counts)
        model_C = np.repeat(np.arange(len(count_M)), count_M)
        return cls(count_M, np.cumsum(count_M) - count_M, model_C)

    def sums(self, values_Cn: np.ndarray) -> np.ndarray:
        """Over the Gaussians of each model, `(M, n)`."""
        return np.add.reduceat(values_Cn, self.start_M, axis=0)

    def largest(self, values_Cn: np.ndarray) -> np.ndarray:
        """Over the Gaussians of each model, `(M, n)`."""
        return np.maximum.reduceat(values_Cn, self.start_M, axis=0)


@dataclass(frozen=True)
class _Gaussians:
    """Gaussians of all models, or of one."""

    weight_C: np.ndarray
    mean_Cd: np.ndarray
    covariance_Cdd: np.ndarray

    def rows(self, keep_C: np.ndarray) -> "_Gaussians":
        return _Gaussians(self.weight_C[keep_C], self.mean_Cd[keep_C], self.covariance_Cdd[keep_C])


# --- the start --------------------------------------------------------------------------------


def _draws(key: Tensor, count_M: np.ndarray, restarts: int) -> np.ndarray:
    """Uniforms `(M, most Gaussians)`; a model's do not depend on which others are tried."""
    restart_M = torch.arange(len(count_M)) % restarts
    key_M = rng.fold_in(rng.fold_in(key, torch.from_numpy(count_M)), restart_M)
    return rng.uniform(key_M, int(count_M.max())).numpy()


def _clusters(x_nd: np.ndarray, models: _Models, draw_MG: np.ndarray) -> np.ndarray:
    """Who belongs to whom `(C, n)` after a few steps of k-means."""
    seed_MGd = x_nd[_spread_seeds(x_nd, draw_MG)]
    place_C = np.arange(len(models.model_C)) - models.start_M[models.model_C]
    mean_Cd = seed_MGd[models.model_C, place_C]
    share_Cn = _nearest_shares(x_nd, mean_Cd, models)
    for _ in range(_KMEANS_STEPS):
        weight_C = share_Cn.sum(axis=1) + _NO_WEIGHT
        before_Cn = share_Cn
        share_Cn = _nearest_shares(x_nd, share_Cn @ x_nd / weight_C[:, None], models)
        if np.array_equal(share_Cn, before_Cn):
            break
    return share_Cn


def _spread_seeds(x_nd: np.ndarray, draw_MG: np.ndarray) -> np.ndarray:
    """Indices of points `(M, G)`, each drawn by its squared distance to those before it."""
    seed_MG = np.empty(draw_MG.shape, np.int64)
    seed_MG[:, 0] = draw_MG[:, 0] * len(x_nd)
    apart_Mn = np.full((len(draw_MG), len(x_nd)), np.inf)
    for g in range(1, draw_MG.shape[1]):
        gap_Mnd = x_nd - x_nd[seed_MG[:, g - 1], None]
        np.minimum(apart_Mn, np.einsum("mnd,mnd->mn", gap_Mnd, gap_Mnd), out=apart_Mn)
        upper_Mn = np.cumsum(apart_Mn, axis=1)
        seed_MG[:, g] = (upper_Mn[:, :-1] <= draw_MG[:, g, None] * upper_Mn[:, -1:]).sum(axis=1)
    return seed_MG


def _nearest_shares(x_nd: np.ndarray, mean_Cd: np.ndarray, models: _Models) -> np.ndarray:
    """1 where a mean is the nearest of its model's to a point; equally near ones share it."""
    # Minus the squared distance, without what is the same for all means.
    nearness_Cn = mean_Cd @ (2 * x_nd.T) - (mean_Cd**2).sum(axis=1)[:, None]
    nearest_Cn = nearness_Cn == models.largest(nearness_Cn)[models.model_C]
    share_Cn: np.ndarray = nearest_Cn.astype(np.float64)
    share_Cn /= models.sums(share_Cn)[models.model_C]
    return share_Cn


# --- expectation-maximisation -----------------------------------------------------------------


def _converge(
    x_nd: np.ndarray, share_Cn: np.ndarray, models: _Models
) -> list[tuple[_Gaussians, float]]:
    """Each model's Gaussians and its mean log-likelihood, once it has settled."""
    features_nF = _features(x_nd)
    done: dict[int, tuple[_Gaussians, float]] = {}
    name_M = np.arange(len(models.count_M))
    before_M = np.full(len(name_M), -np.inf)
    for step in range(MAX_STEPS + 1):
        gaussians = _maximise(features_nF, share_Cn)
        share_Cn, level_M = _expect(features_nF, gaussians, models)
        stop_M = (level_M - before_M < TOLERANCE) | (step == MAX_STEPS)
        before_M = level_M
        for m in stop_M.nonzero()[0]:
            done[name_M[m]] = gaussians.rows(models.model_C == m), float(level_M[m])
        if stop_M.all():
            break
        if stop_M.any():
            share_Cn = share_Cn[~stop_M[models.model_C]]
            name_M, before_M = name_M[~stop_M], before_M[~stop_M]
            models = _Models.of(models.count_M[~stop_M])
    return [done[m] for m in sorted(done)]


def _features(x_nd: np.ndarray) -> np.ndarray:
    """What a Gaussian's log density is linear in, `(n, F)`: 1, x_i, x_i x_j for i ≤ j."""
    i, j = _pairs(x_nd.shape[1])
    return np.concatenate([np.ones((len(x_nd), 1)), x_nd, x_nd[:, i] * x_nd[:, j]], axis=1)


def _maximise(features_nF: np.ndarray, share_Cn: np.ndarray) -> _Gaussians:
    """The Gaussians that explain these shares of the points best (the M step)."""
    dim = _dim_of(features_nF)
    i, j = _pairs(dim)
    sum_CF = share_Cn @ features_nF
    weight_C = sum_CF[:, 0] + _NO_WEIGHT
    moment_CF = sum_CF / weight_C[:, None]
    mean_Cd = moment_CF[:, 1 : dim + 1]
    covariance_Cdd = np.empty((len(mean_Cd), dim, dim))
    covariance_Cdd[:, i, j] = moment_CF[:, dim + 1 :] - mean_Cd[:, i] * mean_Cd[:, j]
    covariance_Cdd[:, j, i] = covariance_Cdd[:, i, j]
    covariance_Cdd[:, np.arange(dim), np.arange(dim)] += COVARIANCE_FLOOR
    return _Gaussians(weight_C / len(features_nF), mean_Cd, covariance_Cdd)


def _expect(
    features_nF: np.ndarray, gaussians: _Gaussians, models: _Models
) -> tuple[np.ndarray, np.ndarray]:
    """Each Gaussian's share of each point `(C, n)`, and mean log-likelihoods `(M,)`: the E step."""
    log_Cn = _coefficients(gaussians) @ features_nF.T
    top_Mn = models.largest(log_Cn)
    log_Cn -= top_Mn[models.model_C]
    share_Cn = np.exp(log_Cn, out=log_Cn)
    total_Mn = models.sums(share_Cn)
    share_Cn /= total_Mn[models.model_C]
    return share_Cn, (top_Mn + np.log(total_Mn)).mean(axis=1)


def _coefficients(gaussians: _Gaussians) -> np.ndarray:
    """Of log(weight × density) in a point's features, `(C, F)`.

    With P the inverse covariance: −½(x − μ)ᵀP(x − μ) = −½μᵀPμ + (Pμ)ᵀx − ½ Σᵢⱼ Pᵢⱼxᵢxⱼ.
    """
    mean_Cd = gaussians.mean_Cd
    dim = mean_Cd.shape[1]
    i, j = _pairs(dim)
    root_Cdd = np.linalg.cholesky(gaussians.covariance_Cdd)
    half_log_det_C = np.log(np.diagonal(root_Cdd, axis1=1, axis2=2)).sum(axis=1)
    precision_Cdd = np.linalg.inv(gaussians.covariance_Cdd)
    linear_Cd = (precision_Cdd @ mean_Cd[:, :, None])[:, :, 0]
    constant_C = np.log(gaussians.weight_C) - half_log_det_C - dim / 2 * math.log(2 * math.pi)
    constant_C -= (linear_Cd * mean_Cd).sum(axis=1) / 2
    quadratic_CF = precision_Cdd[:, i, j] * np.where(i == j, -0.5, -1.0)
    return np.concatenate([constant_C[:, None], linear_Cd, quadratic_CF], axis=1)


@cache
def _pairs(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """All (i, j) with i ≤ j."""
    i, j = np.triu_indices(dim)
    return i, j


def _dim_of(features_nF: np.ndarray) -> int:
    """The d for which 1 + d + d(d + 1)/2 = F."""
    return (math.isqrt(1 + 8 * features_nF.shape[1]) - 3) // 2


def _fit(part: tuple[_Gaussians, float], centre_d: np.ndarray, num_points: int) -> Fit:
    gaussians, level = part
    count, dim = gaussians.mean_Cd.shape
    mixture = Mixture(
        torch.from_numpy(gaussians.weight_C),
        torch.from_numpy(gaussians.mean_Cd + centre_d),
        torch.from_numpy(gaussians.covariance_Cdd),
    )
    aic = 2 * num_parameters(count, dim) - 2 * num_points * level
    return Fit(mixture, level, aic)
