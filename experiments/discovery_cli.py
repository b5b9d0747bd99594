"""The command line of `quickstudy discover`. Heavy imports happen inside, as in `cli.py`."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from quickstudy.experiments.console import make_console
from quickstudy.experiments.discovery.config import DiscoverConfig


@dataclass(frozen=True)
class Discover:
    """Find a learning rule (a preset), or go on with a discovery by --resume.

    Presets: lpg-small, ta-lpg-small, a2c-schedule, lpo-control, ta-lpo-control, lifetime-reward,
    exact-chain, noisy-quadratic. Beside them:
    `discover report PATH` says what was found; `discover estimators` holds every outer estimator
    against the exact gradient; `discover two-colours` and `discover explors` are studies of learned
    entropy weights and rewards; `discover horizons`, `discover schedules` and `discover unseen`
    compare discovered rules; `discover meta-test` trains the suite's agents by one. Each has a
    --help of its own.
    """

    preset: tyro.conf.Positional[str | None] = None
    """What to discover, and on whose lives."""
    resume: Path | None = None
    """Go on with the discovery in this folder, bit for bit; takes no other option, but for
    --processes."""
    run_dir: Path | None = None
    """Where to keep the run; None: runs/discover-<preset>-s<seed>-<time>."""
    config: Annotated[DiscoverConfig, tyro.conf.arg(name="")] = field(
        default_factory=DiscoverConfig
    )

    def __call__(self) -> None:
        from quickstudy.experiments.discovery import discover
        from quickstudy.experiments.discovery.presets import PRESETS

        if self.resume is not None:
            processes = self.config.processes
            if self != Discover(resume=self.resume, config=DiscoverConfig(processes=processes)):
                raise ValueError(
                    "--resume goes on with a discovery as it was begun: give nothing else (but "
                    "--processes)."
                )
            discover.resume(self.resume, make_console(), processes)
            return
        if self.preset is None:
            raise ValueError(f"Which preset? Options: {', '.join(PRESETS)}.")
        discover.discover(replace(self.config, preset=self.preset), self.run_dir, make_console())


STUDIES = (
    "report",
    "estimators",
    "two-colours",
    "explors",
    "horizons",
    "schedules",
    "unseen",
    "meta-test",
)
"""Commands below `quickstudy discover`: words that can be no preset."""


def study_command(arguments: list[str]) -> Callable[[], None] | None:
    """The command of `discover report …` and the like; None for any other command line."""
    if arguments[:1] != ["discover"] or len(arguments) < 2 or arguments[1] not in STUDIES:
        return None
    from quickstudy.experiments import discovery_studies_cli

    name = arguments[1]
    command = discovery_studies_cli.COMMANDS[name]
    return tyro.cli(command, prog=f"quickstudy discover {name}", args=arguments[2:])
