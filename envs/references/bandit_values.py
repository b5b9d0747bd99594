"""Bernoulli bandits under a uniform prior: the best possible return, and Gittins indices.

An arm that paid s times and failed f times has the posterior Beta(s + 1, f + 1), whose mean is
(s + 1) / (s + f + 2).

Shape legend: M beliefs, k arms.
"""

import itertools
from functools import cache

import numpy as np

Counts = np.ndarray
"""Arms numbered by their counts: (s, f) is m (m + 1) / 2 + s after m = s + f pulls."""

MAX_COUNTS = 5_000_000
"""Beliefs times arms the exact optimum is computed over."""

MAX_PULLS = 200
"""Longest trial an index table is made for: it has (pulls)³ entries."""

NUM_CHARGES = 512
"""Charges per pull tried for an index."""


def bayes_optimal_return(arms: int, pulls: int) -> float:
    """The highest expected return of `pulls` pulls, by dynamic programming over beliefs.

    A belief is the multiset of the arms' counts: which arm is which does not matter, and no more
    arms than pulls can be tried.

    Raises:
        ValueError: if the beliefs are too many; `has_optimal_return` says whether they are.
    """
    arms = min(arms, pulls)
    if not has_optimal_return(arms, pulls):
        raise ValueError(
            f"{arms} arms and {pulls} pulls lead to {count_beliefs(arms, pulls - 1):.3g} beliefs; "
            f"the optimum is computed for at most {MAX_COUNTS // arms}."
        )
    layers = _layers(arms, pulls)
    value_M = np.zeros(layers[-1][1].max() + 1)
    for counts_Mk, next_Mk2 in reversed(layers):
        mean_Mk = _posterior_mean(counts_Mk)
        after_Mk2 = value_M[next_Mk2]
        pull_Mk = mean_Mk * (1.0 + after_Mk2[..., 0]) + (1.0 - mean_Mk) * after_Mk2[..., 1]
        value_M = pull_Mk.max(axis=1)
    return float(value_M[0])


def has_optimal_return(arms: int, pulls: int) -> bool:
    """Whether there are few enough beliefs for `bayes_optimal_return`."""
    arms = min(arms, pulls)
    return arms * count_beliefs(arms, pulls - 1) <= MAX_COUNTS


@cache
def count_beliefs(arms: int, pulls: int) -> float:
    """How many multisets of `arms` arms' counts have at most `pulls` pulls in all."""
    # Knapsack: of m pulls an arm can have m + 1 counts; each may be had by any number of arms.
    ways = np.zeros((arms + 1, pulls + 1))
    ways[0, 0] = 1.0
    for m in range(1, pulls + 1):
        for _ in range(m + 1):
            for arm in range(1, arms + 1):
                ways[arm, m:] += ways[arm - 1, : pulls + 1 - m]
    return float(ways.sum())


def _layers(arms: int, pulls: int) -> list[tuple[Counts, np.ndarray]]:
    """For each number of pulls done: the beliefs `(M, k)`, and where each pull leads in the next.

    The latter, `(M, k, 2)`, counts the next layer's beliefs after a success and after a failure.
    """
    layers = []
    counts_Mk = np.zeros((1, arms), np.int32)
    for _ in range(pulls):
        next_counts_Mk, next_Mk2 = _successors(counts_Mk)
        layers.append((counts_Mk, next_Mk2))
        counts_Mk = next_counts_Mk
    return layers


def _successors(counts_Mk: Counts) -> tuple[Counts, np.ndarray]:
    """The beliefs one pull later, and which of them each arm's success and failure lead to."""
    size, arms = counts_Mk.shape
    later_Mk2k = np.broadcast_to(counts_Mk[:, None, None, :], (size, arms, 2, arms)).copy()
    pulls_Mk = _pulls(counts_Mk)
    arm = np.arange(arms)
    later_Mk2k[:, arm, 0, arm] += pulls_Mk + 2
    later_Mk2k[:, arm, 1, arm] += pulls_Mk + 1
    rows = np.sort(later_Mk2k.reshape(-1, arms), axis=1)
    _, first, inverse = np.unique(_row_numbers(rows), return_index=True, return_inverse=True)
    return rows[first], inverse.astype(np.int32).reshape(size, arms, 2)


def _row_numbers(rows: np.ndarray) -> np.ndarray:
    """A number per row, equal where the rows are."""
    base = int(rows.max()) + 1
    number = rows[:, 0].astype(np.int64)
    for column in rows.T[1:]:
        # Ranks keep the numbers small, whatever the columns.
        number = np.unique(number, return_inverse=True)[1] * base + column
    return number


def _pulls(counts: Counts) -> np.ndarray:
    """Which m has the number m (m + 1) / 2 + s, where s ≤ m."""
    return ((np.sqrt(8.0 * counts + 1.0) - 1.0) / 2.0).astype(np.int32)


def _posterior_mean(counts: Counts) -> np.ndarray:
    pulls = _pulls(counts)
    successes = counts - pulls * (pulls + 1) // 2
    mean: np.ndarray = (successes + 1.0) / (pulls + 2.0)
    return mean


@cache
def gittins_indices(pulls: int) -> np.ndarray:
    """The finite-horizon Gittins index of an arm: the charge per pull at which it is worth nothing.

    The arm may be pulled up to r times and be left for good at any time; each pull costs the
    charge. The value of doing so falls with the charge; it is computed for `NUM_CHARGES` of them,
    and the index is interpolated where it reaches 0: to within 0.0004 for 100 pulls, which matters
    between arms of practically equal worth only (Gittins 1979; for a finite horizon, Niño-Mora
    2011).

    Returns:
        `[r - 1, s, f]` for up to r = `pulls`; entries with s + f + r > `pulls` are unused.

    Raises:
        ValueError: if `pulls` is beyond `MAX_PULLS`.
    """
    if pulls > MAX_PULLS:
        raise ValueError(f"{pulls} pulls; index tables are made for at most {MAX_PULLS}.")
    # Closest together near 0 and 1, where the value bends most sharply.
    charges = (1.0 - np.cos(np.linspace(0.0, np.pi, NUM_CHARGES + 1))) / 2.0
    index = np.zeros((pulls, pulls, pulls))
    before = _pull_values(pulls, 0.0)
    for low, high in itertools.pairwise(charges):
        value = _pull_values(pulls, high)
        crossed = (before > 0.0) & (value <= 0.0)
        share = before[crossed] / (before[crossed] - value[crossed])
        index[crossed] = low + share * (high - low)
        before = value
    return index


def _pull_values(pulls: int, charge: float) -> np.ndarray:
    """Value of pulling an arm now and going on while it is worth it: `[r - 1, s, f]`."""
    s, f = np.ogrid[:pulls, :pulls]
    mean = (s + 1.0) / (s + f + 2.0)
    values = np.zeros((pulls, pulls, pulls))
    values[0] = mean - charge
    for r in range(1, pulls):
        # With r + 1 pulls left, at most `size` - 1 have been done.
        size = pulls - r
        later = np.maximum(values[r - 1, : size + 1, : size + 1], 0.0)
        p = mean[:size, :size]
        values[r, :size, :size] = p - charge + p * later[1:, :size] + (1.0 - p) * later[:size, 1:]
    return values
