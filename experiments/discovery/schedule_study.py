"""Do gradients find flatter schedules than evolution strategies do, and what do they earn?

The same objective, A2C whose entropy weight is a function of the lifetime, discovered by each
estimator at equal environment steps. Jackson et al. (2024, arXiv 2402.05828) find near-static rules
by gradients; in their public code the gradient's critic never learns (here it does), and the two
climb at different rates: so one arm climbs by gradients at the evolution strategy's. The best fixed
weight of a sweep sits beside them.

Shape legend: S meta-seeds, P lives, N updates of a life, M parameters of a rule.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from quickstudy.agents.lifetimes.tabular import TabularLifetimes
from quickstudy.agents.lifetimes.tabular_rules import ScheduleRule
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.envs.errors import unknown
from quickstudy.experiments.discovery.a2c_tuning import BASE, A2CGrid, TunedA2C
from quickstudy.experiments.discovery.arms import WHOLE, Arm, Finding, described
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

PRESET = "a2c-schedule"
_GRADIENT = {"window": "5", "shard": WHOLE}
ARMS = {
    arm.name: arm
    for arm in (
        Arm("open-es", PRESET, estimator_options={"shard": WHOLE}),
        Arm("open-es-wide", PRESET, estimator_options={"sigma": "0.5", "shard": WHOLE}),
        Arm("pes", PRESET, estimator="pes", estimator_options={"pairs": "32", "shard": WHOLE}),
        Arm("meta-gradient", PRESET, estimator="meta-gradient", estimator_options=_GRADIENT),
        Arm(
            "meta-gradient-fast",
            PRESET,
            estimator="meta-gradient",
            estimator_options=_GRADIENT,
            optimiser={"learning_rate": "0.01", "decay": "0.999"},
        ),
        Arm(
            "meta-gradient-value",
            PRESET,
            estimator="meta-gradient",
            estimator_options={**_GRADIENT, "lifetime_value": "true"},
        ),
        Arm("bmg", PRESET, estimator="bmg", estimator_options={"shard": WHOLE}),
    )
}
"""64 agents each. `wide` perturbs the weight's logarithm by about 1, where the preset's σ of 0.1
does so by a fifth; `fast` climbs at the rate of the evolution strategies."""
FIRST = "open-es"
"""What the others are compared with."""
EXAM = "trained"
"""The name of the only exam: new lives of the lengths of discovery."""
_CURVE_LIVES = 64


@dataclass(frozen=True)
class ScheduleStudy(RuleStudy):
    """35 discoveries of 4 to 9 CPU minutes: 2 to 3 hours on two cores."""

    folder: Path = Path("runs/schedules")
    """Where discoveries and exams are kept. What is finished there is not repeated, what was cut
    off goes on."""
    steps: int = 100_000_000
    """Environment steps of each discovery, rounded up to whole generations."""
    arms: tuple[str, ...] = tuple(ARMS)
    """What is compared; open-es must be among them."""
    entropies: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """Fixed weights, of which the best on the tuning lives is compared."""

    def check(self) -> None:
        super().check()
        self.grid.check()
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
    began = time.perf_counter()
    arms = [_on_lives(ARMS[name], config.lives) for name in dict.fromkeys(config.arms)]
    findings = config.discover(arms, console)
    lives = lives_of(arms[0])
    tuning = {EXAM: Exam(lives, config.tuning_lives, config.seed)}
    fixed = config.tune(config.grid, tuning, "fixed", console)[EXAM]
    contenders = _contenders(arms, findings, fixed)
    exam = Exam(lives, config.exam_lives, config.seed)
    outcome = config.hold({EXAM: (exam, contenders)}, "schedules", console)[EXAM]
    longest = Exam(lives, _CURVE_LIVES, config.seed).lasting(lives.max_updates)
    curve_SPN = {arm.name: curves(longest, contenders[arm.name].rule_SM) for arm in arms}
    result = {
        "config": config.to_dict(),
        "discoveries": described(findings),
        "fixed": fixed.to_dict(),
        **compared(outcome, curve_SPN),
        "seconds": time.perf_counter() - began,
    }
    _show(result, console)
    return result


def _on_lives(arm: Arm, lives: dict[str, str]) -> Arm:
    return Arm(arm.name, arm.preset, lives, arm.estimator, arm.estimator_options, arm.optimiser)


def _contenders(
    arms: list[Arm], findings: dict[str, list[Finding]], fixed: TunedA2C
) -> dict[str, Contender]:
    """Before discovery all rules are the same: 0.01 all life long."""
    first = arms[0]
    return {
        **{arm.name: discovered(arm, findings[arm.name]) for arm in arms},
        "generation-0": undiscovered(first, findings[first.name][:1]),
        "fixed": fixed.contender,
    }


@torch.no_grad()
def curves(exam: Exam, rule_SM: Tensor) -> Tensor:
    """The entropy weight before every update of lives under each rule, `(S, P, N)`.

    Lives are lived: a rule that sees rewards sees those that its agents earn. All lives of the exam
    must be of one length.
    """
    lifetimes, key_P = TabularLifetimes(exam.lives), exam.life_keys()
    return torch.stack(
        [_curve(lifetimes, rule_M.expand(len(key_P), -1), key_P) for rule_M in rule_SM]
    )


def _curve(lifetimes: TabularLifetimes, rule_PM: Tensor, key_P: Tensor) -> Tensor:
    assert isinstance(lifetimes.rule, ScheduleRule)
    rows = lifetimes.begin(key_P)
    (length,) = torch.unique(rows["total"]).tolist()
    weights = []
    for _ in range(length):
        age = Lifetime(rows["updates"], rows["total"])
        weights.append(lifetimes.rule.entropy(rule_PM, age, rows["recent_reward"]))
        rows = lifetimes.learn(rule_PM, rows, 1)
    return torch.stack(weights, dim=1)


# --- results ----------------------------------------------------------------------------------


def compared(outcome: Outcome, curve_SPN: dict[str, Tensor]) -> dict[str, Any]:
    """Schedules and returns of each arm, the first arm against the others, and what that says.

    Args:
        outcome: the scores of all contenders.
        curve_SPN: the entropy weights of the arms, by update.
    """
    ranges = {arm: amplitude(curve) for arm, curve in curve_SPN.items()}
    others = [arm for arm in curve_SPN if arm != FIRST]
    wider = {arm: {"over_seeds": _apart(ranges[FIRST], ranges[arm])} for arm in others}
    more = {arm: apart({EXAM: outcome}, FIRST, arm)[EXAM] for arm in (*others, "fixed")}
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
    """Largest minus smallest entropy weight along a life, mean over lives: `(S,)` float64."""
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
