"""Teachers, one per file. A new one is a file here and a line in `TEACHERS`."""

from quickstudy.curricula.teacher import Teacher, TeacherConfig
from quickstudy.curricula.teachers.accel import ACCELConfig
from quickstudy.curricula.teachers.adr import ADRConfig
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig
from quickstudy.curricula.teachers.covar_gmm import CovarGMMConfig
from quickstudy.curricula.teachers.learnability import LearnabilityConfig
from quickstudy.curricula.teachers.oracle import OracleConfig
from quickstudy.curricula.teachers.plr import PLRConfig, RobustPLRConfig
from quickstudy.curricula.teachers.random import RandomConfig
from quickstudy.curricula.teachers.riac import RIACConfig
from quickstudy.curricula.teachers.self_paced import SelfPacedConfig
from quickstudy.envs.errors import unknown
from quickstudy.envs.from_text import from_text

__all__ = ["TEACHERS", "make_teacher"]

TEACHERS: dict[str, type[TeacherConfig]] = {
    "random": RandomConfig,
    "alp-gmm": ALPGMMConfig,
    "covar-gmm": CovarGMMConfig,
    "self-paced": SelfPacedConfig,
    "adr": ADRConfig,
    "riac": RIACConfig,
    "plr": PLRConfig,
    "robust-plr": RobustPLRConfig,
    "accel": ACCELConfig,
    "learnability": LearnabilityConfig,
    "oracle": OracleConfig,
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
