"""Pictures of comparisons (needs matplotlib: `pip install 'quickstudy[plots]'`)."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quickstudy.experiments.compare import Row
from quickstudy.experiments.compare_config import Arena


def has_matplotlib() -> bool:
    """Whether pictures can be drawn."""
    return find_spec("matplotlib") is not None


def require_matplotlib() -> None:
    """Raise `ValueError` with the command that mends it where matplotlib is missing."""
    if not has_matplotlib():
        raise ValueError("Plots need matplotlib: pip install 'quickstudy[plots]'.")


def plot_by_length(rows: Sequence[Row], path: Path) -> None:
    """Last episode's return against episode length, a line with its interval per agent.

    One panel per family; `path` says the format by its suffix (png, svg or pdf).
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    families = list(dict.fromkeys(Arena.parse(row.arena).family for row in rows))
    figure = Figure(figsize=(6.4 * len(families), 4.2), layout="constrained")
    for axes, family in zip(
        figure.subplots(1, len(families), squeeze=False)[0], families, strict=True
    ):
        for number, agent in enumerate(dict.fromkeys(row.agent for row in rows)):
            points = _points(rows, family, agent)
            lengths, means, lows, highs = zip(*points, strict=True)
            (line,) = axes.plot(lengths, means, label=agent, **_style(number))
            axes.fill_between(lengths, lows, highs, alpha=0.15, color=line.get_color())
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({Arena.parse(row.arena).episode_length for row in rows}))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set(title=family, xlabel="steps of an episode", ylabel="mean return, last episode")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=150)


def _style(number: int) -> dict[str, Any]:
    """Later lines are dashed, and their marks smaller: equal results stay visible below them."""
    return {
        "marker": "os^Dv"[number % 5],
        "markersize": max(4.0, 11.0 - 3.0 * number),
        "linestyle": ("-", "--", ":", "-.")[number % 4],
    }


def _points(rows: Sequence[Row], family: str, agent: str) -> list[tuple[int, float, float, float]]:
    """Episode length, mean and interval ends of one agent, by length."""
    chosen = [(Arena.parse(row.arena), row) for row in rows if row.agent == agent]
    return sorted(
        (arena.episode_length, row.mean_last.point, row.mean_last.low, row.mean_last.high)
        for arena, row in chosen
        if arena.family == family
    )
