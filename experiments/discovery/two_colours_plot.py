"""A picture of the Two-Colours study (needs matplotlib)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quickstudy.experiments.plots import require_matplotlib


def plot_two_colours(result: dict[str, Any], path: Path) -> None:
    """Reward and ε over the whole life, by period, and from one switch to the next.

    Of the fixed weights only the best is drawn. `path` says the format by its suffix.

    Raises:
        ValueError: without matplotlib.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col")
    period = result["config"]["period"]
    for name in _drawn(result["arms"]):
        arm = result["arms"][name]
        _draw_life(panels[:, 0], name, arm, period)
        since, shown = arm["after_switch"], {"label": name}
        panels[0, 1].plot(since["steps"], since["reward"], **shown)
        panels[1, 1].plot(since["steps"], since["entropy"], **shown)
    panels[0, 0].set(ylabel="reward per step", title="by period")
    panels[1, 0].set(ylabel="entropy weight ε", xlabel="environment steps (millions)")
    panels[0, 1].set(title="after a switch, later half of life")
    panels[1, 1].set(xlabel="environment steps since the switch")
    for axes in panels.flat:
        axes.grid(alpha=0.3)
    handles, names = panels[0, 0].get_legend_handles_labels()
    panels[1, 0].legend(handles, names, loc="upper right")
    figure.savefig(path, dpi=150)


def _draw_life(panels: Sequence[Any], name: str, arm: dict[str, Any], period: int) -> None:
    """Each period at its middle."""
    millions = [(k + 0.5) * period / 1e6 for k in range(len(arm["reward_by_period"]))]
    points, lows, highs = (
        [interval[end] for interval in arm["reward_by_period"]] for end in ("point", "low", "high")
    )
    (line,) = panels[0].plot(millions, points, label=name)
    panels[0].fill_between(millions, lows, highs, alpha=0.15, color=line.get_color())
    panels[1].plot(millions, arm["entropy_by_period"], color=line.get_color())


def _drawn(arms: dict[str, dict[str, Any]]) -> list[str]:
    """All arms but the fixed weights that are not the best one."""
    fixed = [arm for arm in arms if arm.startswith("fixed")]
    best = max(fixed, key=lambda arm: arms[arm]["total_interval"]["point"], default=None)
    return [arm for arm in arms if arm not in fixed or arm == best]
