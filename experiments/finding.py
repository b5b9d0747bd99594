"""One line of what `quickstudy doctor` says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what was found."""

    what: str
    good: bool
    detail: str
    fix: str = ""
    """The command that mends it, where something is missing."""
