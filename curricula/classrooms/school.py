"""Teaching students: one, or many over processes.

Each student is a function of its own lesson alone, whatever the number of processes. A finished
student is a file in the classroom, so a run that was cut off goes on; a student that crashes is
recorded there, and tried again by the next run.

Shape legend: P test points, d dimensions, n episodes, E tests.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from quickstudy.curricula.classrooms.classroom import Classroom, require_name
from quickstudy.curricula.classrooms.history import History, Record
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.mixtures.teacher import MixtureTeacher
from quickstudy.curricula.student import Student, StudentConfig, described, grid_points
from quickstudy.curricula.teacher import Teacher, TeacherConfig
from quickstudy.curricula.teachers.again import AGAINConfig, AGAINTeacher
from quickstudy.envs.errors import require_positive
from quickstudy.envs.processes import begin_process, process_pool


@dataclass(frozen=True)
class Course:
    """How long students are taught, and how they are tested."""

    steps: int = 200_000
    """Environment steps of the whole training (a toy's step is an episode)."""
    epoch: int = 10_000
    """Steps between tests."""
    block: int = 50
    """Levels proposed at a time."""
    tests_per_axis: int = 20
    """Test points along each axis of the space: the centres of equal cells."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a count below 1."""
        for name in ("steps", "epoch", "block", "tests_per_axis"):
            require_positive(name, getattr(self, name))


@dataclass(frozen=True)
class Lesson:
    """One student's training."""

    name: str
    """Its file in the classroom."""
    student: StudentConfig
    teacher: TeacherConfig
    seed: int
    """Decides all that student and teacher draw."""


@dataclass(frozen=True)
class Outcome:
    """What became of a lesson."""

    name: str
    error: str | None
    """The traceback of a student that crashed."""
    seconds: float


def teach(lesson: Lesson, course: Course) -> Record:
    """Teach one student, here and now."""
    student = lesson.student.build(lesson.seed)
    teacher = lesson.teacher.build(lesson.student.dim, lesson.seed)
    who, taught_by = described(lesson.student), described(lesson.teacher)
    diary = _Diary(grid_points(lesson.student.dim, course.tests_per_axis), who)
    diary.test(student, teacher)
    while student.steps < course.steps:
        diary.practise(student, teacher, course.block)
        while student.steps >= len(diary.tests) * course.epoch:
            diary.test(student, teacher)
    return Record(lesson.name, who, taught_by, lesson.seed, diary.history(teacher))


def teach_all(
    folder: Path,
    lessons: Sequence[Lesson],
    course: Course,
    *,
    processes: int = 1,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
) -> Classroom:
    """Teach the students that the classroom in `folder` lacks, several at a time.

    Args:
        folder: the classroom; created if there is none.
        lessons: of one space, each with a name of its own.
        course: the same for all.
        processes: students at a time, each on one thread of a process of its own.
        on_end: called here, in this thread, whenever a student has finished or crashed.

    Raises:
        ValueError: for lessons of several spaces or two of a name, or a classroom (also one that
            AGAIN is to learn from) of another space, test set or course, one with other students
            of these names, or a pre-test as long as the training; before any lesson.
    """
    require_positive("processes", processes)
    room = _room(folder, lessons, course)
    waiting = _waiting(room, lessons)
    desks: SimpleQueue[_Desk] = SimpleQueue()
    for _ in range(processes):
        desks.put(_Desk())
    with ThreadPoolExecutor(processes) as threads:
        ends = [threads.submit(_at_a_desk, desks, room, lesson, course) for lesson in waiting]
        try:
            for end in as_completed(ends):
                on_end(end.result())
        finally:
            for end in ends:
                end.cancel()
    for _ in range(processes):
        desks.get().close()
    return room


@dataclass
class _Diary:
    """A student's history while it is made."""

    point_Pd: Tensor
    who: dict[str, object]
    points: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    tests: list[Tensor] = field(default_factory=list)
    test_episodes: list[int] = field(default_factory=list)
    episodes: int = 0

    def practise(self, student: Student, teacher: Teacher, block: int) -> None:
        levels = teacher.propose(block)
        score_n = student.train(levels)
        levels, score_n = _finite(levels, score_n)
        teacher.observe(levels, score_n)
        self.points.append(levels.points.float())
        self.scores.append(score_n.float())
        self.episodes += len(score_n)

    def test(self, student: Student, teacher: Teacher) -> None:
        self.tests.append(student.test(self.point_Pd))
        self.test_episodes.append(self.episodes)
        if isinstance(teacher, AGAINTeacher):
            teacher.examine(self.tests[-1], self.who, student.steps)

    def history(self, teacher: Teacher) -> History:
        return History(
            torch.cat(self.points),
            torch.cat(self.scores),
            _fits(teacher),
            torch.stack(self.tests),
            torch.tensor(self.test_episodes),
        )


def _fits(teacher: Teacher) -> list[FittedMixture]:
    """Every mixture the teacher fitted; none for one that fits none."""
    fitting = teacher.live if isinstance(teacher, AGAINTeacher) else teacher
    return fitting.history if isinstance(fitting, MixtureTeacher) else []


def _finite(levels: Levels, score_n: Tensor) -> tuple[Levels, Tensor]:
    """A score that is not finite is kept from the teacher, and from the history."""
    finite_n = score_n.isfinite()
    return levels.rows(finite_n), score_n[finite_n]


def _room(folder: Path, lessons: Sequence[Lesson], course: Course) -> Classroom:
    names = [lesson.name for lesson in lessons]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"Each lesson needs a name of its own, got {names}.")
    for name in names:
        require_name(name)
    student = lessons[0].student
    if any(lesson.student.space != student.space for lesson in lessons):
        raise ValueError("All students of a classroom must learn in one space.")
    point_Pd = grid_points(student.dim, course.tests_per_axis)
    for lesson in lessons:
        if isinstance(lesson.teacher, AGAINConfig):
            past = Classroom(Path(lesson.teacher.classroom))
            past.require(student.space, point_Pd)
            _require_epochs(past, course)
            _require_end(lesson.teacher, course)
    return Classroom.create(folder, student.space, point_Pd, {"course": described(course)})


