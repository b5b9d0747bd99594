"""Rules against each other on the same lives: intervals, differences and what they say.

Shape legend: S meta-seeds, n lives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from quickstudy.agents.lifetimes.tabular import LEAST_OPTIMUM
from quickstudy.experiments.discovery.exams import Outcome
from quickstudy.experiments.statistics import Interval, mean_interval, stratified_bootstrap

Direction = Literal["higher", "lower", "undecided"]


def all_judged(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, Any]]:
    """Every contender by exam; all exams have the same ones."""
    names = next(iter(outcomes.values())).score_Sn
    return {
        name: {exam: judged(o.score_Sn[name], o.optimal_n) for exam, o in outcomes.items()}
        for name in names
    }


def apart(outcomes: Mapping[str, Outcome], x: str, y: str) -> dict[str, Any]:
    """What contender x earned more than y, by exam."""
    return {
        exam: difference(earned(outcome.score_Sn[x]), earned(outcome.score_Sn[y]))
        for exam, outcome in outcomes.items()
    }


def judged(score_Sn: Tensor, optimal_n: Tensor) -> dict[str, Any]:
    """A contender's returns, plain and by the exact optimum; None if no life has one above 0.05.

    A life that broke counts as one that earned nothing, and is counted.
    """
    return {
        "return": interval(earned(score_Sn)),
        "normalised": _or_none(normalised(score_Sn, optimal_n)),
        "per_seed": earned(score_Sn).mean(dim=1).tolist(),
        "broken": int(score_Sn.isnan().sum()),
    }


def earned(score_Sn: Tensor) -> Tensor:
    """Returns, with 0 for lives that broke."""
    return score_Sn.nan_to_num(nan=0.0)


def normalised(score_Sn: Tensor, optimal_n: Tensor) -> Tensor:
    """Returns by the optimum, of those lives that have one above `LEAST_OPTIMUM`."""
    enough_n = optimal_n > LEAST_OPTIMUM
    return earned(score_Sn)[:, enough_n] / optimal_n[enough_n]


def interval(x_Sn: Tensor) -> dict[str, float]:
    """Mean and 95 % interval over seeds, given these lives; of one rule alone, over lives."""
    return asdict(_interval(x_Sn))


def difference(x_Sn: Tensor, y_Sn: Tensor) -> dict[str, Any]:
    """What x has more than y, seed by seed and life by life; one of them may be a single rule.

    `over_seeds` holds for these lives; `over_both` resamples seeds and lives (and is too narrow
    with few seeds: see `stratified_bootstrap`).
    """
    apart_Sn = x_Sn - y_Sn
    both = stratified_bootstrap(apart_Sn.unsqueeze(-1).numpy(), "mean", seed=0)
    return {
        "over_seeds": interval(apart_Sn),
        "over_both": asdict(both),
        "per_seed": apart_Sn.mean(dim=1).tolist(),
    }


def direction(of: Mapping[str, Any]) -> Direction:
    """Higher or lower if all intervals of a difference say so."""
    intervals = [of[name] for name in ("over_seeds", "over_both") if name in of]
    if all(x["low"] > 0 for x in intervals):
        return "higher"
    return "lower" if all(x["high"] < 0 for x in intervals) else "undecided"


def where(differences: Mapping[str, Mapping[str, Any]], kind: Direction) -> list[str]:
    """The names under which a difference is of this direction."""
    return [name for name, of in differences.items() if direction(of) == kind]


def in_words(differences: Mapping[str, Mapping[str, Any]]) -> str:
    """`higher at 5, 10; undecided at 25`."""
    kinds: tuple[Direction, ...] = ("higher", "lower", "undecided")
    found = {kind: where(differences, kind) for kind in kinds}
    return "; ".join(f"{kind} at {', '.join(names)}" for kind, names in found.items() if names)


def table(rows: Mapping[str, Mapping[str, Any]], figure: str, title: str) -> Table:
    """One figure of each row, by exam."""
    # Figures may go over two lines; names cut short would be taken for each other.
    shown = Table(Column(no_wrap=True), *next(iter(rows.values())), title=title)
    for name, by_exam in rows.items():
        shown.add_row(name, *(_short(found[figure]) for found in by_exam.values()))
    return shown


def show_lines(lines: Sequence[str], console: Console) -> None:
    """Verdicts, as they are."""
    for line in lines:
        console.print(line, markup=False, highlight=False)


def cell(interval: Mapping[str, float] | None) -> str:
    """An interval, spelled out."""
    if interval is None:
        return "–"
    return f"{interval['point']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _short(interval: Mapping[str, float] | None) -> str:
    """Half as wide, for many columns."""
    if interval is None:
        return "–"
    return f"{interval['point']:.3f} ±{(interval['high'] - interval['low']) / 2:.3f}"


def _interval(x_Sn: Tensor) -> Interval:
    return mean_interval(x_Sn[0].numpy() if len(x_Sn) == 1 else x_Sn.mean(dim=1).numpy())


def _or_none(x_Sn: Tensor) -> dict[str, float] | None:
    return interval(x_Sn) if x_Sn.numel() else None
