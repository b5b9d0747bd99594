"""What is followed of a rule while it is discovered: figures and pictures for the dashboard."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quickstudy.agents.lifetimes.tabular_rules import ScheduleRule
from quickstudy.agents.objectives.drifts import LearnedDrift
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.experiments.discovery.drift_figures import drift_figures
from quickstudy.experiments.discovery.drift_pictures import heat_map
from quickstudy.experiments.discovery.drift_report import bound_drift
from quickstudy.experiments.discovery.findings import moments
from quickstudy.experiments.plots import has_matplotlib


def drift_measures(network: LearnedDrift, rule_M: Tensor, total: int) -> dict[str, float]:
    """Distances, amplitude, and the weight of the entropy bonus where the rule decides it."""
    figures = drift_figures(bound_drift(network, rule_M), network.config.clip, total)
    measures = {
        "to_ppo": figures.to_ppo,
        "to_dpo": figures.to_dpo,
        "amplitude": figures.amplitude,
    }
    weight = network.entropy_coefficient(rule_M)
    return measures if weight is None else measures | {"entropy_coefficient": float(weight)}


def drift_pictures(
    network: LearnedDrift, rule_M: Tensor, total: int
) -> dict[str, npt.NDArray[np.uint8]]:
    """The heat maps; none without matplotlib."""
    if not has_matplotlib():
        return {}
    drift = bound_drift(network, rule_M)
    return {"rule/drift": _pixels(heat_map(drift, network.config.clip, total))}


def entropy_measures(rule: ScheduleRule, rule_M: Tensor, total: int) -> dict[str, float]:
    """The entropy weight at five moments of a life without reward, and the largest of them by the
    smallest.
    """
    life = moments(total)
    updates_P = torch.stack([moment.updates for moment in life])
    age = Lifetime(updates_P, torch.full_like(updates_P, total))
    rule_PM = rule_M.expand(len(life), -1)
    weights = rule.entropy(rule_PM, age, rule_M.new_zeros(len(life))).tolist()
    named = {f"entropy_at_{int(n)}_of_{total}": w for n, w in zip(updates_P, weights, strict=True)}
    return named | {"amplitude": max(weights) / min(weights)}


def _pixels(figure: Any) -> npt.NDArray[np.uint8]:
    """RGB `(height, width, 3)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    rgb: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return rgb
