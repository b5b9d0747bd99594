"""Do gradients find flatter schedules than evolution strategies do, and what do they earn?

The same objective, discovered by each estimator at equal environment steps: A2C whose entropy
weight is a function of the lifetime, or TA-LPG, of which the size of its policy steps is followed.
Jackson et al. (2024, arXiv 2402.05828) find near-static rules by gradients; in their public code
the gradient's critic never learns (here it does), and the two climb at different rates: so one arm
climbs by gradients at the evolution strategy's. A2C with the best fixed weight of a sweep sits
beside them.

Shape legend: S meta-seeds, P lives, N updates of a life, M parameters of a rule.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import Console
from rich.table import Table
from torch import Tensor

from quickstudy.envs.errors import unknown
from quickstudy.experiments.discovery.a2c_tuning import BASE, A2CGrid, TunedA2C
from quickstudy.experiments.discovery.arms import WHOLE, Arm, Finding, Search, described
from quickstudy.experiments.discovery.exams import Contender, Exam, Outcome
from quickstudy.experiments.discovery.paired import (
    apart,
    cell,
    direction,
    interval,
    judged,
    show_lines,
)
from quickstudy.experiments.discovery.rule_study import (
    RuleStudy,
    discovered,
    lives_of,
    undiscovered,
)
from quickstudy.experiments.discovery.schedules import curves

Preset = Literal["a2c-schedule", "ta-lpg-small"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
_GRADIENT = {"window": "5", "shard": WHOLE}
ARMS = {
    "open-es": Search(estimator_options={"shard": WHOLE}),
    "open-es-wide": Search(estimator_options={"sigma": "0.5", "shard": WHOLE}),
    "pes": Search("pes", {"pairs": "32", "shard": WHOLE}),
    "meta-gradient": Search("meta-gradient", _GRADIENT),
    "meta-gradient-fast": Search(
        "meta-gradient", _GRADIENT, {"learning_rate": "0.01", "decay": "0.999"}
    ),
    "meta-gradient-value": Search("meta-gradient", {**_GRADIENT, "lifetime_value": "true"}),
    "bmg": Search("bmg", {"shard": WHOLE}),
}
"""64 agents each, for any of the presets. `wide` perturbs the weight's logarithm by about 1, where
the preset's σ of 0.1 does so by a fifth; `fast` climbs at the rate of the evolution strategies."""
FIRST = "open-es"
"""What the others are compared with."""
FIXED = "fixed"
"""A2C with the best fixed weight."""
EXAM = "trained"
"""The name of the only exam: new lives of the lengths of discovery."""
_CURVE_LIVES = 64


@dataclass(frozen=True)
class ScheduleStudy(RuleStudy):
    """35 discoveries of 4 to 9 CPU minutes: 2 to 3 hours on two cores. Gradients through TA-LPG
    take two to three times as long.
    """

    preset: Preset = PRESETS[0]
    """What is discovered: A2C's entropy weight over a life, or TA-LPG, whose policy steps' size is
    what is followed."""
    folder: Path = Path("runs/schedules")
    """Where discoveries and exams are kept. What is finished there is not repeated, what was cut
    off goes on; another preset needs another folder."""
    steps: int = 100_000_000
    """Environment steps of each discovery, rounded up to whole generations."""
    arms: tuple[str, ...] = tuple(ARMS)
    """What is compared; open-es must be among them."""
    entropies: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """Fixed weights, of which the best on the tuning lives is compared."""

    def check(self) -> None:
        super().check()
        self.grid.check()
        if self.preset not in PRESETS:
            raise unknown("preset", self.preset, PRESETS)
        for name in self.arms:
            if name not in ARMS:
                raise unknown("arm", name, ARMS)
        if FIRST not in self.arms:
            raise ValueError(f"arms must hold {FIRST}, which the others are compared with.")

    @property
    def grid(self) -> A2CGrid:
        """The fixed weights as a grid."""
        return A2CGrid((BASE.policy_rate,), self.entropies)


def schedule_study(config: ScheduleStudy, console: Console) -> dict[str, Any]:
    """Do what is missing in the folder, print a table and verdict, return the result for JSON.

    Raises:
        ValueError: for a bad configuration, or a folder with discoveries of another.
        SystemExit: after a stop signal, once the discovery that ran is saved.
    """
    config.check()
    arms = [
        Arm(name, config.preset, ARMS[name], config.lives) for name in dict.fromkeys(config.arms)
    ]
    findings = config.discover(arms, console)
    lives = lives_of(arms[0])
    tuning = {EXAM: Exam(lives, config.tuning_lives, config.seed)}
    fixed = config.tune(config.grid, tuning, "fixed", console)[EXAM]
    contenders = _contenders(arms, findings, fixed)
    exam = Exam(lives, config.exam_lives, config.seed)
    outcome = config.hold({EXAM: (exam, contenders)}, "schedules", console)[EXAM]
    longest = Exam(lives, _CURVE_LIVES, config.seed).lasting(lives.max_updates)
    curve_SPN = {
        name: curves(longest, contender.rule_SM)
        for name, contender in contenders.items()
        if name != FIXED
    }
    result = {
        "config": config.to_dict(),
        "discoveries": described(findings),
        "fixed": fixed.to_dict(),
        **compared(outcome, curve_SPN),
    }
    _show(result, console)
    return result


