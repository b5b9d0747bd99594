"""The kinds of work that a generation is made of."""

from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.experiments.discovery.estimators.estimator import Estimator, Shard
from quickstudy.experiments.discovery.estimators.pairs import chunks

Job = tuple[str, Shard]
"""A key of `_KINDS`, and what it is done with."""

ESTIMATE, LIVE = "estimate", "live"


def estimate_jobs(shards: list[Shard]) -> list[Job]:
    """The estimator's own work."""
    return [(ESTIMATE, shard) for shard in shards]


def live_jobs(lifetimes: Lifetimes, rule_M: Tensor, key_n: Tensor, size: int) -> list[Job]:
    """Whole lives under one rule, at most `size` of similar length at a time."""
    key_n = key_n[torch.argsort(lifetimes.total(key_n), descending=True, stable=True)]
    return [(LIVE, {"rule": rule_M, "key": key_n[part]}) for part in chunks(len(key_n), size)]


def done(estimator: Estimator, job: Job) -> Shard:
    """What a job brings."""
    kind, shard = job
    return _KINDS[kind](estimator, shard)


def _estimate(estimator: Estimator, shard: Shard) -> Shard:
    return estimator.work(shard)


@torch.no_grad()
def _live(estimator: Estimator, shard: Shard) -> Shard:
    key_n = shard["key"]
    lived = estimator.lifetimes.live(shard["rule"].expand(len(key_n), -1), key_n)
    return {"score": lived.score_P, "steps": lived.steps_P}


_KINDS: dict[str, Callable[[Estimator, Shard], Shard]] = {ESTIMATE: _estimate, LIVE: _live}
