"""Discoveries to compare: each arm with several meta-seeds, at equal environment steps.

Every discovery has a run folder of its own, `<folder>/<arm>-s<seed>`: what is finished is read,
what was cut off goes on, and a study may be stopped at any time.

Shape legend: M parameters of a rule.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from quickstudy.agents.objectives.lifetime import TimeFeatures
from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.discovery.config import DiscoverConfig, resolve
from quickstudy.experiments.discovery.side_by_side import bring_to_their_ends
from quickstudy.experiments.run_folder import RunFolder

_CENTRE_LIVES = 4
_FINAL_LIVES = 64
"""Looks at the rule during a discovery; studies judge it themselves."""
WHOLE = "64"
"""A shard that holds all candidates: each discovery has a process to itself."""
_FREE = {"processes", "checkpoint_interval", "picture_interval"}
"""What changes no figure."""


@dataclass(frozen=True)
class Search:
    """How a rule is looked for, as in `DiscoverConfig`; what is not given is the preset's."""

    estimator: str | None = None
    estimator_options: dict[str, str] = field(default_factory=dict)
    optimiser: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """What is discovered and how."""

    name: str
    preset: str
    search: Search
    lives: dict[str, str] = field(default_factory=dict)
    """As in `DiscoverConfig`."""

    def config(self, seed: int, steps: int) -> DiscoverConfig:
        """One discovery of this arm, that ends with the generation which reaches the steps."""
        return DiscoverConfig(
            preset=self.preset,
            lives=self.lives,
            estimator=self.search.estimator,
            estimator_options=self.search.estimator_options,
            optimiser=self.search.optimiser,
            steps=steps,
            centre_lives=_CENTRE_LIVES,
            final_lives=_FINAL_LIVES,
            seed=seed,
        )


@dataclass(frozen=True)
class Finding:
    """What one discovery has found."""

    first_M: Tensor
    """The rule it began with."""
    rule_M: Tensor
    """The one it ended with."""
    steps: int
    """Environment steps spent on estimates; those of looks at the rule are not among them."""
    generations: int


def lpg_arm(time: TimeFeatures, lives: dict[str, str]) -> Arm:
    """TA-LPG with these time features (none: LPG), by the preset's evolution strategy."""
    lives = {**lives, "rule.network.time": time}
    search = Search(estimator_options={"shard": WHOLE})
    return Arm(f"lpg-{time}", "ta-lpg-small", search, lives)


def discover_arms(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    steps: int,
    folder: Path,
    processes: int,
    console: Console,
) -> dict[str, list[Finding]]:
    """Run what is not finished in the folder; the findings of each arm, in the order of the seeds.

    All arms of a seed are begun before the next seed is.

    Raises:
        ValueError: for an arm that cannot be run, or a folder with a discovery of another
            configuration (before anything is run), or one that is in use.
        ChildProcessError: if a process failed; what others have done is saved.
        SystemExit: after a stop signal, once the discoveries that ran are saved.
    """
    for arm in arms:
        resolve(arm.config(0, steps)).build_lifetimes()
    runs = {
        folder / f"{arm.name}-s{seed}": arm.config(seed, steps) for seed in seeds for arm in arms
    }
    missing = {path: config for path, config in runs.items() if not _finished(path, config)}
    bring_to_their_ends(missing, processes, console)
    return {
        arm.name: [_finding(folder / f"{arm.name}-s{seed}", arm, seed, steps) for seed in seeds]
        for arm in arms
    }


def _finished(path: Path, config: DiscoverConfig) -> bool:
    """Raises `ValueError` if the folder's discovery is another one."""
    if not (path / "config.json").exists():
        return False
    kept, wanted = RunFolder(path).config(), json.loads(json.dumps(config.to_dict()))
    other = [name for name in wanted if name not in _FREE and kept.get(name) != wanted[name]]
    if other:
        raise ValueError(
            f"{path} holds a discovery with another {', '.join(other)}: choose another folder."
        )
    return (path / "evaluation.json").exists()


def _finding(path: Path, arm: Arm, seed: int, steps: int) -> Finding:
    state = Checkpoints(path / "checkpoints").load_latest()[0]
    first_M = resolve(arm.config(seed, steps)).build_lifetimes().first_rule(seed)
    return Finding(first_M, state["rule"], state["steps"], state["generation"])


def described(findings: dict[str, list[Finding]]) -> dict[str, Any]:
    """What was spent on each arm, seed by seed, for JSON."""
    return {
        arm: {"steps": [f.steps for f in found], "generations": [f.generations for f in found]}
        for arm, found in findings.items()
    }
