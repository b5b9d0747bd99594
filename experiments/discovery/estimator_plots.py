"""The study of estimators as a picture (needs matplotlib: `pip install 'quickstudy[plots]'`)."""

from pathlib import Path
from typing import Any

from quickstudy.experiments.plots import require_matplotlib

Line = list[tuple[int, float, float, float]]
"""K, cosine and the ends of its interval, by K."""


def plot_alignment(result: dict[str, Any], path: Path) -> None:
    """Cosine with the exact gradient against K, a panel per rule and a line per kind of estimator.

    The cosine is that of the mean of all estimates; the whiskers are its 95 % interval. Estimators
    that never cut a life stand at K = N.

    Args:
        result: what `estimator_study.study` returns.
        path: its suffix says the format (png, svg or pdf).

    Raises:
        ValueError: where matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(2.0 + 5.0 * len(result["rules"]), 4.4), layout="constrained")
    panels = figure.subplots(1, len(result["rules"]), squeeze=False, sharey=True)[0]
    for axes, (rule, measured) in zip(panels, result["rules"].items(), strict=True):
        for number, (kind, line) in enumerate(lines(measured).items()):
            ks, cosines, lows, highs = zip(*line, strict=True)
            below = [max(0.0, c - low) for c, low in zip(cosines, lows, strict=True)]
            above = [max(0.0, high - c) for c, high in zip(cosines, highs, strict=True)]
            mark = {"marker": "os^DvPX*<>"[number % 10], "markersize": 10 - 0.6 * number}
            axes.errorbar(ks, cosines, (below, above), label=kind, capsize=2, **mark)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks(sorted({row["window"] for row in measured["estimators"].values()}))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set(title=f"{result['config']['mdp']}, {rule}", xlabel="K, updates seen at a time")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("cosine with the exact gradient")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path, dpi=150)


def lines(measured: dict[str, Any]) -> dict[str, Line]:
    """What to draw of one rule, by kind of estimator."""
    found: dict[str, Line] = {}
    for row in measured["estimators"].values():
        cosine = row["direction"]["cosine_of_mean"]
        point = (row["window"], cosine["point"], cosine["low"], cosine["high"])
        found[row["kind"]] = sorted([*found.get(row["kind"], []), point])
    return found
