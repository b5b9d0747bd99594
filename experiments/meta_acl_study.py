"""`quickstudy classroom study`: Meta-ACL, as in Portelas et al. 2020, section 5.

A classroom of ALP-GMM's students, then new students of the same kinds under each teacher.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

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

YOUTH = 25_500
"""Episodes: enough for the first niches on the toy grid."""

ARMS: dict[str, dict[str, Any]] = {
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
    "in-r-youth": {"variant": "R", "youth": YOUTH},
    "in-t-youth": {"variant": "T", "youth": YOUTH},
    "in-p-youth": {"variant": "P", "youth": YOUTH},
}
"""What is compared. `in-…` follow a past student of the same type from the first episode, alone;
`…-youth` only what it did in its first 25 500 episodes."""


@dataclass(frozen=True)
class Setting:
    """Who comes to school in a study, and its sizes."""

    kind: str
    """The kind of student."""
    steps: int
    """Of each student."""
    epoch: int
    """Steps between tests."""
    block: int
    """Levels proposed at a time."""
    tests_per_axis: int
    pretest: int
    """Steps of AGAIN's pre-test; whole epochs."""
    neighbours: int
    """Similar past students, of whom the best is followed."""
    classroom_size: int
    """Past students."""
    students: int
    """New students per arm."""
    options: dict[str, str] = field(default_factory=dict)
    """What all students have in common."""
    vary: dict[str, str] | None = None
    """In what they differ; None: what usually does."""
    typed: bool = False
    """True where students are of types, so that one can ask whether a neighbour is of the same."""


TOY = Setting("toy-grid", 200_000, 10_000, 50, 20, 20_000, 5, 128, 48, typed=True)
"""Portelas et al. 2020, section 5.1: a step is an episode."""
PARKOUR = Setting(
    "agent",
    steps=10_000_000,
    epoch=500_000,
    block=64,
    tests_per_axis=15,
    pretest=500_000,
    neighbours=3,
    classroom_size=128,
    students=64,
    options={"family": "ParkourGates", "agent": "markov"},
    vary={"family.body": "biped,climber", "family.limb_scale": "0.5..1"},
)
"""Their section 5.2, with our agents: days."""
PARKOUR_MINI = Setting(
    "agent",
    steps=600_000,
    epoch=200_000,
    block=16,
    tests_per_axis=15,
    pretest=200_000,
    neighbours=3,
    classroom_size=16,
    students=8,
    options={
        "family": "ParkourStumps",
        "agent": "markov",
        "worlds": "16",
        "minibatch_frames": "1000",
        "epochs": "8",
    },
    vary={"family.body": "biped,quadruped", "family.limb_scale": "0.6..1"},
)
"""Stumps, two bodies with legs of several lengths, a hundredth of the steps: hours."""

SETTINGS = {
    "toy-grid": TOY,
    "toy-grid-v2": replace(TOY, kind="toy-grid-v2"),
    "parkour-mini": PARKOUR_MINI,
    "parkour": PARKOUR,
}


def setting_named(name: str, **sizes: int | None) -> Setting:
    """A setting, with the sizes that are not None instead of its own.

    Raises:
        ValueError: for an unknown name, a size below 1, or a pre-test that ends within an epoch.
    """
    if name not in SETTINGS:
        raise unknown("setting", name, SETTINGS)
    chosen = {size: value for size, value in sizes.items() if value is not None}
    for size, value in chosen.items():
        require_positive(size, value)
    setting = replace(SETTINGS[name], **cast(dict[str, Any], chosen))
    if setting.pretest % setting.epoch:
        raise ValueError(f"pretest {setting.pretest} must be whole epochs of {setting.epoch}.")
    return setting


@dataclass(frozen=True)
class Study:
    """A classroom, and the arms that are compared on new students."""

    setting: Setting = TOY
    arms: tuple[str, ...] = tuple(ARMS)
    seed: int = 0
    """Decides all students of the classroom; new students have this seed plus 1."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for an unknown arm."""
        for arm in self.arms:
            if arm not in ARMS:
                raise unknown("arm", arm, ARMS)

    @property
    def course(self) -> Course:
        size = self.setting
        return Course(size.steps, size.epoch, size.block, size.tests_per_axis)

    def enrolment(self, count: int, seed: int) -> Enrolment:
        return Enrolment(self.setting.kind, count, self.setting.options, self.setting.vary, seed)


