"""State dicts within state dicts: names with the name of what they are of before them."""

from collections.abc import Mapping

from torch import Tensor


def nested(owner: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under names that begin with `owner` and a dot."""
    return {f"{owner}.{name}": value for name, value in state.items()}


def part(owner: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `nested` put in under this name, empty if nothing; other names are left out."""
    prefix = f"{owner}."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
