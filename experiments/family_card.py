"""`quickstudy list --family X`: everything that is known of one family."""

import inspect
import re

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from quickstudy.envs.anchors import Anchor, stored_anchors
from quickstudy.envs.difficulty import difficulty
from quickstudy.envs.references.reference import Reference
from quickstudy.envs.references.stored import stored_references
from quickstudy.envs.registry import family_class, family_entry


def family_card(name: str) -> Group:
    """Parameters, spaces, trial, splits with digests, anchors, references, difficulty, sources.

    Raises:
        ValueError: for an unknown family; it lists the families and suggests the nearest.
    """
    entry = family_entry(name)
    manual = inspect.getdoc(family_class(name)) or ""
    title = Text(f"quickstudy/{name}-v{entry.version}", style="bold")
    return Group(
        title,
        Markdown(_without_heading_levels(manual)),
        *_splits(name),
        *_anchors(name),
        *_references(name),
        *_difficulty(name),
    )


def _without_heading_levels(manual: str) -> str:
    """Headings as bold lines: rich centres second-level ones."""
    return re.sub(r"^## (.+)$", r"**\1**", manual, flags=re.MULTILINE)


def _splits(name: str) -> list[RenderableType]:
    space = family_class(name).task_space
    rows = [[split, space.digest(split)] for split in space.splits]
    return [_table("Splits", ["split", "SHA-256 of its definition and first tasks"], rows)]


def _anchors(name: str) -> list[RenderableType]:
    anchors = stored_anchors(name, family_entry(name).episode_length)
    if anchors is None:
        return [Text("Anchors: not measured yet.")]
    rows = [[kind, _interval(anchor), anchor.policy] for kind, anchor in anchors.named.items()]
    versions = ", ".join(f"{package} {version}" for package, version in anchors.versions.items())
    commands = "; ".join([anchors.command, *anchors.training])
    caption = f"{anchors.num_tasks} test tasks, seed {anchors.seed}; {versions}; {commands}"
    title = f"Anchors: return of one episode of {anchors.episode_length} steps"
    return [_table(title, ["anchor", "mean [95 % interval]", "policy"], rows, caption)]


def _references(name: str) -> list[RenderableType]:
    entry = family_entry(name)
    known = stored_references(name, entry.episode_length, entry.episodes_per_trial)
    if not known:
        return []
    rows = [[r.name, f"{r.trial_return:.2f}", _how(r), r.source] for r in known]
    return [_table("References: return of a trial", ["reference", "mean", "how", "source"], rows)]


def _how(reference: Reference) -> str:
    if reference.kind == "exact":
        return "computed"
    return f"{reference.trials} trials, ± {1.96 * reference.standard_error:.2f}"


def _difficulty(name: str) -> list[RenderableType]:
    try:
        return [Text(f"Difficulty (Boopathy et al. 2023): {difficulty(name)}")]
    except ValueError as undefined:
        return [Text(str(undefined))]


def _interval(anchor: Anchor) -> str:
    return f"{anchor.mean:.1f} [{anchor.low:.1f}, {anchor.high:.1f}]"


def _table(title: str, columns: list[str], rows: list[list[str]], caption: str = "") -> Table:
    table = Table(*columns, title=title, title_justify="left", caption=caption or None)
    for row in rows:
        table.add_row(*row)
    return table