CLASSIC = ALPGMMConfig(random_share=0.1, score_range=(0.0, 1.0))
"""ALP-GMM as the paper's students had it."""


def study(config: Study, folder: Path, processes: int, console: Console) -> dict[str, Any]:
    """Teach what is missing in `folder`, print a table, return the result for JSON.

    Raises:
        ValueError: for a folder with students of another configuration.
    """
    past = config.enrolment(config.setting.classroom_size, config.seed)
    lessons = past.lessons(CLASSIC, "past")
    room = hold(folder / "classroom", lessons, config.course, processes, console)
    new = config.enrolment(config.setting.students, config.seed + 1)
    rooms = {}
    for arm in config.arms:
        console.print(f"Arm {arm}", markup=False)
        lessons = new.lessons(arm_teacher(arm, config, room.folder), "new")
        rooms[arm] = hold(folder / arm, lessons, config.course, processes, console)
    result = {
        "config": asdict(config),
        "arms": {arm: result_of(rooms[arm]) for arm in config.arms},
        "classroom": result_of(room),
        "selection": _selections(room, rooms, config.setting),
        "welch_p": _against_alp_gmm(rooms, room),
    }
    console.print(table(result))
    return result


def arm_teacher(arm: str, config: Study, classroom: Path) -> TeacherConfig:
    """The teacher of an arm."""
    if arm in ("random", "alp-gmm"):
        return RandomConfig() if arm == "random" else CLASSIC
    options: dict[str, Any] = {"classroom": str(classroom), "neighbours": config.setting.neighbours}
    if arm.startswith("in-"):
        alone = {"pretest": 0, "selection": "ground-truth", "mixed": False, "random_share": 0.0}
        return AGAINConfig(**options | alone | ARMS[arm])
    return AGAINConfig(**options | {"pretest": config.setting.pretest} | ARMS[arm])


def table(result: dict[str, Any]) -> Table:
    """Mastered after a tenth, a half and all of the training."""
    shown = Table("arm", "students", "mastered %: tenth", "half", "end", title="Meta-ACL")
    for column in ("p: alp-gmm", "and classroom"):
        shown.add_column(column, justify="right")
    for arm, of_arm in {**result["arms"], "classroom": result["classroom"]}.items():
        means = of_arm["mean"]
        places = [len(means) // 10, len(means) // 2, -1] if means else []
        cells = [
            f"{m['point']:.1f} [{m['low']:.1f}, {m['high']:.1f}]"
            for m in map(means.__getitem__, places)
        ]
        chances = result["welch_p"].get(arm, {}).values()
        tests = ["–" if p is None else f"{p:.2g}" for p in chances]
        shown.add_row(arm, str(len(of_arm["mastered"])), *cells, *tests)
    shown.caption = "p: Welch's t-test of the end against the students of ALP-GMM"
    return shown


def _selections(room: Classroom, rooms: dict[str, Classroom], setting: Setting) -> dict[str, Any]:
    """What `_selection` says of AGAIN's arm, where students have types."""
    if not setting.typed or "again-r" not in rooms:
        return {}
    return {"again-r": _selection(room, rooms["again-r"], setting)}


def _selection(room: Classroom, new: Classroom, setting: Setting) -> dict[str, Any]:
    """How often knowledge components find the student's own type: the one past student that knew
    the most similar things after the pre-test, and the best of the neighbours, whom AGAIN follows.
    """
    epoch = setting.pretest // setting.epoch
    found = [_found(room, new, name, epoch, setting.neighbours) for name in new.names]
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


def _against_alp_gmm(rooms: dict[str, Classroom], room: Classroom) -> dict[str, dict[str, Any]]:
    """Of every other arm, p-values against the students of ALP-GMM: those of its arm, and those
    with the past students, whom it taught too.
    """
    if "alp-gmm" not in rooms:
        return {}
    new, past = _ends(rooms["alp-gmm"]), _ends(room)
    return {
        arm: {
            "alp-gmm": welch(_ends(other), new),
            "alp-gmm and classroom": welch(_ends(other), [*new, *past]),
        }
        for arm, other in rooms.items()
        if arm != "alp-gmm"
    }


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value of Welch's t-test, None where one of them has no spread."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def _ends(room: Classroom) -> Sequence[float]:
    return [mastered(room.tests(name))[-1] for name in room.names]
