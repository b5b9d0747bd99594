"""Studies of discovered rules as pictures (need matplotlib: `pip install 'quickstudy[plots]'`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quickstudy.experiments.plots import require_matplotlib


def plot_horizons(result: Mapping[str, Any], path: Path) -> None:
    """Return against the length of life, a line with its interval per contender; lengths that rules
    were discovered on are shaded.

    Args:
        result: what `horizon_study` returns.
        path: its suffix says the format (png, svg or pdf).

    Raises:
        ValueError: without matplotlib.
    """
    figure, axes = _figure()
    axes.axvspan(*result["trained_on"], color="black", alpha=0.07, label="discovered on")
    for name, by_horizon in result["contenders"].items():
        updates = [int(n) for n in by_horizon]
        found = [x["return"] for x in by_horizon.values()]
        points, lows, highs = ([x[end] for x in found] for end in ("point", "low", "high"))
        style = {"linestyle": "-" if name.startswith("lpg-") else "--"}
        (line,) = axes.plot(updates, points, marker="o", markersize=4, label=name, **style)
        axes.fill_between(updates, lows, highs, alpha=0.12, color=line.get_color())
    axes.set_xscale("log")
    axes.set_xticks(updates, [str(n) for n in updates])
    axes.minorticks_off()
    _save(figure, axes, "updates of a life", "mean return at its end", path)


def plot_schedules(result: Mapping[str, Any], path: Path) -> None:
    """What the rules say over a life: the mean of all seeds, and faintly each of them.

    Args:
        result: what `schedule_study` returns.
        path: as above.

    Raises:
        ValueError: without matplotlib.
    """
    figure, axes = _figure()
    for number, (name, found) in enumerate(result["schedules"].items()):
        curves = found["curves"]
        length = len(curves[0])
        fractions = [n / length for n in range(length)]
        mean = [sum(weights) / len(weights) for weights in zip(*curves, strict=True)]
        color = f"C{number}"
        axes.plot(fractions, mean, label=name, color=color, linewidth=2.0)
        for curve in curves:
            axes.plot(fractions, curve, color=color, alpha=0.25, linewidth=0.8)
    if result["config"]["preset"] == "a2c-schedule":
        axes.axhline(result["fixed"]["entropy"], color="black", linestyle="--", label="best fixed")
        said = "entropy weight"
    else:
        said = "root mean square of a policy step's weight"
    axes.set_yscale("log")
    _save(figure, axes, f"n/N (N = {length})", said, path)


def plot_unseen(result: Mapping[str, Any], path: Path) -> None:
    """Return by the exact optimum on every task, a point with its interval per contender.

    Args:
        result: what `unseen_study` returns.
        path: as above.

    Raises:
        ValueError: without matplotlib.
    """
    figure, axes = _figure()
    contenders = result["contenders"]
    for number, (name, by_task) in enumerate(contenders.items()):
        found = {k: x["normalised"] for k, x in enumerate(by_task.values()) if x["normalised"]}
        places = [k + 0.12 * (number - (len(contenders) - 1) / 2) for k in found]
        points = [x["point"] for x in found.values()]
        below = [max(0.0, x["point"] - x["low"]) for x in found.values()]
        above = [max(0.0, x["high"] - x["point"]) for x in found.values()]
        axes.errorbar(places, points, (below, above), fmt="o", capsize=2, label=name)
    tasks = list(next(iter(contenders.values())))
    axes.set_xticks(range(len(tasks)), tasks)
    axes.axhline(0.0, color="black", linewidth=0.8)
    _save(figure, axes, "", "mean of return by the exact optimum", path)


def _figure() -> tuple[Any, Any]:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, axes: Any, x: str, y: str, path: Path) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path, dpi=150)
