"""`quickstudy classroom`: teach many students, keep their histories, teach others from them."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.population import population, seeds
from quickstudy.curricula.classrooms.school import Course, Lesson, Outcome, teach_all
from quickstudy.curricula.student import StudentConfig
from quickstudy.curricula.students import STUDENTS
from quickstudy.curricula.teacher import TeacherConfig
from quickstudy.curricula.teachers import TEACHERS
from quickstudy.curricula.teachers.again import AGAINConfig
from quickstudy.envs.errors import unknown
from quickstudy.envs.from_text import from_text
from quickstudy.experiments.agent_student import AgentStudentConfig
from quickstudy.experiments.statistics import Interval, mean_interval

KINDS: dict[str, type[StudentConfig]] = {**STUDENTS, "agent": AgentStudentConfig}
"""Students by name; agents are known here alone."""

MASTERED = 0.75
"""A test point is mastered where the score is above this."""


@dataclass(frozen=True)
class Enrolment:
    """Students that come to school together."""

    kind: str
    """The kind of student."""
    count: int
    options: dict[str, str]
    """What all have in common."""
    vary: dict[str, str] | None
    """What differs; None: what usually does."""
    seed: int

    def lessons(self, teacher: TeacherConfig, prefix: str) -> list[Lesson]:
        """A lesson for each, all by the same teacher.

        Raises:
            ValueError: for an unknown kind or option, or a value that is not of its type.
        """
        students = population(
            self.kind, self.count, self.seed, self.options, self.vary, kinds=KINDS
        )
        pairs = zip(students, seeds(self.seed, self.count), strict=True)
        return [Lesson(f"{prefix}-{i:04d}", s, teacher, seed) for i, (s, seed) in enumerate(pairs)]


def teacher_config(
    name: str, options: dict[str, str], classroom: Path | None = None
) -> TeacherConfig:
    """A registered teacher's configuration, or that of AGAIN, which learns from a classroom.

    Raises:
        ValueError: for an unknown teacher or option, or AGAIN without a classroom.
    """
    if name == "again":
        if classroom is None:
            raise ValueError("Teacher 'again' needs a classroom to learn from: `classroom teach`.")
        return from_text(AGAINConfig, {"classroom": str(classroom)} | options)
    if name not in TEACHERS:
        raise unknown("teacher", name, [*TEACHERS, "again"])
    return from_text(TEACHERS[name], options)


def hold(
    folder: Path, lessons: Sequence[Lesson], course: Course, processes: int, console: Console
) -> Classroom:
    """Teach what is missing, with a line for each student that ends."""
    lessons[0].teacher.build(lessons[0].student.dim, 0)  # its constants are refused here, at once
    done = len({lesson.name for lesson in lessons} & _present(folder))
    report = _Reporter(console, len(lessons), done)
    return teach_all(folder, lessons, course, processes=processes, on_end=report)


def mastered(test_EP: Tensor) -> list[float]:
    """Per cent of the test points that are mastered, after each epoch."""
    shares: list[float] = (100 * (test_EP > MASTERED).double().mean(dim=1)).tolist()
    return shares


def summary(room: Classroom) -> Table:
    """A line per kind of student: how many, and what they mastered."""
    table = Table(
        "student", "teacher", "students", "mastered %", "last test", title=str(room.folder)
    )
    for (who, teacher), names in _groups(room).items():
        final = mean_interval([mastered(room.tests(name))[-1] for name in names])
        score = mean_interval([float(room.tests(name)[-1].mean()) for name in names])
        table.add_row(who, teacher, str(len(names)), _text(final), _text(score, 3))
    for name, error in room.crashes.items():
        table.add_row(f"{name} crashed", "", "", "", error.strip().splitlines()[-1])
    return table


def result(room: Classroom) -> dict[str, Any]:
    """Per cent mastered after each epoch: of each student, and their mean with its interval."""
    names = room.names
    return {
        "mastered": {name: mastered(room.tests(name)) for name in names},
        "mean": [asdict(interval) for interval in _intervals(room, names)],
        "crashes": room.crashes,
    }


class _Reporter:
    """A line for each student that ends."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        self._console, self._total, self._done = console, total, done
        self._began = time.perf_counter()
        if done:
            console.print(f"{done} of {total} students are there already.")

    def __call__(self, outcome: Outcome) -> None:
        self._done += 1
        how = "finished" if outcome.error is None else "crashed"
        line = f"{self._done}/{self._total} {outcome.name} {how} ({outcome.seconds:.0f} s)"
        self._console.print(line, markup=False)


def _intervals(room: Classroom, names: Sequence[str]) -> list[Interval]:
    """Per cent mastered after each epoch: mean over students with its 95 % interval."""
    if not names:
        return []
    shares = zip(*(mastered(room.tests(name)) for name in names), strict=True)
    return [mean_interval(share) for share in shares]


def _present(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.npz")}


def _groups(room: Classroom) -> dict[tuple[str, str], list[str]]:
    """The students by all that is text of their configuration, and by teacher."""
    groups: dict[tuple[str, str], list[str]] = {}
    for past in room.students():
        words = [value for value in past.student.values() if isinstance(value, str)]
        groups.setdefault((" ".join(words), past.teacher["kind"]), []).append(past.name)
    return groups


def _text(interval: Interval, digits: int = 1) -> str:
    low, high = f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}"
    return f"{interval.point:.{digits}f} [{low}, {high}]"
