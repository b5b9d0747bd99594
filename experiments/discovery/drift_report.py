"""What there is to say about a drift that was discovered."""

import math
from dataclasses import asdict

import torch
from rich import box
from rich.table import Table
from torch import Tensor

from quickstudy.agents.objectives.discovered import Discovered, Provenance
from quickstudy.agents.objectives.dpo_family import DPOFamily
from quickstudy.agents.objectives.drift_check import Drift
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.experiments.discovery.distillation import Distilled, distil
from quickstudy.experiments.discovery.drift_figures import DriftFigures, drift_figures
from quickstudy.experiments.discovery.drift_pictures import heat_map
from quickstudy.experiments.discovery.findings import Findings, spelled
from quickstudy.experiments.run_folder import command_line, package_versions

DriftNetwork = LearnedDrift | DPOFamily


def drift_findings(found: Discovered, network: DriftNetwork, total: int) -> Findings:
    """Figures, the nearest of DPO's family, and heat maps, of a life of `total` updates."""
    drift, clip = bound_drift(network, found.rule_M), _clip(network)
    figures = drift_figures(drift, clip, total)
    weight = network.entropy_coefficient(found.rule_M)
    entropy = None if weight is None else float(weight)
    distilled = distil(drift, total, entropy)
    return Findings(
        tables=[_table(figures, distilled, entropy)],
        record={
            "drift": asdict(figures),
            "entropy_coefficient": entropy,
            "distilled": _record(distilled),
        },
        pictures={"drift": lambda: heat_map(drift, clip, total)},
        notes=["Nearest drift of DPO's family (n/N from 0 to 1):", *distilled.formula()],
        rules={"distilled": _as_rule(distilled, found)},
    )


def bound_drift(network: DriftNetwork, rule_M: Tensor) -> Drift:
    """The drift of one rule, float64."""
    rule_M = rule_M.detach().to(torch.float64)
    return lambda log_ratio, advantage, lifetime: network(rule_M, log_ratio, advantage, lifetime)


def _clip(network: DriftNetwork) -> float:
    """ε of the PPO to compare with."""
    config = network.config
    return (config if isinstance(config, LearnedDriftConfig) else LearnedDriftConfig()).clip


def _table(figures: DriftFigures, distilled: Distilled, entropy: float | None) -> Table:
    check = figures.check
    table = Table("", "", box=box.SIMPLE, show_header=False, title="Drift")
    table.add_row("is one (D ≥ 0, D(1) = 0, D′(1) = 0)", "yes" if figures.valid else "NO")
    table.add_row("largest −D; |D(1)|; |D′(1)|", "; ".join(map(spelled, asdict(check).values())))
    table.add_row("RMS of ∂D/∂r", spelled(figures.size))
    table.add_row("RMS distance to PPO's", spelled(figures.to_ppo))
    table.add_row("RMS distance to DPO's", spelled(figures.to_dpo))
    table.add_row("RMS change over the life", spelled(figures.amplitude))
    if entropy is not None:
        table.add_row("weight of the entropy bonus", spelled(entropy))
    r2 = f"{spelled(distilled.r2_gradient)} of ∂D/∂r, {spelled(distilled.r2_drift)} of D"
    table.add_row("R² of the nearest of DPO's family", r2)
    return table


def _record(distilled: Distilled) -> dict[str, object]:
    return {
        "alpha": distilled.alpha,
        "beta": distilled.beta,
        "r2_gradient": distilled.r2_gradient,
        "r2_drift": distilled.r2_drift,
        "formula": distilled.formula(),
    }


def _as_rule(distilled: Distilled, found: Discovered) -> Discovered:
    """A rule to learn by; it cost what the one it was read off cost."""
    origin = found.provenance
    notes: dict[str, object] = {"distilled_from": origin.command}
    if math.isfinite(distilled.r2_gradient):
        notes["r2_gradient"] = distilled.r2_gradient
    provenance = Provenance(
        command_line(), origin.seeds, origin.environment_steps, package_versions(), notes
    )
    return Discovered("dpo", distilled.family, distilled.rule_M, provenance)
