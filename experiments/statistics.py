"""Scores and their intervals, from returns kept as an array [seed, task, episode].

Shape legend: S training seeds, T tasks, K episodes of a trial, R resamples, U seeds of a second
agent.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from quickstudy.envs.errors import require_positive, unknown

Array = npt.NDArray[np.float64]

Statistic = Callable[[Array], Array]
"""A statistic of many resamples at once: `(R, S, T, K)` in, `(R,)` out."""

_CHUNK = 4_000_000
"""Resampled values held in memory at a time (32 MB)."""


@dataclass(frozen=True)
class Interval:
    """A point estimate with the ends of its confidence interval, in the unit of the values."""

    point: float
    low: float
    high: float


def iqm(x: npt.ArrayLike) -> float:
    """Interquartile mean: the mean of what is left when the ⌊n/4⌋ lowest and highest are cut.

    Values of any shape are pooled (Agarwal et al. 2021, "Deep RL at the edge of the statistical
    precipice"; the same as SciPy's `trim_mean(x, 0.25)`). Of fewer than four, nothing is cut.

    Raises:
        ValueError: if there is no value, or one is not finite.
    """
    values = _finite("x", x)
    return float(stats.trim_mean(values.ravel(), 0.25))


def stratified_bootstrap(
    returns_STK: npt.ArrayLike,
    statistic: str | Statistic,
    *,
    num_resamples: int = 2000,
    seed: int,
    confidence: float = 0.95,
    strata_T: Sequence[int] | None = None,
) -> Interval:
    """Percentile bootstrap interval over seeds and tasks.

    Each resample draws, with replacement, S whole seeds, and T tasks: within each stratum of tasks
    as many as it has, so that its weight stays. Every drawn seed is paired with every drawn task
    (the pigeonhole bootstrap: Owen 2007, Annals of Applied Statistics 1(2)), and the K episodes of
    a trial stay together. The interval lies between the (1 ± confidence)/2 quantiles of the
    statistic.

    Why not draw seeds anew for each task, as rliable does: there, each pair of seed and task is a
    training run of its own; here, all tasks of a seed are played by one trained agent, so their
    returns rise and fall together, and likewise all seeds play the same list of tasks.

    What to expect: with one seed, the interval speaks for that agent on new tasks, and says nothing
    about other seeds. Few seeds make it too narrow: on normal data with effects of seed, task and
    noise of spread 1, 2 and 1 over 100 tasks, 95 % intervals held the truth in 82 % of the cases
    with 3 seeds, 87 % with 5, 93 % with 20; `mean_interval` of the seeds' means is right for few.
    Pure noise without seed or task effects makes it too wide (held in 99 %). Finite task spaces
    listed evenly (two directions) should pass the task's identity as `strata_T`.

    Args:
        returns_STK: returns, `(S, T, K)`.
        statistic: `"mean"`, `"iqm"`, or a function of `(R, S, T, K)` giving `(R,)`.
        num_resamples: R.
        seed: seeds the resampling; the same seed gives the same interval.
        confidence: between 0 and 1.
        strata_T: a label per task; by default all tasks are one stratum.

    Raises:
        ValueError: for a wrong shape, a value that is not finite, or an argument out of range.
    """
    x_STK = _returns(returns_STK)
    require_positive("num_resamples", num_resamples)
    _check_confidence(confidence)
    function = _statistic(statistic)
    resampled_R = np.concatenate(
        [function(x_RSTK) for x_RSTK in _resamples(x_STK, num_resamples, seed, strata_T)]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled_R, [tail, 1 - tail])
    return Interval(float(function(x_STK[None])[0]), float(low), float(high))


def mean_interval(x: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values `(n,)`, such as one per seed.

    With a single value the width is zero: nothing in it tells how far it may be off.

    Raises:
        ValueError: unless `x` is one-dimensional, finite and not empty.
    """
    values = _finite("x", x)
    if values.ndim != 1:
        raise ValueError(f"x must have shape (n,), got {values.shape}.")
    _check_confidence(confidence)
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return Interval(mean, mean, mean)
    quantile = stats.t.ppf((1 + confidence) / 2, count - 1)
    half = float(quantile * values.std(ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half)


def adaptation_gain(returns_STK: npt.ArrayLike) -> Array:
    """Return of the last episode minus that of the first, `(S, T)`; zero where K = 1.

    For an interval of it, pass `adaptation_gain(returns)[..., None]` to `stratified_bootstrap`.

    Raises:
        ValueError: for a wrong shape or a value that is not finite.
    """
    x_STK = _returns(returns_STK)
    return x_STK[..., -1] - x_STK[..., 0]


def normalised_score(
    returns: npt.ArrayLike, non_adaptive: npt.ArrayLike, oracle: npt.ArrayLike
) -> Array:
    """Returns on the scale where the best non-adaptive policy is 0 and the task oracle is 1.

    Args:
        returns: any shape, in the anchors' unit (both per episode).
        non_adaptive: a scalar, or any shape that broadcasts against `returns`.
        oracle: likewise; everywhere above `non_adaptive`.

    Raises:
        ValueError: if an oracle is not above its non-adaptive anchor, or a value is not finite.
    """
    x, low, high = _finite("returns", returns), np.asarray(non_adaptive), np.asarray(oracle)
    if not np.all(high > low) or not np.all(np.isfinite(high - low)):
        raise ValueError(
            f"The oracle anchor must be above the non-adaptive one, got {high} and "
            f"{low}: without a gap there is no scale to normalise by."
        )
    return np.asarray((x - low) / (high - low), dtype=np.float64)


def k_shot_curve(
    returns_STK: npt.ArrayLike,
    statistic: str | Statistic = "mean",
    *,
    num_resamples: int = 2000,
    seed: int,
    confidence: float = 0.95,
    strata_T: Sequence[int] | None = None,
) -> list[Interval]:
    """One `stratified_bootstrap` interval per episode: how return grows with experience.

    All episodes see the same resamples, and each interval holds for its episode alone.

    Raises:
        ValueError: as `stratified_bootstrap` does.
    """
    x_STK = _returns(returns_STK)
    return [
        stratified_bootstrap(
            x_STK[..., k : k + 1],
            statistic,
            num_resamples=num_resamples,
            seed=seed,
            confidence=confidence,
            strata_T=strata_T,
        )
        for k in range(x_STK.shape[2])
    ]


def probability_of_improvement(x_ST: npt.ArrayLike, y_UT: npt.ArrayLike) -> float:
    """How probably agent x beats agent y on a task: P(x > y) + P(x = y)/2, averaged over tasks.

    On each task, every seed of x meets every seed of y (Agarwal et al. 2021, section 4.3).

    Args:
        x_ST: scores of x, `(S, T)`.
        y_UT: scores of y on the same tasks in the same order, `(U, T)`.

    Raises:
        ValueError: for wrong shapes, or a value that is not finite.
    """
    x, y = _finite("x_ST", x_ST), _finite("y_UT", y_UT)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"Expected (S, T) and (U, T) on the same tasks, got {x.shape}, {y.shape}.")
    difference_SUT = x[:, None] - y[None, :]
    return float(np.mean((np.sign(difference_SUT) + 1) / 2))


def _mean(x_RSTK: Array) -> Array:
    return np.asarray(x_RSTK.mean(axis=(1, 2, 3)))


def _iqm(x_RSTK: Array) -> Array:
    return np.asarray(stats.trim_mean(x_RSTK.reshape(len(x_RSTK), -1), 0.25, axis=1))


_STATISTICS: dict[str, Statistic] = {"mean": _mean, "iqm": _iqm}


def _statistic(statistic: str | Statistic) -> Statistic:
    if not isinstance(statistic, str):
        return statistic
    if statistic not in _STATISTICS:
        raise unknown("statistic", statistic, _STATISTICS)
    return _STATISTICS[statistic]


def _resamples(
    x_STK: Array, num_resamples: int, seed: int, strata_T: Sequence[int] | None
) -> Iterator[Array]:
    """The resampled returns `(rows, S, T, K)`, a chunk of rows at a time."""
    random = np.random.Generator(np.random.PCG64(seed))
    num_seeds = x_STK.shape[0]
    # All indices first: the numbers drawn must not depend on the size of a chunk.
    seed_RS = random.integers(num_seeds, size=(num_resamples, num_seeds))
    task_RT = _draw_tasks(random, _strata(strata_T, x_STK.shape[1]), num_resamples)
    rows = max(1, _CHUNK // x_STK.size)
    for start in range(0, num_resamples, rows):
        chunk = slice(start, start + rows)
        yield x_STK[seed_RS[chunk, :, None], task_RT[chunk, None, :]]


def _draw_tasks(
    random: np.random.Generator, strata: list[npt.NDArray[np.intp]], num_resamples: int
) -> npt.NDArray[np.intp]:
    drawn = [
        members[random.integers(len(members), size=(num_resamples, len(members)))]
        for members in strata
    ]
    return np.concatenate(drawn, axis=1)


def _strata(strata_T: Sequence[int] | None, num_tasks: int) -> list[npt.NDArray[np.intp]]:
    """The indices of the tasks in each stratum."""
    labels = np.zeros(num_tasks, dtype=np.int64) if strata_T is None else np.asarray(strata_T)
    if labels.shape != (num_tasks,):
        raise ValueError(f"strata_T must label {num_tasks} tasks, got shape {labels.shape}.")
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _returns(returns_STK: npt.ArrayLike) -> Array:
    x = _finite("returns", returns_STK)
    if x.ndim != 3:
        raise ValueError(f"returns must have shape [seed, task, episode], got {x.shape}.")
    return x


def _finite(name: str, x: npt.ArrayLike) -> Array:
    values = np.asarray(x, dtype=np.float64)
    if values.size == 0:
        raise ValueError(f"{name} is empty: shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are not finite.")
    return values


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
