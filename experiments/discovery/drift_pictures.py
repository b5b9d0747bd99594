"""Heat maps of a drift and of its gradient (needs matplotlib).

Shape legend: R ratios, A advantages.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quickstudy.agents.objectives.drift_check import Drift
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.experiments.discovery.drift_figures import (
    LARGEST_LOG_RATIO,
    ratio_gradient,
    reference_drifts,
)
from quickstudy.experiments.discovery.findings import moments
from quickstudy.experiments.plots import require_matplotlib

Look = Callable[[Drift, Tensor, Tensor, Lifetime], Tensor]
Panels = dict[str, npt.NDArray[np.float64]]
"""By title: `(A, R)`."""

_LARGEST_ADVANTAGE = 3.0
_EACH = 81
_RATIO_TICKS = (0.5, 0.7, 1.0, 1.4, 2.0)
_WITHIN = 99.0
"""Per cent of all values that the colours tell apart; what is beyond has the colour of the end."""


def heat_map(drift: Drift, clip: float, total: int) -> Any:
    """A matplotlib figure of 800 × 900 pixels: D above, ∂D/∂r below, over r and A.

    A panel for each of five moments of a life, PPO's and DPO's, and the change from the first
    moment to the last. All panels of a quantity share their colours.

    Args:
        drift: of float64.
        clip: PPO's ε.
        total: N.

    Raises:
        ValueError: without matplotlib.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(8.0, 9.0), dpi=100, layout="constrained")
    figure.suptitle(f"Drift over the life, N = {total}; advantages are whitened", fontsize=11)
    above, below = figure.subfigures(2, 1)
    _draw(above, "D(r, A)", _panels(_value, drift, clip, total))
    _draw(below, "∂D/∂r, what the agent feels", _panels(ratio_gradient, drift, clip, total))
    return figure


def _value(drift: Drift, log_ratio: Tensor, advantage: Tensor, lifetime: Lifetime) -> Tensor:
    return drift(log_ratio, advantage, lifetime)


def _panels(look: Look, drift: Drift, clip: float, total: int) -> Panels:
    log_ratio_R = torch.linspace(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO, _EACH, dtype=torch.float64)
    advantage_A = torch.linspace(-_LARGEST_ADVANTAGE, _LARGEST_ADVANTAGE, _EACH).double()
    advantage_AR, log_ratio_AR = torch.meshgrid(advantage_A, log_ratio_R, indexing="ij")

    def seen(of: Drift, moment: Lifetime) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64]
        values = look(of, log_ratio_AR, advantage_AR, moment).detach().numpy()
        return values

    life = moments(total)
    panels = {f"n/N = {_fraction(moment):.2g}": seen(drift, moment) for moment in life}
    first, last = seen(drift, life[0]), seen(drift, life[-1])
    others = {name: seen(of, life[0]) for name, of in reference_drifts(clip).items()}
    change = f"{_fraction(life[-1]):.2g} minus {_fraction(life[0]):.2g}"
    return panels | others | {change: last - first}


def _fraction(moment: Lifetime) -> float:
    return float(moment.fraction)


def _draw(figure: Any, title: str, panels: Panels) -> None:
    figure.suptitle(title, fontsize=10)
    largest = _largest(panels)
    rows = figure.subplots(2, 4, sharex=True, sharey=True)
    for axes in rows.flat[len(panels) :]:
        axes.axis("off")
    for axes, (name, value_AR) in zip(rows.flat, panels.items(), strict=False):
        image = _draw_panel(axes, value_AR, largest)
        axes.set_title(name, fontsize=9)
    for axes in rows[:, 0]:
        axes.set_ylabel("advantage A", fontsize=8)
    for axes in rows[-1]:
        axes.set_xlabel("ratio r", fontsize=8)
    bar = figure.colorbar(image, ax=rows, extend="both", aspect=30)
    bar.ax.tick_params(labelsize=8)


def _draw_panel(axes: Any, value_AR: npt.NDArray[np.float64], largest: float) -> Any:
    side, top = LARGEST_LOG_RATIO, _LARGEST_ADVANTAGE
    image = axes.imshow(
        value_AR,
        origin="lower",
        extent=(-side, side, -top, top),
        aspect="auto",
        cmap="RdBu_r",
        vmin=-largest,
        vmax=largest,
    )
    axes.axvline(0.0, color="black", linewidth=0.4)
    axes.axhline(0.0, color="black", linewidth=0.4)
    axes.set_xticks([math.log(r) for r in _RATIO_TICKS], [f"{r:g}" for r in _RATIO_TICKS])
    axes.tick_params(labelsize=8)
    return image


def _largest(panels: Panels) -> float:
    """Where the colours end."""
    sizes = np.abs(np.concatenate([value_AR.ravel() for value_AR in panels.values()]))
    known = sizes[np.isfinite(sizes)]
    largest = float(np.percentile(known, _WITHIN)) if len(known) else 0.0
    return largest if largest > 0.0 else 1.0
