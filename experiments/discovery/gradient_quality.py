"""How good estimates of a gradient are: direction, noise and bias, against one that is known.

Shape legend: S independent estimates, M parameters, R resamples, n draws behind a reference.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from quickstudy.experiments.statistics import (
    Array,
    Interval,
    mean_interval,
    stratified_bootstrap,
)

GROUPS = 20
"""Means that the squared bias is computed from, in pairs."""


@dataclass(frozen=True)
class Reference:
    """A gradient known well: the mean of n draws and its standard errors, `(M,)` each."""

    mean_M: Array
    error_M: Array
    length_error: float
    """Standard error of the mean along itself, over its length."""

    @classmethod
    def of(cls, draws_nM: npt.ArrayLike) -> "Reference":
        """From independent draws `(n, M)`; a single one is taken to be exact."""
        x_nM = np.asarray(draws_nM, dtype=np.float64)
        mean_M = x_nM.mean(axis=0)
        if len(x_nM) == 1:
            return cls(mean_M, np.zeros_like(mean_M), 0.0)
        error_M = x_nM.std(axis=0, ddof=1) / np.sqrt(len(x_nM))
        along_n = x_nM @ mean_M / (mean_M @ mean_M)
        return cls(mean_M, error_M, float(along_n.std(ddof=1) / np.sqrt(len(x_nM))))


@dataclass(frozen=True)
class Direction:
    """Where estimates point; 95 % intervals from the bootstrap over estimates."""

    cosine: Interval
    """Of one estimate with the reference, on average."""
    cosine_of_mean: Interval
    """Of the mean of all estimates with the reference: what is left when noise is averaged out. The
    interval leans towards 0 where the mean itself is still noisy."""
    noise: Interval
    """√(trace of the covariance) of one estimate, over the length of the mean."""


@dataclass(frozen=True)
class Bias:
    """How far the mean of estimates is from the reference; intervals are Student's t, 95 %."""

    length: Interval
    """⟨estimate, reference⟩ / ‖reference‖²: 1 for an unbiased one. The interval allows for the
    reference's error, too."""
    squared: Interval
    """‖E[estimate] − reference‖² / ‖reference‖²: 0 for an unbiased one. Its estimate is unbiased
    and so may be below 0."""
    largest_error: float | None
    """Over the coordinates, |mean − reference| in standard errors of both; None where nothing is
    random."""
    error_limit: float
    """What `largest_error` stays below in at least 95 % of the cases if there is no bias
    (Student's t, Bonferroni)."""

    @property
    def unbiased(self) -> bool | None:
        """True if no coordinate is further off than chance explains; None where there is none."""
        return None if self.largest_error is None else self.largest_error < self.error_limit


def direction(draws_SM: Array, reference: Reference, seed: int) -> Direction:
    """Where S estimates `(S, M)` point; `seed` resamples them."""
    aim_M = reference.mean_M / np.linalg.norm(reference.mean_M)

    def cosine_of_mean(x_RS1M: Array) -> Array:
        return _cosine(x_RS1M[:, :, 0].mean(axis=1), aim_M)

    def noise(x_RS11: Array) -> Array:
        return np.asarray(np.sqrt(x_RS11.mean(axis=(1, 2, 3))) / np.linalg.norm(mean_M))

    mean_M = draws_SM.mean(axis=0)
    cosine_S = _cosine(draws_SM, aim_M)
    squares_S = ((draws_SM - mean_M) ** 2).sum(axis=1)
    return Direction(
        stratified_bootstrap(cosine_S[:, None, None], "mean", seed=seed),
        stratified_bootstrap(draws_SM[:, None], cosine_of_mean, seed=seed),
        stratified_bootstrap(squares_S[:, None, None], noise, seed=seed),
    )


def bias(draws_SM: Array, reference: Reference) -> Bias:
    """How far estimates `(S, M)` are off on average; S = 1: of an estimator without chance.

    Raises:
        ValueError: for 2 or 3 estimates: they do not tell bias from chance.
    """
    if len(draws_SM) in (2, 3):
        raise ValueError(f"A bias needs at least 4 estimates, got {len(draws_SM)}.")
    size = float(reference.mean_M @ reference.mean_M)
    return Bias(
        _length(mean_interval(draws_SM @ reference.mean_M / size), reference.length_error),
        _squared_bias(draws_SM, reference, size),
        _largest_error(draws_SM, reference) if len(draws_SM) > 1 else None,
        float(stats.t.ppf(1.0 - 0.025 / draws_SM.shape[1], max(1, len(draws_SM) - 1))),
    )


def _length(of_estimates: Interval, error: float) -> Interval:
    """The interval with the reference's own error added to it."""
    point, own = of_estimates.point, 1.96 * error
    half = math.hypot(of_estimates.high - point, own * point)
    return Interval(point, point - half, point + half)


def _largest_error(draws_SM: Array, reference: Reference) -> float:
    """The coordinate that is furthest off, in standard errors (0 where it is not off at all)."""
    error_M = np.sqrt(draws_SM.var(axis=0, ddof=1) / len(draws_SM) + reference.error_M**2)
    off_M = np.abs(draws_SM.mean(axis=0) - reference.mean_M)
    return float((off_M / np.maximum(error_M, 1e-300)).max())


def _squared_bias(draws_SM: Array, reference: Reference, size: float) -> Interval:
    """From products of the errors of disjoint halves: unlike a square, they average to the squared
    bias alone. The reference's own error, which is in both, is taken off.
    """
    groups = min(GROUPS, len(draws_SM) // 2 * 2)
    common = float(reference.error_M @ reference.error_M)
    if groups == 0:
        error_M = draws_SM[0] - reference.mean_M
        return mean_interval([(float(error_M @ error_M) - common) / size])
    error = [part.mean(axis=0) - reference.mean_M for part in np.array_split(draws_SM, groups)]
    products = [float(a @ b) for a, b in zip(error[::2], error[1::2], strict=True)]
    return mean_interval((np.array(products) - common) / size)


def _cosine(x_SM: Array, aim_M: Array) -> Array:
    """Of each row with a unit vector, `(S,)`; 0 for a row of zeros."""
    return np.asarray(x_SM @ aim_M / np.maximum(np.linalg.norm(x_SM, axis=1), 1e-300))
