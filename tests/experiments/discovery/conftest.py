"""What tests of outer loops share (tests import nothing from each other)."""

import math

import pytest
import torch

from quickstudy.agents.lifetimes.lifetimes import DifferentiableLifetimes
from quickstudy.experiments.discovery.estimators.pairs import perturbations
from quickstudy.experiments.discovery.keys import Purpose, keys


class Sums(DifferentiableLifetimes):
    """An agent is a number, which each update raises by `gain`(rule, n); its score is the number.

    The last parameter of a rule above `breaks_at` makes agents NaN.
    """

    def __init__(self, size=3, updates=4, gain=lambda rule, n: rule.sum(dim=1), breaks_at=math.inf):
        self.num_parameters = size
        self.updates = updates
        self.gain = gain
        self.breaks_at = breaks_at
        self.seen = []
        """Keys of all who were born."""

    def first_rule(self, seed):
        return torch.zeros(self.num_parameters)

    def total(self, key_P):
        return self.updates + (key_P & 1 if self.updates > 4 else torch.zeros_like(key_P))

    def begin(self, key_P):
        self.seen.append(key_P)
        zero = torch.zeros_like(key_P)
        value = torch.zeros(len(key_P), dtype=torch.float64)
        total = self.total(key_P)
        return {"value": value, "updates": zero, "total": total, "steps": zero, "key": key_P}

    def learn(self, rule_PM, rows, num_updates):
        assert (rows["updates"] + num_updates <= rows["total"]).all()
        for _ in range(num_updates):
            raised = rows["value"] + self.gain(rule_PM.double(), rows["updates"])
            raised = raised.where(rule_PM[:, -1] <= self.breaks_at, math.nan)
            rows = rows | {
                "value": raised,
                "updates": rows["updates"] + 1,
                "steps": rows["steps"] + 10,
            }
        return rows

    def score(self, rows):
        return rows["value"], torch.ones_like(rows["steps"])

    def surrogate(self, rows):
        return self.score(rows)

    def improve(self, rows):
        return rows | {"value": rows["value"] + 2.0, "steps": rows["steps"] + 5}

    def divergence(self, target, rows):
        return 0.5 * (target["value"].detach() - rows["value"]) ** 2


def generation(estimator, rule):
    results = [estimator.work(shard) for shard in estimator.shards(rule)]
    return estimator.combine(results)


def epsilon(seed, number, count, size):
    """The perturbations of a generation, in the order of pairs or particles."""
    return perturbations(keys(seed, Purpose.PERTURBATION, number, count), size)


@pytest.fixture(name="sums", scope="session")
def _sums():
    return Sums


@pytest.fixture(name="generation", scope="session")
def _generation():
    return generation


@pytest.fixture(name="epsilon", scope="session")
def _epsilon():
    return epsilon
