"""The contract of a student: whoever learns, behind two methods.

Shape legend: n levels, P test points, d dimensions of the space that is taught in.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from quickstudy.curricula.levels import Levels


class Student(ABC):
    """A black box: what is inside, a teacher never sees.

    Scores are in [0, 1] where a teacher's constants assume so (AGAIN's and PLR's do).
    """

    @property
    @abstractmethod
    def steps(self) -> int:
        """Environment steps practised so far; a student without an environment counts episodes."""

    @abstractmethod
    def train(self, levels: Levels) -> Tensor:
        """Play each level once, in this order, and learn from those to be practised.

        Returns:
            The scores, float64 `(n,)`, finite.
        """

    @abstractmethod
    def test(self, point_Pd: Tensor) -> Tensor:
        """Results on these tasks, float64 `(P,)`; each is played equally often, nothing is learnt.

        What is played depends on the points and on what the student has learnt, on nothing else.
        """


class StudentConfig(Protocol):
    """Who a student is: a frozen dataclass, one per kind of student, of plain values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def dim(self) -> int:
        """Dimensions of the space that is taught in."""

    @property
    def space(self) -> dict[str, Any]:
        """The space and what scores mean, as plain JSON types; a classroom's students share it."""

    def build(self, seed: int) -> Student:
        """The student before its first lesson; `seed` decides all that is random about it.

        Raises:
            ValueError: for constants that make no sense.
        """


def described(config: Any) -> dict[str, Any]:
    """A configuration (frozen dataclass) as plain JSON types, with its kind.

    Options of a family stand beside the other fields, as `family.NAME`; numbers among them count as
    such.
    """
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    of_family = dict(fields.pop("family_options", ()))
    fields = {name: _plain(value) for name, value in fields.items()}
    of_family = {f"family.{name}": _number(text) for name, text in of_family.items()}
    return {"kind": type(config).__name__.removesuffix("Config")} | fields | of_family


def unlikeness(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """How far apart two described students are: infinitely where a word (or a truth value, or a
    list) differs, else the Euclidean distance of their numbers.
    """
    numbers = {name for name, value in first.items() if type(value) in (int, float)}
    if any(first[name] != second.get(name) for name in first.keys() - numbers):
        return float("inf")
    squares = [(first[name] - second.get(name, float("inf"))) ** 2 for name in numbers]
    return float(sum(squares) ** 0.5)


def grid_points(dim: int, per_axis: int) -> Tensor:
    """The centres of `per_axis`^d equal cells, float64 `(per_axis^d, d)`, the last axis fastest."""
    axis = (torch.arange(per_axis, dtype=torch.float64) + 0.5) / per_axis
    return torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)


def _number(text: str) -> str | float:
    """The number that the text is, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _plain(value: Any) -> Any:
    """Paths become text, tuples lists; the rest is JSON's already."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
