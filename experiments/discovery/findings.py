"""What a report has found out about a rule, before it is printed, drawn and written."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.table import Table

from quickstudy.agents.objectives.discovered import Discovered
from quickstudy.agents.objectives.lifetime import Lifetime

MOMENTS = (0.0, 0.25, 0.5, 0.75, 0.98)
"""n/N at which a life is looked at."""


_ROUNDING = 1e-12


@dataclass(frozen=True)
class Findings:
    """Of one rule."""

    tables: list[Table]
    record: dict[str, Any]
    """All figures as plain types; NaN where there is none."""
    pictures: dict[str, Callable[[], Any]]
    """By file name without its suffix: what makes the matplotlib figure."""
    notes: list[str] = field(default_factory=list)
    """Lines of text, below the tables."""
    rules: dict[str, Discovered] = field(default_factory=dict)
    """Rules made from this one, by file name without its suffix."""


def moments(total: int, fractions: Sequence[float] = MOMENTS) -> list[Lifetime]:
    """The moments of a life of `total` updates at or just before these n/N; each once, scalars."""
    done = sorted({min(int(fraction * total), total - 1) for fraction in fractions})
    return [Lifetime(torch.tensor(n), torch.tensor(total)) for n in done]


def spelled(value: float) -> str:
    """A figure in a table; a dash where there is none, 0 for what is rounding."""
    if not math.isfinite(value):
        return "–"
    return f"{0.0 if abs(value) < _ROUNDING else value:.3g}"


def without_nan(value: Any) -> Any:
    """The same record, with None for what is not finite: JSON has no word for it."""
    if isinstance(value, dict):
        return {name: without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
