"""Options given as text, `name value`, made into the fields of a dataclass."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from quickstudy.envs.errors import unknown

Options = TypeVar("Options")

_WORDS = {"true": True, "false": False}


def from_text(cls: Callable[..., Options], text: Mapping[str, str]) -> Options:
    """`cls` with these fields read from text, the others at their defaults.

    Fields may be numbers, booleans (true, false), text, one of some words, or tuples of numbers
    (0.5,1) or of words.

    Raises:
        ValueError: for a field that `cls` lacks, or a value that is not of its type.
    """
    return cls(**read_fields(cls, text))


def read_fields(cls: Callable[..., Any], text: Mapping[str, str]) -> dict[str, Any]:
    """The values of these fields of `cls`, read from text; raises as `from_text` does."""
    kinds = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in text:
        if name not in names:
            raise unknown("option", name, names)
    return {name: _read(name, value, kinds[name]) for name, value in text.items()}


def _read(name: str, text: str, kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise unknown(f"value of option {name}", text, typing.get_args(kind))
        return text
    try:
        if typing.get_origin(kind) is tuple:
            of_words = str in typing.get_args(kind)
            return tuple(part if of_words else float(part) for part in text.split(","))
        if type(None) in typing.get_args(kind):  # a number that may be left out
            kind = typing.get_args(kind)[0]
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (KeyError, TypeError, ValueError) as error:
        wanted = getattr(kind, "__name__", str(kind))
        raise ValueError(f"option {name} must be of type {wanted}, got {text!r}.") from error
