"""The commands below `quickstudy discover`: studies and reports."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from quickstudy.experiments.console import make_console
from quickstudy.experiments.discovery.estimator_study import EstimatorStudy
from quickstudy.experiments.discovery.explors_study import ExploRSStudy
from quickstudy.experiments.discovery.two_colours_study import TwoColoursStudy
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

        _require_output(self.json, self.plot)
        result = study(self.config, make_console())
        write_result(self.json, result)
        if self.plot is not None:
            plot_alignment(result, self.plot)


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

        _require_output(self.json, self.plot)
        result = study(self.config, make_console())
        write_result(self.json, result)
        if self.plot is not None:
            plot_two_colours(result, self.plot)


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


def _require_output(json: Path | None, plot: Path | None) -> None:
    """Refuse files that could not be written before hours are spent."""
    from quickstudy.experiments.plots import require_matplotlib

    require_folder_of(json)
    if plot is not None:
        require_folder_of(plot)
        require_matplotlib()


COMMANDS: dict[str, type[Report | Estimators | TwoColours | ExploRS]] = {
    "report": Report,
    "estimators": Estimators,
    "two-colours": TwoColours,
    "explors": ExploRS,
}
"""By the word that follows `quickstudy discover`."""
