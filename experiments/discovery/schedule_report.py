"""What there is to say about a discovered schedule of entropy bonus and discount.

Shape legend: L moments of a life.
"""

from typing import Any

import torch
from rich import box
from rich.table import Table

from quickstudy.agents.objectives.discovered import Discovered
from quickstudy.agents.objectives.schedule import Schedule
from quickstudy.experiments.discovery.findings import MOMENTS, Findings, moments, spelled
from quickstudy.experiments.plots import require_matplotlib

_DRAWN = 50
"""Moments of a life, at most."""


def schedule_findings(found: Discovered, schedule: Schedule, total: int) -> Findings:
    """Both curves over a life of `total` updates, and how much they change."""
    curves = _curves(found, schedule, total)
    weight, discount = curves["entropy_coefficient"], curves["discount"]
    amplitude = {
        "entropy_coefficient_ratio": max(weight) / min(weight),
        "discount_range": max(discount) - min(discount),
    }
    return Findings(
        tables=[_table(_curves(found, schedule, total, MOMENTS), amplitude)],
        record={"schedule": curves, "amplitude": amplitude},
        pictures={"schedule": lambda: _figure(curves, total)},
    )


def _curves(
    found: Discovered, schedule: Schedule, total: int, fractions: tuple[float, ...] | None = None
) -> dict[str, list[float]]:
    """By name, over `fraction`."""
    fractions = fractions or tuple(k / _DRAWN for k in range(_DRAWN)) + MOMENTS[-1:]
    life = moments(total, fractions)
    rule_M = found.rule_M.detach().to(torch.float64)
    values = [schedule(rule_M, moment) for moment in life]
    return {
        "fraction": [float(moment.fraction) for moment in life],
        "entropy_coefficient": [float(weight) for weight, _ in values],
        "discount": [float(discount) for _, discount in values],
    }


def _table(curves: dict[str, list[float]], amplitude: dict[str, float]) -> Table:
    table = Table("n/N", "entropy coefficient", "discount", box=box.SIMPLE, title="Schedule")
    for fraction, weight, discount in zip(*curves.values(), strict=True):
        table.add_row(f"{fraction:.2g}", spelled(weight), f"{discount:.4f}")
    largest, between = amplitude.values()
    table.add_row("over the life", f"× {largest:.3g} at most", f"{between:.4f} between")
    return table


def _figure(curves: dict[str, list[float]], total: int) -> Any:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.6), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(curves["fraction"], curves["entropy_coefficient"])
    left.set(ylabel="entropy coefficient", yscale="log")
    right.plot(curves["fraction"], curves["discount"])
    right.set(ylabel="discount γ")
    for axes in (left, right):
        axes.set_xlabel(f"n/N (N = {total})")
        axes.grid(alpha=0.3, which="both")
    return figure
