"""Teachers, one per file. A new one is a file here and a line in `TEACHERS`."""

from quickstudy.curricula.teacher import Teacher, TeacherConfig
from quickstudy.curricula.teachers.random import RandomConfig
from quickstudy.envs.errors import unknown
from quickstudy.envs.from_text import from_text

__all__ = ["TEACHERS", "make_teacher"]

TEACHERS: dict[str, type[TeacherConfig]] = {
    "random": RandomConfig,
}


def make_teacher(name: str, dim: int, seed: int, options: dict[str, str] | None = None) -> Teacher:
    """A registered teacher for the unit cube of `dim` dimensions.

    Args:
        name: a key of `TEACHERS`.
        dim: dimensions, at least 1.
        seed: decides everything the teacher draws.
        options: constants by name, as text; the others keep their defaults.

    Raises:
        ValueError: for an unknown teacher or constant, or a value that is not of its type; it lists
            the options and suggests the nearest.
    """
    if name not in TEACHERS:
        raise unknown("teacher", name, TEACHERS)
    return from_text(TEACHERS[name], options or {}).build(dim, seed)
