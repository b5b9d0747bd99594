"""Antithetic pairs: two agents with opposite perturbations and everything else in common.

Both of a pair have one key, so they meet the same task, begin with the same weights and live
through the same luck (common random numbers).

Shape legend: p pairs, M parameters of a rule; the 2 rows are the one and the other of each pair.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.envs import rng
from quickstudy.experiments.discovery.estimators.estimator import Shard

SHARD = 64
"""Candidates in a shard unless an option says otherwise."""


def require_sigma(sigma: float) -> None:
    """Raise `ValueError` unless a standard deviation is positive."""
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0, got {sigma!r}.")


def perturbations(key_p: Tensor, num_parameters: int) -> Tensor:
    """Standard normal `(p, M)` float64: made anew wherever they are needed, never sent."""
    return rng.normal(key_p, num_parameters)


def opposite_rules(rule_M: Tensor, step_pM: Tensor) -> Tensor:
    """`(2p, M)`: the rule with the steps added, then with the steps taken away."""
    step_pM = step_pM.to(rule_M.dtype)
    return torch.cat([rule_M + step_pM, rule_M - step_pM])


def chunks(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size`, at least 1, that cover `count`."""
    size = max(1, size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def pair_shards(
    lifetimes: Lifetimes,
    rule_M: Tensor,
    sigma: Tensor,
    life_p: Tensor,
    perturbation_p: Tensor,
    candidates: int,
) -> list[Shard]:
    """The work on whole lives around a rule; lives of a shard are of similar length, longest first.

    Args:
        lifetimes: what they live.
        rule_M: the rule.
        sigma: the perturbations' standard deviation, a scalar or `(M,)`.
        life_p: the pairs' keys.
        perturbation_p: keys of their perturbations.
        candidates: agents in a shard, two per pair.
    """
    order_p = torch.argsort(lifetimes.total(life_p), descending=True, stable=True)
    life_p, perturbation_p = life_p[order_p], perturbation_p[order_p]
    return [
        {
            "rule": rule_M,
            "sigma": sigma,
            "life": life_p[part],
            "perturbation": perturbation_p[part],
        }
        for part in chunks(len(life_p), candidates // 2)
    ]


@torch.no_grad()
def live_in_pairs(lifetimes: Lifetimes, shard: Shard) -> Shard:
    """Whole lives of the pairs of a shard: `score` `(2, p)`, `steps`, and whose they are."""
    rule_M, perturbation_p = shard["rule"], shard["perturbation"]
    step_pM = shard["sigma"] * perturbations(perturbation_p, len(rule_M))
    lived = lifetimes.live(opposite_rules(rule_M, step_pM), shard["life"].repeat(2))
    return {
        "perturbation": perturbation_p,
        "score": lived.score_P.reshape(2, -1),
        "steps": lived.steps_P.sum(),
    }


def scores(results: Sequence[Shard]) -> Tensor:
    """The scores of all shards, `(2, p)`."""
    return torch.cat([result["score"] for result in results], dim=1)


def steps(results: Sequence[Shard]) -> int:
    """The environment steps of all shards."""
    return sum(int(result["steps"]) for result in results)


def weighted_perturbations(
    results: Sequence[Shard], weight_p: Tensor, num_parameters: int, power: int = 1
) -> Tensor:
    """Σ w ε^power over all pairs, `(M,)` float64, shard by shard to keep memory small."""
    total_M = torch.zeros(num_parameters, dtype=torch.float64)
    begun = 0
    for result in results:
        key_p = result["perturbation"]
        weight = weight_p[begun : begun + len(key_p)]
        total_M += weight @ perturbations(key_p, num_parameters).pow(power)
        begun += len(key_p)
    return total_M
