"""Who comes to school: students drawn from what may differ between them."""

import itertools
import math
from collections.abc import Mapping

import torch

from quickstudy.curricula.student import StudentConfig
from quickstudy.curricula.students import STUDENTS, student_config
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive

VARIETY: dict[str, dict[str, str]] = {
    "toy-grid": {"rotation": "0,90,180,270"},
    "toy-grid-v2": {"column": "0..19", "row": "0..19"},
}
"""In what a kind's students differ where nothing else is said."""


def population(
    kind: str,
    count: int,
    seed: int,
    options: Mapping[str, str] | None = None,
    vary: Mapping[str, str] | None = None,
    *,
    kinds: Mapping[str, type[StudentConfig]] = STUDENTS,
) -> list[StudentConfig]:
    """Students of one kind.

    Args:
        kind: a kind of student, by name.
        count: how many; the first ones do not depend on it.
        seed: decides what is drawn.
        options: what all have in common, as text.
        vary: what differs. `a,b,c`: these in turn, so that there are equally many of each (of each
            combination, where several options do so); `low..high`: uniform, whole numbers (both
            ends included) where both ends are.
        kinds: students by name; the registered ones unless others are known.

    Raises:
        ValueError: for an unknown kind or option, a value that is not of its type, a range that is
            none, or a count below 1.
    """
    require_positive("count", count)
    vary = VARIETY.get(kind, {}) if vary is None else vary
    in_turn = {name: text.split(",") for name, text in vary.items() if ".." not in text}
    ranges = {name: _ends(name, text) for name, text in vary.items() if ".." in text}
    combinations = list(itertools.product(*in_turn.values()))
    uniform_nK = rng.uniform(rng.world_keys(seed, rng.Stream.STUDENT, count), len(ranges))
    students = []
    for i, uniform_K in enumerate(uniform_nK.tolist()):
        turn = dict(zip(in_turn, combinations[i % len(combinations)], strict=True))
        drawn = {n: _within(*ranges[n], u) for n, u in zip(ranges, uniform_K, strict=True)}
        students.append(student_config(kind, {**(options or {}), **turn, **drawn}, kinds))
    return students


def _ends(name: str, text: str) -> tuple[str, str]:
    low, _, high = text.partition("..")
    try:
        rising = float(low) <= float(high)
    except ValueError:
        rising = False
    if not rising:
        raise ValueError(f"{name} {text!r}: write a range as low..high, such as 0.5..1.")
    return low, high


def _within(low: str, high: str, uniform: float) -> str:
    """The point of the range at a uniform draw, as text."""
    if low.lstrip("-").isdecimal() and high.lstrip("-").isdecimal():
        return str(math.floor(int(low) + uniform * (int(high) - int(low) + 1)))
    return repr(float(low) + uniform * (float(high) - float(low)))


def seeds(seed: int, count: int) -> list[int]:
    """A seed for each of `count` students; the first ones do not depend on `count`."""
    key_n = rng.fold_in(rng.root_key(seed, rng.Stream.STUDENT), -1 - torch.arange(count))
    return [int(key) % 2**32 for key in key_n]
