"""Students, one kind per file. A new one is a file here and a line in `STUDENTS`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quickstudy.curricula.student import StudentConfig
from quickstudy.curricula.students.sb3 import SB3Config
from quickstudy.curricula.students.toy_grid import ToyGridConfig, ToyGridV2Config
from quickstudy.envs.errors import unknown
from quickstudy.envs.from_text import from_text

__all__ = ["STUDENTS", "student_config"]

FAMILY = "family."

STUDENTS: dict[str, type[StudentConfig]] = {
    "toy-grid": ToyGridConfig,
    "toy-grid-v2": ToyGridV2Config,
    "sb3": SB3Config,
}


def student_config(
    name: str,
    options: dict[str, str] | None = None,
    kinds: Mapping[str, type[StudentConfig]] = STUDENTS,
) -> StudentConfig:
    """The configuration of a kind of student.

    Args:
        name: a key of `kinds`.
        options: fields by name, as text; the others keep their defaults. `family.NAME` is an option
            of the family that the student learns.
        kinds: students by name; the registered ones unless others are known.

    Raises:
        ValueError: for an unknown kind or field, or a value that is not of its type; it lists the
            options and suggests the nearest.
    """
    if name not in kinds:
        raise unknown("student", name, kinds)
    options = options or {}
    of_family = {k.removeprefix(FAMILY): v for k, v in options.items() if k.startswith(FAMILY)}
    own = {k: v for k, v in options.items() if not k.startswith(FAMILY)}
    config = from_text(kinds[name], own)
    if not of_family:
        return config
    if not hasattr(config, "family_options"):
        raise ValueError(f"Student {name!r} learns no family: {', '.join(of_family)}.")
    chosen: dict[str, Any] = {"family_options": tuple(sorted(of_family.items()))}
    return replace(config, **chosen)
