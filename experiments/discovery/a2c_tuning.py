"""A2C at its best: all of a grid on the same lives, and who earned most.

The lives are apart from those that rules are compared on (`Purpose.TUNING`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from quickstudy.agents.lifetimes.tabular_rules import A2CRuleConfig
from quickstudy.experiments.discovery.exams import Contender, Exam, sat
from quickstudy.experiments.discovery.keys import Purpose

BASE = A2CRuleConfig()


@dataclass(frozen=True)
class A2CGrid:
    """Every step size with every entropy weight."""

    rates: tuple[float, ...] = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
    """Step sizes of the logits."""
    entropies: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
    """Entropy weights."""

    def check(self) -> None:
        """Raise `ValueError` unless all are above 0."""
        for name, values in asdict(self).items():
            if not values or min(values) <= 0:
                raise ValueError(f"{name} must be one number or more, all above 0, got {values}.")


@dataclass(frozen=True)
class TunedA2C:
    """The best of a grid."""

    rate: float
    entropy: float
    score: float
    """Mean return on the lives it was tuned on."""
    at_edge: bool
    """Whether there might be a better one outside the grid."""
    tried: tuple[tuple[float, float, float], ...]
    """Step size, entropy weight and score of all of the grid."""

    @property
    def contender(self) -> Contender:
        """Ready for an exam."""
        return Contender(BASE, a2c_rule(self.rate, self.entropy).unsqueeze(0))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def a2c_rule(rate: float, entropy: float) -> Tensor:
    """The multipliers of `BASE` that make these, `(2,)`."""
    return torch.tensor([math.log(rate / BASE.policy_rate), math.log(entropy / BASE.entropy)])


def tuned(
    grid: A2CGrid, exams: Mapping[str, Exam], folder: Path, processes: int, console: Console
) -> dict[str, TunedA2C]:
    """The best A2C for the tasks and lengths of each exam, by its own tuning lives.

    Raises:
        ChildProcessError: if a process died; what was done until then is kept.
    """
    exams = {name: replace(exam, purpose=Purpose.TUNING) for name, exam in exams.items()}
    pairs = [(rate, entropy) for rate in grid.rates for entropy in grid.entropies]
    sittings = {
        f"{name}/rate-{rate:g}-entropy-{entropy:g}": (exam.under(BASE), a2c_rule(rate, entropy))
        for name, exam in exams.items()
        for rate, entropy in pairs
    }
    returns = iter(sat(sittings, folder, processes, console).values())
    return {
        name: best(grid, {pair: float(next(returns).nan_to_num().mean()) for pair in pairs})
        for name in exams
    }


def best(grid: A2CGrid, scores: Mapping[tuple[float, float], float]) -> TunedA2C:
    """The pair of rate and entropy with the highest score; of equals, the first."""
    rate, entropy = max(scores, key=lambda pair: scores[pair])
    edge = at_edge(rate, grid.rates) or at_edge(entropy, grid.entropies)
    tried = tuple((*pair, score) for pair, score in scores.items())
    return TunedA2C(rate, entropy, scores[rate, entropy], edge, tried)


def at_edge(value: float, tried: Sequence[float]) -> bool:
    """Whether a better one may lie beyond. A value that was tried alone was chosen, not found."""
    return len(tried) > 1 and value in (min(tried), max(tried))
