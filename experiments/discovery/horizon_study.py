"""Does a rule that sees the clock do better at lengths of life that it was not discovered on?

TA-LPG against LPG (Jackson et al. 2024, arXiv 2402.05828), with every way of showing the time.
Rules are discovered on lives of 10 to 50 updates at equal environment steps, and compared on the
same new tasks with 5 to 400 updates; beside them are rules before discovery, and A2C tuned on lives
of 10 to 50 updates.

Shape legend: S meta-seeds, n lives.
"""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from quickstudy.agents.objectives.lifetime import TIME_FEATURES, TimeFeatures
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.a2c_tuning import A2CGrid, TunedA2C
from quickstudy.experiments.discovery.arms import described, lpg_arm
from quickstudy.experiments.discovery.exams import Exam, Outcome
from quickstudy.experiments.discovery.paired import (
    all_judged,
    apart,
    in_words,
    show_lines,
    table,
    where,
)
from quickstudy.experiments.discovery.rule_study import (
    RuleStudy,
    discovered,
    lives_of,
    undiscovered,
)

BLIND = "lpg-none"
"""The arm without a clock."""
ENOUGH = 2
"""At how many lengths outside those of discovery a clock must win."""


@dataclass(frozen=True)
class HorizonStudy(RuleStudy):
    """25 discoveries of about 6 CPU minutes, and 80 minutes of exams: 2 hours on two cores."""

    times: tuple[TimeFeatures, ...] = TIME_FEATURES
    """How rules see the time; none must be among them."""
    horizons: tuple[int, ...] = (5, 10, 25, 50, 100, 200, 400)
    """Updates of the lives that rules are compared on."""
    grid: A2CGrid = field(default_factory=A2CGrid)
    """What A2C is tuned over."""

    def check(self) -> None:
        super().check()
        self.grid.check()
        if (
            "none" not in self.times
            or len(self.times) < 2
            or len(set(self.times)) < len(self.times)
        ):
            raise ValueError(f"times must be none and others, each once, got {self.times}.")
        for horizon in self.horizons:
            require_positive("horizons", horizon)


def horizon_study(config: HorizonStudy, console: Console) -> dict[str, Any]:
    """Do what is missing in the folder, print tables and verdict, return the result for JSON.

    Raises:
        ValueError: for a bad configuration, or a folder with discoveries of another.
        SystemExit: after a stop signal, once the discovery that ran is saved.
    """
    config.check()
    arms = [lpg_arm(kind, config.lives) for kind in config.times]
    findings = config.discover(arms, console)
    blind = next(arm for arm in arms if arm.name == BLIND)
    trained = Exam(lives_of(blind), config.tuning_lives, config.seed)
    a2c = config.tune(config.grid, {"trained": trained}, "a2c", console)["trained"]
    contenders = {arm.name: discovered(arm, findings[arm.name]) for arm in arms}
    contenders["generation-0"] = undiscovered(blind, findings[BLIND])
    contenders["a2c"] = a2c.contender
    exam = Exam(trained.lives, config.exam_lives, config.seed)
    plan = {str(n): (exam.lasting(n), contenders) for n in sorted(set(config.horizons))}
    outcomes = config.hold(plan, "horizons", console)
    trained_on = (trained.lives.min_updates, trained.lives.max_updates)
    result = {
        "config": config.to_dict(),
        "trained_on": list(trained_on),
        "discoveries": described(findings),
        "a2c": a2c.to_dict(),
        **compared(outcomes, trained_on),
    }
    _show(result, a2c, console)
    return result


# --- results ----------------------------------------------------------------------------------


def compared(outcomes: dict[str, Outcome], trained_on: tuple[int, int]) -> dict[str, Any]:
    """All contenders by horizon, each clock against none, and what that says.

    Args:
        outcomes: by horizon.
        trained_on: the shortest and the longest life of discovery.
    """
    contenders = all_judged(outcomes)
    clocks = [name for name in contenders if name.startswith("lpg-") and name != BLIND]
    differences = {clock: apart(outcomes, clock, BLIND) for clock in clocks}
    return {
        "contenders": contenders,
        "minus_none": differences,
        "none_minus_a2c": apart(outcomes, BLIND, "a2c"),
        "verdict": [verdict(clock, differences[clock], trained_on) for clock in clocks],
    }


def verdict(clock: str, differences: dict[str, Any], trained_on: tuple[int, int]) -> str:
    """In which lengths of life a clock is better than none, and whether the claim holds."""
    low, high = trained_on
    new = [n for n in differences if not low <= int(n) <= high]
    wins = [n for n in where(differences, "higher") if n in new]
    claim = "wins" if len(wins) >= ENOUGH else "does NOT win"
    return (
        f"{clock} − {BLIND}: {in_words(differences)}. It {claim} at {ENOUGH} or more of the "
        f"{len(new)} horizons outside {low}–{high}: {len(wins)}."
    )


def _show(result: dict[str, Any], a2c: TunedA2C, console: Console) -> None:
    contenders = result["contenders"]
    console.print(table(contenders, "return", "Mean return by horizon"))
    console.print(table(contenders, "normalised", "The same by the exact optimum"))
    console.print(table(result["minus_none"], "over_seeds", "Return minus that without a clock"))
    edge = ", at the grid's edge" if a2c.at_edge else ""
    console.print(f"a2c: step size {a2c.rate:g}, entropy weight {a2c.entropy:g}{edge}")
    show_lines(result["verdict"], console)
