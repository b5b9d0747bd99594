"""Messages for values a user got wrong: the value, the options, the nearest match."""

import difflib
from collections.abc import Iterable


class MissingExtraError(ValueError):
    """An optional package is missing; the message names it and the line that installs it."""


def unknown(kind: str, value: object, options: Iterable[str]) -> ValueError:
    """The error for a name that is not among `options`."""
    names = list(options)
    close = _nearest(str(value), names)
    hint = f" Did you mean {close!r}?" if close else ""
    return ValueError(f"Unknown {kind} {value!r}.{hint} Options: {', '.join(names)}.")


def require_positive(name: str, value: object) -> None:
    """Raise `ValueError` unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")


def require_switch(switch_episode: int | None, episodes_per_trial: int) -> None:
    """Raise `ValueError` unless the task may switch at this episode (or does not switch)."""
    if switch_episode is not None and not 2 <= switch_episode <= episodes_per_trial:
        raise ValueError(
            f"switch_episode must be an episode from 2 to {episodes_per_trial} (the trial's last), "
            f"got {switch_episode!r}."
        )


def _nearest(value: str, names: list[str]) -> str | None:
    folded = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(value.lower(), list(folded), n=1, cutoff=0.5)
    return folded[close[0]] if close else None
