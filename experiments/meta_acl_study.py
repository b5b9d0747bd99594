"""`quickstudy classroom study`: Meta-ACL on the toy grid, as in Portelas et al. 2020, section 5.1.

A classroom of ALP-GMM's students, then new students under each teacher, of the four types in turn.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from scipy import stats

from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.school import Course
from quickstudy.curricula.student import unlikeness
from quickstudy.curricula.teacher import TeacherConfig
from quickstudy.curricula.teachers.again import AGAINConfig
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig
from quickstudy.curricula.teachers.random import RandomConfig
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.experiments.classroom import Enrolment, hold, mastered
from quickstudy.experiments.classroom import result as result_of
from quickstudy.experiments.statistics import mean_interval

ARMS: dict[str, dict[str, str]] = {
    "random": {},
    "alp-gmm": {},
    "again-r": {"variant": "R"},
    "again-t": {"variant": "T"},
    "again-p": {"variant": "P"},
    "again-r-random-expert": {"variant": "R", "selection": "random"},
    "again-r-ground-truth": {"variant": "R", "selection": "ground-truth"},
    "in-r": {"variant": "R"},
    "in-t": {"variant": "T"},
    "in-p": {"variant": "P"},
}
"""What is compared. `in-…` follow a past student of the same type from the first episode, alone."""


@dataclass(frozen=True)
class ToyStudy:
    """The paper's sizes."""

    classroom_size: int = 128
    """Past students, a quarter of each type."""
    students: int = 48
    """New students per arm."""
    steps: int = 200_000
    """Episodes of each."""
    epoch: int = 10_000
    """Episodes between tests."""
    block: int = 50
    """Episodes proposed at a time."""
    pretest: int = 20_000
    """Episodes of AGAIN's pre-test; whole epochs."""
    neighbours: int = 5
    """Similar past students, of whom the best is followed."""
    arms: tuple[str, ...] = tuple(ARMS)
    """What is compared."""
    version: int = 1
    """1, four types of students; 2, four hundred."""
    seed: int = 0
    """Decides all students of the classroom; new students have this seed plus 1."""

    def check(self) -> None:
        """Raise `ValueError` for an unknown arm or a pre-test that ends within an epoch."""
        for arm in self.arms:
            if arm not in ARMS:
                raise unknown("arm", arm, ARMS)
        for name in ("classroom_size", "students"):
            require_positive(name, getattr(self, name))
        if self.version not in (1, 2):
            raise ValueError(f"version must be 1 or 2, got {self.version!r}.")
        if self.pretest % self.epoch or self.pretest < self.epoch:
            raise ValueError(f"pretest {self.pretest} must be whole epochs of {self.epoch}.")

    @property
    def course(self) -> Course:
        return Course(self.steps, self.epoch, self.block, tests_per_axis=20)

    def enrolment(self, count: int, seed: int) -> Enrolment:
        kind = "toy-grid" if self.version == 1 else "toy-grid-v2"
        return Enrolment(kind, count, {}, None, seed)


CLASSIC = ALPGMMConfig(random_share=0.1, score_range=(0.0, 1.0))
"""ALP-GMM as the paper's students had it."""


def study(config: ToyStudy, folder: Path, processes: int, console: Console) -> dict[str, Any]:
    """Teach what is missing in `folder`, print a table, return the result for JSON.

    Raises:
        ValueError: for a bad configuration, or a folder with students of another.
    """
    config.check()
    began = time.perf_counter()
    past = config.enrolment(config.classroom_size, config.seed)
    lessons = past.lessons(CLASSIC, "past")
    room = hold(folder / "classroom", lessons, config.course, processes, console)
    new = config.enrolment(config.students, config.seed + 1)
    rooms = {}
    for arm in config.arms:
        console.print(f"Arm {arm}", markup=False)
        lessons = new.lessons(arm_teacher(arm, config, room.folder), "new")
        rooms[arm] = hold(folder / arm, lessons, config.course, processes, console)
    result = {
        "config": asdict(config),
        "arms": {arm: result_of(rooms[arm]) for arm in config.arms},
        "classroom": result_of(room),
        "selection": {a: _selection(room, rooms[a], config) for a in config.arms if a == "again-r"},
        "welch_p": _welch(rooms, "again-r", "alp-gmm"),
        "seconds": time.perf_counter() - began,
    }
    console.print(table(result))
    return result


def arm_teacher(arm: str, config: ToyStudy, classroom: Path) -> TeacherConfig:
    """The teacher of an arm."""
    if arm in ("random", "alp-gmm"):
        return RandomConfig() if arm == "random" else CLASSIC
    options: dict[str, Any] = {"classroom": str(classroom), "neighbours": config.neighbours}
    if arm.startswith("in-"):
        alone = {"pretest": 0, "selection": "ground-truth", "mixed": False, "random_share": 0.0}
        return AGAINConfig(**options | alone | ARMS[arm])
    return AGAINConfig(**options | {"pretest": config.pretest} | ARMS[arm])


def table(result: dict[str, Any]) -> Table:
    """Mastered after a tenth, a half and all of the training."""
    shown = Table("arm", "students", "mastered %: tenth", "half", "end", title="Toy grid")
    for arm, of_arm in result["arms"].items():
        means = of_arm["mean"]
        places = [len(means) // 10, len(means) // 2, -1] if means else []
        cells = [
            f"{m['point']:.1f} [{m['low']:.1f}, {m['high']:.1f}]"
            for m in map(means.__getitem__, places)
        ]
        shown.add_row(arm, str(len(of_arm["mastered"])), *cells)
    return shown


def _selection(room: Classroom, new: Classroom, config: ToyStudy) -> dict[str, Any]:
    """How often knowledge components find the student's own type: the one past student that knew
    the most similar things after the pre-test, and the best of the neighbours, whom AGAIN follows.
    """
    epoch = config.pretest // config.epoch
    found = [_found(room, new, name, epoch, config.neighbours) for name in new.names]
    names = ("nearest", "followed")
    rates = [mean_interval([float(pair[i]) for pair in found]) for i in range(2)]
    return {name: asdict(rate) for name, rate in zip(names, rates, strict=True)}


def _found(
    room: Classroom, new: Classroom, name: str, epoch: int, neighbours: int
) -> tuple[bool, bool]:
    """Whether the nearest past student, and the best of the nearest ones, is of the same type."""
    near = room.nearest(new.tests(name)[epoch], epoch, neighbours)
    best = max(near, key=lambda other: float(room.tests(other)[-1].sum()))
    who = new.configuration(name)
    alike = [unlikeness(who, room.configuration(other)) == 0 for other in (near[0], best)]
    return alike[0], alike[1]


def _welch(rooms: dict[str, Classroom], first: str, second: str) -> float | None:
    """Two-sided p-value of Welch's t-test on per cent mastered in the end, None without one."""
    if first not in rooms or second not in rooms:
        return None
    ends = [_ends(rooms[arm]) for arm in (first, second)]
    if any(len(set(end)) < 2 for end in ends):
        return None  # no spread, no test
    return float(stats.ttest_ind(*ends, equal_var=False).pvalue)


def _ends(room: Classroom) -> Sequence[float]:
    return [mastered(room.tests(name))[-1] for name in room.names]
