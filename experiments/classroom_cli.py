"""The command line of `quickstudy classroom`. Heavy imports happen inside, as in `cli.py`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from quickstudy.experiments.console import make_console
from quickstudy.experiments.output_files import require_folder_of, write_result

if TYPE_CHECKING:
    from quickstudy.curricula.classrooms.school import Course
    from quickstudy.experiments.classroom import Enrolment


@dataclass(frozen=True)
class Pupils:
    """Who comes to school, and for how long."""

    student: str = "toy-grid"
    """The kind of student: toy-grid, toy-grid-v2, sb3 or agent."""
    student_options: dict[str, str] = field(default_factory=dict)
    """What all students have in common and is not the default: NAME VALUE …"""
    vary: dict[str, str] = field(default_factory=dict)
    """In what they differ: NAME a,b,c (in turn) or NAME low..high (drawn); by default, the toys' in
    their types."""
    students: int = 16
    """How many."""
    seed: int = 0
    """Decides who they are, and all that they and their teachers draw."""
    steps: int = 200_000
    """Environment steps of each (a toy's step is an episode)."""
    epoch: int = 10_000
    """Steps between tests."""
    block: int = 50
    """Levels a teacher proposes at a time."""
    tests_per_axis: int = 20
    """Test tasks along each axis of the task space."""
    jobs: int = 1
    """Students at a time, each in a process of its own; results do not depend on it."""

    def enrolment(self) -> "Enrolment":
        from quickstudy.experiments.classroom import Enrolment

        vary = self.vary or None
        return Enrolment(self.student, self.students, self.student_options, vary, self.seed)

    def course(self) -> "Course":
        from quickstudy.curricula.classrooms.school import Course

        return Course(self.steps, self.epoch, self.block, self.tests_per_axis)


Flat = Annotated[Pupils, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Build:
    """Teach many students and keep their histories; goes on where it was cut off."""

    folder: tyro.conf.Positional[Path]
    """The classroom's folder."""
    teacher: str = "alp-gmm"
    """Their teacher; `quickstudy list` shows them. AGAIN learns from students of ALP-GMM."""
    teacher_options: dict[str, str] = field(default_factory=dict)
    """The teacher's constants that are not its defaults: NAME VALUE … (For alp-gmm in a classroom,
    random_share is 0.1, as in the paper, and score_range 0,1.)"""
    pupils: Flat = field(default_factory=Pupils)

    def __call__(self) -> None:
        from quickstudy.experiments.classroom import hold, summary, teacher_config

        usual = {"random_share": "0.1", "score_range": "0,1"} if self.teacher == "alp-gmm" else {}
        teacher = teacher_config(self.teacher, usual | self.teacher_options)
        lessons = self.pupils.enrolment().lessons(teacher, "past")
        console = make_console()
        room = hold(self.folder, lessons, self.pupils.course(), self.pupils.jobs, console)
        console.print(summary(room))


@dataclass(frozen=True)
class Show:
    """Say who is in a classroom and what they came to."""

    folder: tyro.conf.Positional[Path]
    """The classroom's folder."""

    def __call__(self) -> None:
        from quickstudy.curricula.classrooms.classroom import Classroom as Room
        from quickstudy.experiments.classroom import summary

        make_console().print(summary(Room(self.folder)))


@dataclass(frozen=True)
class Draw:
    """Draw what a student practised over time, how it went, and its teacher's Gaussians (a GIF)."""

    folder: tyro.conf.Positional[Path]
    """The classroom's folder."""
    student: tyro.conf.Positional[str]
    """The student's name, such as past-0000."""
    gif: Path = Path("student.gif")
    """The file to write."""

    def __call__(self) -> None:
        from quickstudy.curricula.classrooms.classroom import Classroom as Room
        from quickstudy.experiments.classroom_maps import draw_student

        require_folder_of(self.gif)
        draw_student(Room(self.folder), self.student, self.gif)
        make_console().print(f"Curriculum: {self.gif}")


@dataclass(frozen=True)
class Teach:
    """Teach new students with what a classroom knows (AGAIN), or with any other teacher."""

    classroom: tyro.conf.Positional[Path]
    """The classroom to learn from."""
    folder: tyro.conf.Positional[Path]
    """Where the new students are kept: a classroom of their own."""
    teacher: str = "again"
    """again, or a teacher that needs no classroom."""
    teacher_options: dict[str, str] = field(default_factory=dict)
    """The teacher's constants that are not its defaults: NAME VALUE … (again: variant R, T or P,
    pretest, neighbours, selection kc, random, ground-truth or best, classroom_size, mixed, …)."""
    json: Path | None = None
    """Write per cent mastered after each epoch to this file."""
    pupils: Flat = field(default_factory=lambda: Pupils(seed=1))

    def __call__(self) -> None:
        from quickstudy.curricula.classrooms.classroom import Classroom as Room
        from quickstudy.experiments import classroom

        require_folder_of(self.json)
        Room(self.classroom)  # refused here, if there is none
        teacher = classroom.teacher_config(self.teacher, self.teacher_options, self.classroom)
        lessons = self.pupils.enrolment().lessons(teacher, "new")
        console = make_console()
        room = classroom.hold(self.folder, lessons, self.pupils.course(), self.pupils.jobs, console)
        console.print(classroom.summary(room))
        result = {"pupils": asdict(self.pupils), "result": classroom.result(room)}
        write_result(self.json, result)


@dataclass(frozen=True)
class Study:
    """Meta-ACL: a classroom, then new students under AGAIN and what it is compared with. The
    settings have the paper's sizes (hours to days) or a fraction; goes on where it was cut off.
    """

    folder: tyro.conf.Positional[Path]
    """Where all students are kept."""
    setting: str = "toy-grid"
    """Who comes to school: toy-grid (four types of students), toy-grid-v2 (four hundred),
    parkour-mini (600 000 steps on stumps) or parkour (10 million on gates)."""
    arms: tuple[str, ...] = ()
    """What is compared: random, alp-gmm, again-r, again-t, again-p, again-r-random-expert,
    again-r-ground-truth, in-r, in-t, in-p, and the last three with -youth; all if none."""
    classroom_size: int | None = None
    """Past students; the setting's if None, as are the other sizes."""
    students: int | None = None
    """New students per arm."""
    steps: int | None = None
    """Environment steps of each student (a toy's step is an episode)."""
    epoch: int | None = None
    """Steps between tests."""
    block: int | None = None
    """Levels proposed at a time."""
    pretest: int | None = None
    """Steps of AGAIN's pre-test; whole epochs."""
    neighbours: int | None = None
    """Similar past students, of whom the best is followed."""
    seed: int = 0
    """Decides everything."""
    jobs: int = 1
    """Students at a time."""
    json: Path | None = None
    """Write all figures to this file."""

    def __call__(self) -> None:
        from quickstudy.experiments import meta_acl_study as meta_acl

        require_folder_of(self.json)
        sizes = {name: getattr(self, name) for name in SIZES}
        setting = meta_acl.setting_named(self.setting, **sizes)
        config = meta_acl.Study(setting, self.arms or tuple(meta_acl.ARMS), self.seed)
        result = meta_acl.study(config, self.folder, self.jobs, make_console())
        write_result(self.json, result)


SIZES = ("classroom_size", "students", "steps", "epoch", "block", "pretest", "neighbours")
"""Of a study, the numbers that may be chosen."""


@dataclass(frozen=True)
class Classroom:
    """Teach many students, keep their histories, and teach others from them (Meta-ACL)."""

    command: Annotated[Build | Show | Draw | Teach | Study, tyro.conf.arg(name="")]

    def __call__(self) -> None:
        self.command()
