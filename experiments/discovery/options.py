"""A configuration with some of its constants changed, as a user writes them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from quickstudy.envs.errors import unknown
from quickstudy.envs.from_text import read_fields

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def changed(config: Config, text: Mapping[str, str]) -> Config:
    """`config` with these fields read from text; a part's own fields are written `part.field`.

    Raises:
        ValueError: for a field that there is not, or a value that is not of its type.
    """
    whole, of_parts = _split(text)
    for part, inner in of_parts.items():
        if not is_dataclass(getattr(config, part, None)):
            raise unknown("option", f"{part}.{next(iter(inner))}", spelled(config))
        config = replace(config, **{part: changed(getattr(config, part), inner)})
    return replace(config, **read_fields(type(config), whole))


def spelled(config: Any, prefix: str = "") -> dict[str, str]:
    """Every constant of a configuration by the name that `changed` takes, as text."""
    names: dict[str, str] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            names |= spelled(value, f"{prefix}{field.name}.")
        else:
            names[prefix + field.name] = str(value)
    return names


def _split(text: Mapping[str, str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    whole: dict[str, str] = {}
    parts: dict[str, dict[str, str]] = {}
    for name, value in text.items():
        part, dot, rest = name.partition(".")
        if dot:
            parts.setdefault(part, {})[rest] = value
        else:
            whole[name] = value
    return whole, parts