def _contenders(
    arms: list[Arm], findings: dict[str, list[Finding]], fixed: TunedA2C
) -> dict[str, Contender]:
    first = arms[0]
    return {
        **{arm.name: discovered(arm, findings[arm.name]) for arm in arms},
        "generation-0": undiscovered(first, findings[first.name]),
        FIXED: fixed.contender,
    }


# --- results ----------------------------------------------------------------------------------


def compared(outcome: Outcome, curve_SPN: dict[str, Tensor]) -> dict[str, Any]:
    """Schedules and returns, the first arm against all others, and what that says.

    Args:
        outcome: the scores of all contenders.
        curve_SPN: what the rules of each say along lives (see `curves`).
    """
    ranges = {arm: amplitude(curve) for arm, curve in curve_SPN.items()}
    others = [arm for arm in curve_SPN if arm != FIRST]
    wider = {arm: {"over_seeds": _apart(ranges[FIRST], ranges[arm])} for arm in others}
    more = {arm: apart({EXAM: outcome}, FIRST, arm)[EXAM] for arm in (*others, FIXED)}
    return {
        "contenders": {
            name: judged(score_Sn, outcome.optimal_n) for name, score_Sn in outcome.score_Sn.items()
        },
        "schedules": {arm: schedule(curve) for arm, curve in curve_SPN.items()},
        "amplitude_minus": wider,
        "return_minus": more,
        "verdict": [verdict(arm, wider.get(arm), more[arm]) for arm in more],
    }


def amplitude(curve_SPN: Tensor) -> Tensor:
    """Largest minus smallest along a life, mean over lives: `(S,)` float64."""
    return (curve_SPN.amax(dim=2) - curve_SPN.amin(dim=2)).double().mean(dim=1)


def schedule(curve_SPN: Tensor) -> dict[str, Any]:
    """Amplitudes with their intervals over seeds, and curves.

    The amplitude of the mean curve is what all seeds agree on: chance alone also bends schedules,
    each in its own way.
    """
    amplitude_S = amplitude(curve_SPN)
    ratio_S = (curve_SPN.amax(dim=2) / curve_SPN.amin(dim=2)).double().mean(dim=1)
    curve_SN = curve_SPN.double().mean(dim=1)
    mean_N = curve_SN.mean(dim=0)
    return {
        "amplitude": {"per_seed": amplitude_S.tolist(), "interval": _over_seeds(amplitude_S)},
        "ratio": {"per_seed": ratio_S.tolist(), "interval": _over_seeds(ratio_S)},
        "amplitude_of_mean": float(mean_N.max() - mean_N.min()),
        "curves": curve_SN.tolist(),
    }


def _apart(x_S: Tensor, y_S: Tensor) -> dict[str, float]:
    return _over_seeds(x_S - y_S)


def _over_seeds(x_S: Tensor) -> dict[str, float]:
    return interval(x_S.unsqueeze(1))


def verdict(arm: str, wider: dict[str, Any] | None, more: dict[str, Any]) -> str:
    """What the first arm has more than another: amplitude (not next to a fixed weight), return."""
    spoken = {"higher": "larger", "lower": "smaller", "undecided": "undecided"}
    parts = [] if wider is None else [f"amplitude {spoken[direction(wider)]}"]
    parts.append(f"return {direction(more)} by {cell(more['over_seeds'])}")
    return f"{FIRST} − {arm}: {', '.join(parts)}."


def _show(result: dict[str, Any], console: Console) -> None:
    console.print(table(result))
    show_lines(result["verdict"], console)


def table(result: dict[str, Any]) -> Table:
    """Amplitudes and returns."""
    shown = Table(
        "", "amplitude", "largest/smallest", "return", "by the optimum", title="Schedules"
    )
    for name, found in result["contenders"].items():
        bent = result["schedules"].get(name)
        cells = [cell(bent[x]["interval"]) if bent else "–" for x in ("amplitude", "ratio")]
        shown.add_row(name, *cells, cell(found["return"]), cell(found["normalised"]))
    return shown
