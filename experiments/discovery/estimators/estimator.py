"""The contract of an outer estimator: how to change a rule, from what lifetimes came to.

A generation is cut into shards, plain data that any process can work on; their results are put
together in their order. What is in a shard never depends on how many processes there are, so
neither does any figure.

Shape legend: M parameters of a rule.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes

Shard = dict[str, Tensor]
"""What one piece of work needs, or what it brought: tensors by name."""


@dataclass(frozen=True)
class Estimate:
    """What a generation says about a rule."""

    gradient_M: Tensor
    """`(M,)` float64: uphill, an estimate of how the score changes with the rule."""
    steps: int
    """Environment steps spent."""
    metrics: dict[str, float]
    """To be logged; `fitness` is the population's mean score."""


class Estimator(ABC):
    """Estimates a gradient once per generation; keeps what must go on to the next."""

    def __init__(self, lifetimes: Lifetimes, seed: int) -> None:
        self.lifetimes = lifetimes
        self.seed = seed
        self.generation = 0
        """How many estimates have been made; with the seed it decides all chance."""

    @abstractmethod
    def shards(self, rule_M: Tensor) -> list[Shard]:
        """This generation's work around a rule `(M,)` float32."""

    @abstractmethod
    def work(self, shard: Shard) -> Shard:
        """Do one piece: a function of the shard alone (it runs in another process)."""

    @abstractmethod
    def combine(self, results: Sequence[Shard]) -> Estimate:
        """Put the results of all shards together, in order, and count the generation."""

    def state_dict(self) -> dict[str, Any]:
        """What the next generations depend on, as plain types and tensors."""
        return {"generation": self.generation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generation = state["generation"]
