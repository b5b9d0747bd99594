"""The contract of an inner loop: a population of agents, each of which learns by its own rule.

A rule is a row of M numbers. All that an agent is, and all that happens to it, is a function of its
rule and its key: agents with the same key meet the same task, begin with the same weights and live
through the same luck (common random numbers), whoever stands beside them.

Shape legend: P agents, M parameters of a rule.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

Rows = dict[str, Tensor]
"""Tensors by name, all with P rows: a population between two updates."""


@dataclass(frozen=True)
class Lived:
    """What whole lifetimes came to."""

    score_P: Tensor
    """`(P,)` float64: what the policies earn at the end of their lives."""
    steps_P: Tensor
    """`(P,)` int64: environment steps spent, on learning and on the final score."""


class Lifetimes(ABC):
    """A distribution of lifetimes; `Rows` hold at least `updates`, `total` and `steps`, `(P,)`."""

    num_parameters: int
    """M."""

    @abstractmethod
    def first_rule(self, seed: int) -> Tensor:
        """The rule that discovery starts from, `(M,)` float32."""

    @abstractmethod
    def total(self, key_P: Tensor) -> Tensor:
        """N: how many updates each life has, `(P,)` int64; a function of the key alone."""

    @abstractmethod
    def begin(self, key_P: Tensor) -> Rows:
        """New-born agents on their tasks."""

    @abstractmethod
    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        """The agents `num_updates` later, none of whom may have fewer left.

        A new population, the old one unharmed. Where gradients are on it can be differentiated
        with respect to the rule and to the rows, if it is `DifferentiableLifetimes`.
        """

    @abstractmethod
    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """What the present policies earn, `(P,)` float64, and the steps spent to see, `(P,)`."""

    def live(self, rule_PM: Tensor, key_P: Tensor) -> Lived:
        """Whole lifetimes from birth to final score.

        The short-lived leave as soon as they are done, so that nothing is computed for the dead;
        they are judged together at the end, which costs less than one by one.
        """
        total_P = self.total(key_P)
        order_P = torch.argsort(total_P, descending=True, stable=True)
        rows, rule_PM = self.begin(key_P[order_P]), rule_PM[order_P]
        finished: list[Rows] = []
        lived = 0
        for length in torch.unique(total_P).tolist():
            rows = self.learn(rule_PM[: len(rows["total"])], rows, length - lived)
            lived = length
            alive = int((rows["total"] > length).sum())
            # Copies: views would keep everybody's tensors of this moment alive.
            finished.insert(0, {name: row[alive:].clone() for name, row in rows.items()})
            rows = rows_of(rows, slice(0, alive))
        rows = rows_of(joined(finished), torch.argsort(order_P))
        score_P, cost_P = self.score(rows)
        return Lived(score_P, rows["steps"] + cost_P)


class DifferentiableLifetimes(Lifetimes):
    """Lifetimes whose `learn` can be differentiated, for gradients through a few updates."""

    @abstractmethod
    def surrogate(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """A number per agent `(P,)` whose gradient is that of what its policy earns (up to noise),
        and the steps spent, `(P,)`.
        """

    @abstractmethod
    def improve(self, rows: Rows) -> Rows:
        """One step of every agent on the true objective, without any rule (BMG's last one)."""

    @abstractmethod
    def divergence(self, target: Rows, rows: Rows) -> Tensor:
        """KL(π_target ‖ π) over states lately visited, `(P,)`, without gradient to the target."""


def rows_of(rows: Rows, index: slice | Tensor) -> Rows:
    """Some agents of a population."""
    return {name: row[index] for name, row in rows.items()}


def detached(rows: Rows) -> Rows:
    """The same population, cut off from the past."""
    return {name: row.detach() for name, row in rows.items()}


def joined(parts: list[Rows]) -> Rows:
    """Populations one after the other."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
