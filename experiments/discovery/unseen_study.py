"""How good is a rule on tasks unlike all it was discovered on, next to tuned A2C?

LPG and TA-LPG are discovered on small grid-worlds (Oh et al. 2020; Jackson et al. 2024) and sit
exams on larger ones. Beside them sit A2C as tuned on the tasks of discovery, which knows as much of
the new ones as the rules do; A2C as tuned on each of the new tasks, which knows more; and the rules
before discovery.

Shape legend: S meta-seeds, n lives.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from rich.console import Console

from quickstudy.agents.lifetimes.tabular import TabularConfig
from quickstudy.agents.objectives.lifetime import TimeFeatures
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.tabular.registry import TABULAR_TASKS
from quickstudy.experiments.discovery.a2c_tuning import A2CGrid, TunedA2C
from quickstudy.experiments.discovery.arms import Arm, Finding, described, lpg_arm
from quickstudy.experiments.discovery.exams import Contender, Exam, Outcome
from quickstudy.experiments.discovery.paired import (
    all_judged,
    apart,
    cell,
    difference,
    direction,
    in_words,
    normalised,
    show_lines,
    table,
)
from quickstudy.experiments.discovery.rule_study import (
    RuleStudy,
    discovered,
    lives_of,
    undiscovered,
)

TIMES: tuple[TimeFeatures, ...] = ("none", "fraction-log")
"""LPG and TA-LPG."""
TRAINED, HERE = "a2c-trained", "a2c-here"
"""A2C tuned on the tasks of discovery, and on those of the exam."""


@dataclass(frozen=True)
class UnseenStudy(RuleStudy):
    """10 discoveries of about 6 CPU minutes (none, if `horizons` has left them in the folder), and
    50 minutes of exams: an hour on two cores.
    """

    tasks: tuple[str, ...] = (
        "grid-all",
        "grid-dense",
        "grid-sparse",
        "grid-long",
        "grid-longer",
        "grid-long-dense",
    )
    """What rules are compared on: any finite tasks."""
    updates: int = 250
    """Length of the lives there (that of the public grid-worlds); rules have seen 10 to 50."""
    evaluation_steps: int = 2000
    """An evaluation episode there ends here, if its task has not ended it before."""
    exam_lives: int = 128
    """Lives on each of the tasks, the same for all rules."""
    tuning_lives: int = 32
    """Other lives, that A2C is tuned on."""
    grid: A2CGrid = field(default_factory=A2CGrid)
    """What A2C is tuned over."""

    def check(self) -> None:
        super().check()
        self.grid.check()
        require_positive("updates", self.updates)
        require_positive("evaluation_steps", self.evaluation_steps)
        for task in self.tasks:
            if task not in TABULAR_TASKS:
                raise unknown("tabular tasks", task, TABULAR_TASKS)


def unseen_study(config: UnseenStudy, console: Console) -> dict[str, Any]:
    """Do what is missing in the folder, print tables and verdict, return the result for JSON.

    Raises:
        ValueError: for a bad configuration, or a folder with discoveries of another.
        SystemExit: after a stop signal, once the discovery that ran is saved.
    """
    config.check()
    arms = [lpg_arm(kind, config.lives) for kind in TIMES]
    findings = config.discover(arms, console)
    exams = exams_of(config, lives_of(arms[0]))
    a2c = _tuned(config, lives_of(arms[0]), exams, console)
    plan = {task: (exam, _contenders(arms, findings, a2c, task)) for task, exam in exams.items()}
    outcomes = config.hold(plan, f"unseen-{config.updates}", console)
    result = {
        "config": config.to_dict(),
        "discoveries": described(findings),
        "a2c": {where: best.to_dict() for where, best in a2c.items()},
        **compared(outcomes, [arm.name for arm in arms]),
    }
    _show(result, console)
    return result


def exams_of(config: UnseenStudy, lives: TabularConfig) -> dict[str, Exam]:
    """On each of the tasks."""
    lives = replace(lives, evaluation_steps=config.evaluation_steps)
    return {
        task: Exam(replace(lives, tasks=task), config.exam_lives, config.seed).lasting(
            config.updates
        )
        for task in config.tasks
    }


def _tuned(
    config: UnseenStudy, lives: TabularConfig, exams: dict[str, Exam], console: Console
) -> dict[str, TunedA2C]:
    """By task; under `TRAINED` for the tasks of discovery, on eight times as many lives, as those
    are short.
    """
    tuning = {task: replace(exam, count=config.tuning_lives) for task, exam in exams.items()}
    best = config.tune(config.grid, tuning, f"unseen-{config.updates}-a2c", console)
    trained = {"trained": Exam(lives, 8 * config.tuning_lives, config.seed)}
    return best | {TRAINED: config.tune(config.grid, trained, "a2c", console)["trained"]}


def _contenders(
    arms: list[Arm], findings: dict[str, list[Finding]], a2c: dict[str, TunedA2C], task: str
) -> dict[str, Contender]:
    first = arms[0]
    return {
        **{arm.name: discovered(arm, findings[arm.name]) for arm in arms},
        "generation-0": undiscovered(first, findings[first.name]),
        TRAINED: a2c[TRAINED].contender,
        HERE: a2c[task].contender,
    }


# --- results ----------------------------------------------------------------------------------


def compared(outcomes: dict[str, Outcome], rules: list[str]) -> dict[str, Any]:
    """All contenders by task, each discovered rule against both A2C, and what that says."""
    pairs = [(rule, a2c) for rule in rules for a2c in (TRAINED, HERE)]
    return {
        "contenders": all_judged(outcomes),
        "differences": {f"{x} − {y}": apart(outcomes, x, y) for x, y in pairs},
        "overall": {f"{x} − {y}": overall(outcomes, x, y) for x, y in pairs},
        "verdict": [verdict(outcomes, x, y) for x, y in pairs],
    }


def overall(outcomes: dict[str, Outcome], x: str, y: str) -> dict[str, Any] | None:
    """The difference in returns by the optimum over the lives of all tasks; None if no life has an
    optimum to divide by.
    """
    parts = [
        [normalised(outcome.score_Sn[name], outcome.optimal_n) for name in (x, y)]
        for outcome in outcomes.values()
    ]
    x_Sn, y_Sn = (torch.cat(columns, dim=1) for columns in zip(*parts, strict=True))
    return difference(x_Sn, y_Sn) if x_Sn.shape[1] else None


def verdict(outcomes: dict[str, Outcome], x: str, y: str) -> str:
    """Where a rule earns more or less than A2C, and which of them does over all tasks."""
    over_all = overall(outcomes, x, y)
    found = "undecided" if over_all is None else direction(over_all)
    shown = cell(None if over_all is None else over_all["over_both"])
    return (
        f"{x} − {y}: {in_words(apart(outcomes, x, y))}. Over all tasks, by the exact optimum: "
        f"{found}, {shown}."
    )


def _show(result: dict[str, Any], console: Console) -> None:
    contenders = result["contenders"]
    console.print(table(contenders, "return", "Mean return on unseen tasks"))
    console.print(table(contenders, "normalised", "The same by the exact optimum"))
    console.print(table(result["differences"], "over_both", "Return minus that of A2C"))
    show_lines(result["verdict"], console)
