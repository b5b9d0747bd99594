"""What there is to say about a discovered LPG or TA-LPG rule."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from quickstudy.agents.objectives.discovered import Discovered
from quickstudy.agents.objectives.lpg import LPG
from quickstudy.experiments.discovery.findings import Findings, spelled
from quickstudy.experiments.discovery.lpg_probes import Line, Probe, probe_life
from quickstudy.experiments.plots import require_matplotlib

_LOOKS = (0.0, 0.12, 0.25, 0.38, 0.5, 0.62, 0.75, 0.88, 0.98)


def lpg_findings(found: Discovered, network: LPG, total: int) -> Findings:
    """Probes over a life of `total` updates on random MDPs."""
    probes = probe_life(network, found.rule_M, total, _LOOKS)
    return Findings(
        tables=[_table(probes, total)],
        record={"task": "random-mdp", "probes": [asdict(probe) for probe in probes]},
        pictures={"lpg": lambda: _figure(probes, total)},
        notes=[verdict(probes[len(probes) // 2])],
    )


def verdict(probe: Probe) -> str:
    """One line on bootstrapping; from the middle of a life, when predictions are learned."""
    worth, by_next = probe.prediction_worth, probe.weight_by_next
    if by_next == 0.0:
        return "Bootstrapping: none; the next state's prediction does not move π̂."
    moves = (
        f"Bootstrapping at n = {probe.updates}: π̂ moves {by_next:+.2g} per φ(y(s_t+1)) and "
        f"{probe.weight_by_own:+.2g} per φ(y(s_t))"
    )
    if not math.isfinite(worth * by_next):
        return f"{moves}; φ says nothing about V."
    direction = "as a critic does" if worth * by_next > 0.0 else "against the states' values"
    return f"{moves}; φ and V correlate by {worth:+.2f}: the next state counts {direction}."


def _table(probes: Sequence[Probe], total: int) -> Table:
    """Moments from left to right."""
    chosen = probes[::2]
    heads = [f"{probe.updates / total:.2g}" for probe in chosen]
    table = Table("n/N", *heads, box=box.SIMPLE, title="Probes on random MDPs (on: slope, R²)")
    rows: dict[str, list[str]] = {
        "π̂ on reward": [_line(probe.on_reward) for probe in chosen],
        "π̂ on return": [_line(probe.on_return) for probe in chosen],
        "π̂ on exact advantage": [_line(probe.on_advantage) for probe in chosen],
        "correlation of φ(y(s)) and V(s)": [spelled(probe.prediction_worth) for probe in chosen],
        "π̂ per φ(y(s_t+1))": [spelled(probe.weight_by_next) for probe in chosen],
        "π̂ per φ(y(s_t))": [spelled(probe.weight_by_own) for probe in chosen],
        "φ(ŷ_t) per φ(y(s_t+1))": [spelled(probe.target_by_next) for probe in chosen],
        "entropy of ŷ / log m": [spelled(probe.target_entropy) for probe in chosen],
        "RMS of π̂": [spelled(probe.weight_size) for probe in chosen],
        "KL of an update (nats)": [spelled(probe.step) for probe in chosen],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _line(line: Line) -> str:
    return f"{spelled(line.slope)}, {spelled(line.r2)}"


def _figure(probes: Sequence[Probe], total: int) -> Any:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.4), dpi=100, layout="constrained")
    figure.suptitle(f"Agents on random MDPs, N = {total}", fontsize=11)
    panels = figure.subplots(2, 2, sharex=True)
    fraction = [probe.updates / total for probe in probes]
    for axes, (title, lines) in zip(panels.flat, _lines(probes).items(), strict=True):
        for label, values in lines.items():
            axes.plot(fraction, values, label=label, marker="o", markersize=3)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    panels[0, 0].set(ylabel="R²", ylim=(-0.05, 1.05))
    panels[0, 1].set(ylabel="rise per rise")
    panels[1, 0].set(ylabel="share", xlabel="n/N", ylim=(-0.05, 1.05))
    panels[1, 1].set(xlabel="n/N", yscale="log")
    return figure


def _lines(probes: Sequence[Probe]) -> dict[str, dict[str, list[float]]]:
    """What is drawn, by the titles of the panels."""
    return {
        "what π̂ follows": {
            "reward": [probe.on_reward.r2 for probe in probes],
            "return": [probe.on_return.r2 for probe in probes],
            "exact advantage": [probe.on_advantage.r2 for probe in probes],
        },
        "bootstrapping": {
            "π̂ per φ(y(s_t+1))": [probe.weight_by_next for probe in probes],
            "π̂ per φ(y(s_t))": [probe.weight_by_own for probe in probes],
            "φ(ŷ_t) per φ(y(s_t+1))": [probe.target_by_next for probe in probes],
        },
        "how sure the targets are": {
            "entropy of ŷ / log m": [probe.target_entropy for probe in probes]
        },
        "size of an update": {
            "RMS of π̂": [probe.weight_size for probe in probes],
            "KL of an update (nats)": [probe.step for probe in probes],
        },
    }
