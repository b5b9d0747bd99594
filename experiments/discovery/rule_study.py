"""What studies of discovered rules have in common: sizes, and who else sits the exams."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from quickstudy.agents.lifetimes.tabular import TabularConfig
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.a2c_tuning import A2CGrid, TunedA2C, tuned
from quickstudy.experiments.discovery.arms import Arm, Finding, discover_arms
from quickstudy.experiments.discovery.config import resolve
from quickstudy.experiments.discovery.exams import Contender, Exam, Outcome, Plan, hold


@dataclass(frozen=True)
class RuleStudy:
    """Sizes."""

    folder: Path = Path("runs/lpg-rules")
    """Where discoveries and exams are kept. What is finished there is not repeated, what was cut
    off goes on; `horizons` and `unseen` share the rules that both need."""
    steps: int = 150_000_000
    """Environment steps of each discovery, rounded up to whole generations."""
    seeds: int = 5
    """Discoveries of each arm."""
    lives: dict[str, str] = field(default_factory=dict)
    """What is not as in the preset about the lives that rules are discovered on: NAME VALUE …"""
    exam_lives: int = 512
    """Lives, the same for all rules, that they are compared on."""
    tuning_lives: int = 256
    """Other lives, that A2C is tuned on."""
    seed: int = 0
    """Decides those lives. The discoveries' seeds are 0, 1, …"""
    processes: int = 2
    """How many discoveries, or exams, are under way at a time; results do not depend on it."""

    def check(self) -> None:
        """Raise `ValueError` for a count below 1."""
        for name in ("steps", "seeds", "exam_lives", "tuning_lives", "processes"):
            require_positive(name, getattr(self, name))

    def discover(self, arms: Sequence[Arm], console: Console) -> dict[str, list[Finding]]:
        """The findings of each arm; see `discover_arms`."""
        seeds, folder = range(self.seeds), self.folder / "discoveries"
        return discover_arms(arms, seeds, self.steps, folder, self.processes, console)

    def tune(
        self, grid: A2CGrid, exams: Mapping[str, Exam], name: str, console: Console
    ) -> dict[str, TunedA2C]:
        """The best A2C for each exam; results are kept under a name."""
        return tuned(grid, exams, self.folder / name, self.processes, console)

    def hold(self, exams: Plan, name: str, console: Console) -> dict[str, Outcome]:
        """All exams; results are kept under a name."""
        return hold(exams, self.folder / name, self.processes, console)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"folder": str(self.folder)}


def lives_of(arm: Arm) -> TabularConfig:
    """Those that a tabular arm discovers on."""
    lives = resolve(arm.config(0, 1)).lives
    assert isinstance(lives, TabularConfig)
    return lives


def discovered(arm: Arm, findings: Sequence[Finding]) -> Contender:
    """The rules that the discoveries of an arm ended with."""
    return Contender(lives_of(arm).rule, torch.stack([found.rule_M for found in findings]))


def undiscovered(arm: Arm, findings: Sequence[Finding]) -> Contender:
    """The rules that they began with."""
    return Contender(lives_of(arm).rule, torch.stack([found.first_M for found in findings]))
