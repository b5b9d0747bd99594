"""Students, one kind per file. A new one is a file here and a line in `STUDENTS`."""

from dataclasses import replace

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


def student_config(name: str, options: dict[str, str] | None = None) -> StudentConfig:
    """The configuration of a registered kind of student.

    Args:
        name: a key of `STUDENTS`.
        options: fields by name, as text; the others keep their defaults. `family.NAME` is an option
            of the family that the student learns.

    Raises:
        ValueError: for an unknown kind or field, or a value that is not of its type; it lists the
            options and suggests the nearest.
    """
    if name not in STUDENTS:
        raise unknown("student", name, STUDENTS)
    options = options or {}
    of_family = {k.removeprefix(FAMILY): v for k, v in options.items() if k.startswith(FAMILY)}
    own = {k: v for k, v in options.items() if not k.startswith(FAMILY)}
    config = from_text(STUDENTS[name], own)
    if not of_family:
        return config
    if not isinstance(config, SB3Config):
        raise ValueError(f"Student {name!r} learns no family: {', '.join(of_family)}.")
    return replace(config, family_options=tuple(sorted(of_family.items())))
