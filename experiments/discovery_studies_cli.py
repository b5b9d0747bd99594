"""The commands below `quickstudy discover`: studies and reports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from quickstudy.experiments.console import make_console
from quickstudy.experiments.discovery.estimator_study import EstimatorStudy
from quickstudy.experiments.discovery.explors_study import ExploRSStudy
from quickstudy.experiments.discovery.horizon_study import HorizonStudy
from quickstudy.experiments.discovery.meta_test import MetaTest
from quickstudy.experiments.discovery.schedule_study import ScheduleStudy
from quickstudy.experiments.discovery.two_colours_study import TwoColoursStudy
from quickstudy.experiments.discovery.unseen_study import UnseenStudy
from quickstudy.experiments.output_files import require_folder_of, write_result


@dataclass(frozen=True)
class Report:
    """Say what a discovered rule is, where it comes from, and what it came to.

    Of a drift: whether it is one, how far from PPO's and DPO's, heat maps over a life, and the
    nearest drift of DPO's family as a formula and as a rule to train by. Of LPG: what its targets
    follow, whether it bootstraps. Of a schedule: its curves.
    """

    path: tyro.conf.Positional[str]
    """A run folder of `quickstudy discover`, a rule's file, or the name of a shipped rule."""
    folder: Path | None = None
    """Where to write figures and pictures; None: `report` in a run folder, else `<name>-report`
    here."""
    updates: int = 50
    """N: the length of the life that the rule is looked at over."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.report import report

        report(self.path, self.folder, self.updates, make_console())


@dataclass(frozen=True)
class Estimators:
    """Hold every outer estimator against the exact gradient: bias, variance, cosine."""

    config: Annotated[EstimatorStudy, tyro.conf.arg(name="")] = field(
        default_factory=EstimatorStudy
    )
    json: Path | None = None
    """Write all figures to this file."""
    plot: Path | None = None
    """Draw the cosine against the window into this PNG, SVG or PDF."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.estimator_plots import plot_alignment
        from quickstudy.experiments.discovery.estimator_study import study

        _conduct(partial(study, self.config), plot_alignment, self.json, self.plot)


@dataclass(frozen=True)
class TwoColours:
    """Fixed against learned entropy weights on streams whose rewards swap (hours).

    Goes on where it was cut off.
    """

    config: Annotated[TwoColoursStudy, tyro.conf.arg(name="")] = field(
        default_factory=TwoColoursStudy
    )
    json: Path | None = None
    """Write all figures to this file."""
    plot: Path | None = None
    """Draw reward and entropy weight over time into this PNG, SVG or PDF."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.two_colours_plot import plot_two_colours
        from quickstudy.experiments.discovery.two_colours_study import study

        _conduct(partial(study, self.config), plot_two_colours, self.json, self.plot)


@dataclass(frozen=True)
class ExploRS:
    """Agents that shape their own rewards, with each part of it and with both (minutes)."""

    config: Annotated[ExploRSStudy, tyro.conf.arg(name="")] = field(default_factory=ExploRSStudy)
    json: Path | None = None
    """Write all figures to this file."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.explors_study import explors_study
        from quickstudy.experiments.threads import ACTING, torch_threads

        require_folder_of(self.json)
        with torch_threads(ACTING):
            write_result(self.json, explors_study(self.config, make_console()))


@dataclass(frozen=True)
class Horizons:
    """Rules that see the clock against one that does not, at many lengths of life (hours).

    Goes on where it was cut off.
    """

    config: Annotated[HorizonStudy, tyro.conf.arg(name="")] = field(default_factory=HorizonStudy)
    json: Path | None = None
    """Write all figures to this file."""
    plot: Path | None = None
    """Draw return against length of life into this PNG, SVG or PDF."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.horizon_study import horizon_study
        from quickstudy.experiments.discovery.rule_study_plots import plot_horizons

        _conduct(partial(horizon_study, self.config), plot_horizons, self.json, self.plot)


@dataclass(frozen=True)
class Schedules:
    """The same objective discovered by evolution strategies and by gradients (hours).

    Goes on where it was cut off.
    """

    config: Annotated[ScheduleStudy, tyro.conf.arg(name="")] = field(default_factory=ScheduleStudy)
    json: Path | None = None
    """Write all figures to this file."""
    plot: Path | None = None
    """Draw the schedules into this PNG, SVG or PDF."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.rule_study_plots import plot_schedules
        from quickstudy.experiments.discovery.schedule_study import schedule_study

        _conduct(partial(schedule_study, self.config), plot_schedules, self.json, self.plot)


@dataclass(frozen=True)
class Unseen:
    """Rules discovered on small grid-worlds, on large ones, next to tuned A2C (hours).

    Goes on where it was cut off.
    """

    config: Annotated[UnseenStudy, tyro.conf.arg(name="")] = field(default_factory=UnseenStudy)
    json: Path | None = None
    """Write all figures to this file."""
    plot: Path | None = None
    """Draw the returns on every task into this PNG, SVG or PDF."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.rule_study_plots import plot_unseen
        from quickstudy.experiments.discovery.unseen_study import unseen_study

        _conduct(partial(unseen_study, self.config), plot_unseen, self.json, self.plot)


@dataclass(frozen=True)
class MetaTests:
    """Train the suite's agents by a discovered rule, and by others as well tuned (hours).

    Goes on where it was cut off.
    """

    rule: tyro.conf.Positional[str]
    """A discovered rule's file, or the name of a shipped one."""
    config: Annotated[MetaTest, tyro.conf.arg(name="")] = field(default_factory=MetaTest)
    json: Path | None = None
    """Write all figures to this file."""
    plot: Path | None = None
    """Draw what each objective came to into this PNG, SVG or PDF."""

    def __call__(self) -> None:
        from quickstudy.experiments.discovery.meta_test import meta_test
        from quickstudy.experiments.discovery.meta_test_table import plot_meta_test

        _conduct(partial(meta_test, self.rule, self.config), plot_meta_test, self.json, self.plot)


Result = dict[str, Any]


def _conduct(
    study: Callable[[Console], Result],
    draw: Callable[[Result, Path], None],
    json: Path | None,
    plot: Path | None,
) -> None:
    """Do a study, write and draw it; files that could not be written are refused before."""
    from quickstudy.experiments.plots import require_matplotlib

    require_folder_of(json)
    if plot is not None:
        require_folder_of(plot)
        require_matplotlib()
    result = study(make_console())
    write_result(json, result)
    if plot is not None:
        draw(result, plot)


Command = Report | Estimators | TwoColours | ExploRS | Horizons | Schedules | Unseen | MetaTests

COMMANDS: dict[str, type[Command]] = {
    "report": Report,
    "estimators": Estimators,
    "two-colours": TwoColours,
    "explors": ExploRS,
    "horizons": Horizons,
    "schedules": Schedules,
    "unseen": Unseen,
    "meta-test": MetaTests,
}
"""By the word that follows `quickstudy discover`."""
