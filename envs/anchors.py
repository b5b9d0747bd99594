"""Stored anchors: what the simplest and the best policies earn in an episode of a family.

Raw returns mean little by themselves (an ant that does nothing earns 200), so each score is read
beside these. `anchors.json` is written by `quickstudy anchors FAMILY --write`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ANCHORS_FILE = Path(__file__).resolve().parent / "anchors.json"


@dataclass(frozen=True)
class Anchor:
    """Mean return of an episode under one policy."""

    mean: float
    low: float
    """Lower end of the 95 % interval over tasks."""
    high: float
    """Upper end of the 95 % interval over tasks."""
    policy: str
    """What acted."""


@dataclass(frozen=True)
class Anchors:
    """The anchors of one family at one episode length, and how they were measured."""

    family: str
    episode_length: int
    zero: Anchor
    """The zero action at every step."""
    random: Anchor
    """Uniformly random actions."""
    non_adaptive: Anchor | None
    """The best policy found that knows the family but not the task."""
    oracle: Anchor | None
    """The best policy found that is told the task."""
    split: str
    num_tasks: int
    seed: int
    versions: dict[str, str]
    command: str
    """What measured them."""
    training: list[str]
    """What trained the agents among them."""

    @property
    def named(self) -> dict[str, Anchor]:
        """The anchors there are, by name, weakest kind first."""
        anchors = {
            "zero": self.zero,
            "random": self.random,
            "non-adaptive": self.non_adaptive,
            "oracle": self.oracle,
        }
        return {name: anchor for name, anchor in anchors.items() if anchor is not None}


def stored_anchors(family: str, episode_length: int) -> Anchors | None:
    """The stored anchors, or None where nobody has measured them."""
    record = _read().get(_key(family, episode_length))
    if record is None:
        return None
    names = ("zero", "random", "non_adaptive", "oracle")
    parsed = {name: Anchor(**record[name]) if record[name] else None for name in names}
    return Anchors(**(record | parsed))


def store_anchors(anchors: Anchors) -> None:
    """Write anchors into the file, in place of older ones."""
    records = _read()
    records[_key(anchors.family, anchors.episode_length)] = asdict(anchors)
    ANCHORS_FILE.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n")


def _key(family: str, episode_length: int) -> str:
    return f"{family}/H{episode_length}"


def _read() -> dict[str, Any]:
    if not ANCHORS_FILE.exists():
        return {}
    records: dict[str, Any] = json.loads(ANCHORS_FILE.read_text())
    return records
