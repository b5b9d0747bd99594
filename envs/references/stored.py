"""The references that were computed once and are read from then on.

`references.json` is written by `quickstudy references FAMILY --write`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quickstudy.envs.references.reference import Reference

REFERENCES_FILE = Path(__file__).resolve().parent / "references.json"


def stored_references(
    family: str, episode_length: int, episodes_per_trial: int
) -> tuple[Reference, ...]:
    """The stored references of a family in one kind of trial; empty where there are none."""
    record = _read().get(_key(family, episode_length, episodes_per_trial))
    return tuple(_parsed(entry) for entry in record["references"]) if record else ()


def store_references(
    family: str,
    episode_length: int,
    episodes_per_trial: int,
    references: Sequence[Reference],
    provenance: dict[str, Any],
) -> None:
    """Write references into the file, in place of older ones.

    `provenance` is kept beside them: seed, versions and the command.
    """
    records = _read()
    entries = [asdict(reference) for reference in references]
    key = _key(family, episode_length, episodes_per_trial)
    records[key] = provenance | {"references": entries}
    REFERENCES_FILE.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n")


def _key(family: str, episode_length: int, episodes_per_trial: int) -> str:
    return f"{family}/{episode_length}x{episodes_per_trial}"


def _parsed(entry: dict[str, Any]) -> Reference:
    return Reference(**(entry | {"episode_returns": tuple(entry["episode_returns"])}))


def _read() -> dict[str, Any]:
    if not REFERENCES_FILE.exists():
        return {}
    records: dict[str, Any] = json.loads(REFERENCES_FILE.read_text())
    return records