def _require_end(teacher: AGAINConfig, course: Course) -> None:
    """A pre-test as long as the training would leave nothing for the curriculum."""
    if teacher.pretest >= course.steps:
        raise ValueError(
            f"pretest {teacher.pretest} must be below the {course.steps} steps of the training."
        )


def _require_epochs(past: Classroom, course: Course) -> None:
    """Knowledge is compared after the same number of epochs."""
    epoch = past.options["course"]["epoch"]
    if epoch != course.epoch:
        raise ValueError(
            f"Students of {past.folder} were tested every {epoch} steps; to learn from them, epoch "
            f"must be the same, got {course.epoch}."
        )


def _waiting(room: Classroom, lessons: Sequence[Lesson]) -> list[Lesson]:
    """The lessons that the classroom has no student of."""
    present = set(room.names)
    for lesson in lessons:
        if lesson.name in present:
            _require_same(room.about(lesson.name), lesson, room)
    return [lesson for lesson in lessons if lesson.name not in present]


def _require_same(past: dict[str, Any], lesson: Lesson, room: Classroom) -> None:
    """Refuse to take another student's file for this lesson's (a classroom may have moved)."""
    asked = {"student": described(lesson.student), "teacher": described(lesson.teacher)}
    for part, config in (asked | {"seed": lesson.seed}).items():
        differs = config != past[part]
        if isinstance(config, dict):
            differs = config | {"classroom": ""} != past[part] | {"classroom": ""}
        if differs:
            raise ValueError(
                f"{room.folder} has another student called {lesson.name}: its {part} is "
                f"{past[part]}, not {config}."
            )


# --- processes --------------------------------------------------------------------------------


class _Desk:
    """A process that teaches one student after the other; a new one takes over from one that died.

    A pool of its own for each, as in a shared pool one that dies takes all students along.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def teach(self, room: Classroom, lesson: Lesson, course: Course) -> str | None:
        """Teach and keep a student; returns the error if it crashed."""
        if self._pool is None:
            self._pool = process_pool(1, [__name__], begin_process)
        try:
            end: Future[str | None] = self._pool.submit(_teach_here, room.folder, lesson, course)
            return end.result()
        except BrokenProcessPool:
            self.close()
            return "The student's process died without a word (killed, out of memory?)."

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None


def _at_a_desk(
    desks: "SimpleQueue[_Desk]", room: Classroom, lesson: Lesson, course: Course
) -> Outcome:
    desk = desks.get()
    began = time.perf_counter()
    try:
        error = desk.teach(room, lesson, course)
    finally:
        desks.put(desk)
    if error is not None:
        room.add_crash(lesson.name, described(lesson.student), error)
    return Outcome(lesson.name, error, time.perf_counter() - began)


def _teach_here(folder: Path, lesson: Lesson, course: Course) -> str | None:
    """In a process of its own: teach a student and keep it, or return why that failed."""
    try:
        Classroom(folder).add(teach(lesson, course))
    except Exception:
        return traceback.format_exc()
    return None
