"""What a meta-test came to, as a table and as a picture (the latter needs matplotlib)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from quickstudy.experiments.discovery.a2c_tuning import at_edge
from quickstudy.experiments.plots import require_matplotlib


def table(arena: str, result: Mapping[str, Any]) -> Table:
    """One line per agent and objective, the best first."""
    config = result["config"]
    shown = Table(
        title=f"{arena}: {config['frames']:,} frames, {config['seeds']} seeds, "
        f"{config['tasks']} test tasks, IQM [95 % interval]",
        title_justify="left",
    )
    for heading in ("agent", "objective"):
        shown.add_column(heading)
    headings = ("learning rate", "first episode", "last episode", "mean by seed", "rule has more")
    for heading in headings:
        shown.add_column(heading, justify="right")
    for arm in sorted(_arms(arena, result), key=lambda arm: -float(arm["score"]["point"])):
        means = " ".join(f"{mean:.1f}" for mean in arm["mean_by_seed"])
        intervals = (arm["first"], arm["score"])
        more = "" if arm["behind_rule"] is None else _cell(arm["behind_rule"])
        shown.add_row(
            arm["agent"],
            arm["objective"],
            _rate(arm),
            *map(_cell, intervals),
            means,
            more,
        )
    return shown


def plot_meta_test(result: Mapping[str, Any], path: Path) -> None:
    """Last episode's IQM with its interval of every objective, a panel per family.

    Args:
        result: what `meta_test` returns.
        path: its suffix says the format (png, svg or pdf).

    Raises:
        ValueError: without matplotlib.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    arenas = list(dict.fromkeys(arm["arena"] for arm in result["arms"]))
    agents = list(dict.fromkeys(arm["agent"] for arm in result["arms"]))
    figure = Figure(figsize=(1.0 + 4.5 * len(arenas), 4.0), layout="constrained")
    panels = figure.subplots(1, len(arenas), squeeze=False)[0]
    for axes, arena in zip(panels, arenas, strict=True):
        for number, agent in enumerate(agents):
            arms = [arm for arm in _arms(arena, result) if arm["agent"] == agent]
            places = [place + 0.15 * number for place in range(len(arms))]
            points, below, above = zip(*(_whiskers(arm["score"]) for arm in arms), strict=True)
            mark = {"marker": "os^D"[number % 4], "linestyle": "none", "capsize": 3}
            axes.errorbar(places, points, (below, above), label=agent, **mark)
        axes.set_xticks(range(len(arms)), [arm["objective"] for arm in arms], rotation=20)
        axes.set(title=arena, ylabel="IQM of the last episode's return")
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=150)


def _arms(arena: str, result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [arm for arm in result["arms"] if arm["arena"] == arena]


def _rate(arm: Mapping[str, Any]) -> str:
    """The learning rate; whether a better one may lie beyond those that were tried."""
    edge = at_edge(arm["learning_rate"], [float(rate) for rate in arm["tuning"]])
    return f"{arm['learning_rate']:g}{' (edge)' if edge else ''}"


def _whiskers(interval: Mapping[str, float]) -> tuple[float, float, float]:
    """The point, and how far its interval reaches below and above it."""
    point = interval["point"]
    return point, max(0.0, point - interval["low"]), max(0.0, interval["high"] - point)


def _cell(interval: Mapping[str, float]) -> str:
    return f"{interval['point']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"
