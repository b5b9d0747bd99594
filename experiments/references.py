"""`quickstudy references`: computing what known strategies earn, and keeping it."""

from collections.abc import Sequence

from rich.table import Table

from quickstudy.envs.references import references_of
from quickstudy.envs.references.reference import Reference
from quickstudy.envs.references.stored import store_references
from quickstudy.envs.registry import family_entry
from quickstudy.experiments.run_folder import command_line, package_versions
from quickstudy.experiments.threads import ACTING, torch_threads

PACKAGES = ("quickstudy", "mujoco", "torch")


def measure_references(
    family: str,
    *,
    episode_length: int | None,
    episodes: int | None,
    trials: int,
    seed: int,
    write: bool,
) -> Table:
    """Compute all references of a family for one kind of trial; `write` also stores them.

    Raises:
        ValueError: for an unknown family, one without references, or a count below 1.
    """
    entry = family_entry(family)
    length = entry.episode_length if episode_length is None else episode_length
    count = entry.episodes_per_trial if episodes is None else episodes
    with torch_threads(ACTING):
        references = references_of(family, length, count, trials, seed)
    if write:
        versions = {name: str(package_versions()[name]) for name in PACKAGES}
        provenance = {"seed": seed, "versions": versions, "command": command_line()}
        store_references(family, length, count, references, provenance)
    return _table(f"{family}, {count} × {length} steps", references)


def _table(title: str, references: Sequence[Reference]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("strategy")
    for heading in ("return of a trial", "standard error", "first episode", "last episode"):
        table.add_column(heading, justify="right")
    table.add_column("how")
    for r in references:
        ends = (f"{r.episode_returns[0]:.3f}", f"{r.episode_returns[-1]:.3f}")
        how = "computed" if r.kind == "exact" else f"{r.trials} trials"
        table.add_row(r.name, f"{r.trial_return:.3f}", f"{r.standard_error:.3f}", *ends, how)
    return table
