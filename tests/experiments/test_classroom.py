"""`quickstudy classroom`: build, show, teach, study, at sizes that take seconds."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.history import History, Record
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.student import described, grid_points
from quickstudy.curricula.students.toy_grid import ToyGridConfig
from quickstudy.curricula.teacher import Mixture
from quickstudy.curricula.teachers.again import AGAINConfig
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig
from quickstudy.envs.registry import family_class
from quickstudy.experiments import cli
from quickstudy.experiments.classroom import Enrolment, mastered, result, teacher_config
from quickstudy.experiments.classroom_maps import UnitTasks, lessons
from quickstudy.experiments.meta_acl_study import (
    ARMS,
    SETTINGS,
    Study,
    arm_teacher,
    setting_named,
    study,
    welch,
)

SMALL = ["--steps", "600", "--epoch", "300", "--tests-per-axis", "4", "--block", "25"]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["quickstudy", "classroom", *map(str, arguments)])
    cli.main()


def test_build_show_teach(tmp_path, monkeypatch, capsys):
    room, new, file = tmp_path / "room", tmp_path / "new", tmp_path / "new.json"
    # So few episodes bring so little progress that none is a niche on the scale from 0 to 1.
    whole = ["--vary", "rotation", "0,90", "--teacher-options", "score_range", "0,0.02", *SMALL]
    run(monkeypatch, "build", room, "--students", 2, *whole)
    out = capsys.readouterr().out
    assert "2/2 past-000" in out
    past = Classroom(room).student("past-0001")
    assert past.student == {"kind": "ToyGrid", "rotation": "90"}
    assert past.teacher["random_share"] == 0.1
    run(monkeypatch, "build", room, "--students", 2, *whole)
    assert "2 of 2 students are there already" in capsys.readouterr().out
    run(monkeypatch, "show", room)
    out = capsys.readouterr().out
    assert "ToyGrid 0" in out
    assert "ToyGrid 90" in out
    run(monkeypatch, "draw", room, "past-0001", "--gif", tmp_path / "student.gif")
    assert Image.open(tmp_path / "student.gif").n_frames == 20
    options = ["--teacher-options", "pretest", "300", "num_scores", "5"]
    run(monkeypatch, "teach", room, new, "--students", 1, *options, *SMALL, "--json", file)
    written = json.loads(file.read_text())
    assert written["command"].startswith("quickstudy classroom teach")
    assert written["versions"]["torch"]
    assert written["pupils"]["steps"] == 600
    assert len(written["result"]["mastered"]["new-0000"]) == 3
    assert Classroom(new).student("new-0000").teacher["num_scores"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nowhere"], "is no classroom"),
        (["teach", "nowhere", "new"], "is no classroom"),
        (["build", "room", "--teacher", "alpgmm"], "Unknown teacher 'alpgmm'"),
        (["build", "room", "--teacher", "again"], "needs a classroom to learn from"),
        (["build", "room", "--student", "toy"], "Unknown student 'toy'"),
        (["build", "room", "--teacher-options", "fit_rat", "9"], "Unknown option 'fit_rat'"),
        (["build", "room", "--teacher-options", "fit_rate", "0"], "fit_rate must be an integer"),
        (["build", "room", "--vary", "column", "9..0", "--student", "toy-grid-v2"], "low..high"),
        (["build", "room", "--block", "0"], "block must be an integer of at least 1"),
        (["study", "room", "--arms", "again-q"], "Unknown arm 'again-q'"),
        (["study", "room", "--setting", "parkour-mimi"], "Did you mean 'parkour-mini'"),
        (["study", "room", "--students", "0"], "students must be an integer of at least 1"),
        (["study", "room", "--pretest", "5"], "pretest 5 must be whole epochs of 10000"),
        (["study", "room", "--json", "no/file.json"], "there is no folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, *arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "room").exists()


def test_mastered_by_hand():
    """0.75 is not above 0.75."""
    tests = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.75, 0.76, 1.0, 0.0]])
    assert mastered(tests) == [0.0, 50.0]


def test_result_by_hand(tmp_path):
    """Two students mastered 1 and 3 of 4: 50 % on average."""
    room = Classroom.create(tmp_path, {}, grid_points(2, 2), {})
    for name, known in [("a", (1.0, 0.0, 0.0, 0.0)), ("b", (1.0, 1.0, 0.0, 1.0))]:
        tests = torch.stack([torch.zeros(4), torch.tensor(known)]).double()
        history = History(torch.zeros(1, 2), torch.zeros(1), [], tests, torch.tensor([0, 1]))
        room.add(Record(name, {"kind": "Toy"}, {"kind": "Random"}, 0, history))
    room.add_crash("c", {}, "Traceback: no")
    got = result(room)
    assert got["mastered"] == {"a": [0.0, 25.0], "b": [0.0, 75.0]}
    assert [i["point"] for i in got["mean"]] == [0.0, 50.0]
    assert got["crashes"] == {"c": "Traceback: no"}


def test_students_of_all_kinds_come():
    lessons = Enrolment("toy-grid", 6, {}, None, 0).lessons(ALPGMMConfig(), "x")
    assert [lesson.name for lesson in lessons] == [f"x-{i:04d}" for i in range(6)]
    assert [lesson.student.rotation for lesson in lessons] == ["0", "90", "180", "270", "0", "90"]
    assert len({lesson.seed for lesson in lessons}) == 6
    more = Enrolment("toy-grid", 9, {}, None, 0).lessons(ALPGMMConfig(), "x")
    assert more[:6] == lessons
    others = Enrolment("toy-grid", 6, {}, None, 1).lessons(ALPGMMConfig(), "x")
    assert not {lesson.seed for lesson in others} & {lesson.seed for lesson in lessons}


def test_arms_by_name(tmp_path):
    config = Study(setting_named("toy-grid", pretest=10_000, neighbours=3))
    again = arm_teacher("again-t", config, tmp_path)
    assert again == AGAINConfig(str(tmp_path), "T", pretest=10_000, neighbours=3)
    alone = arm_teacher("in-p", config, tmp_path)
    assert alone.variant == "P"
    assert (alone.mixed, alone.pretest, alone.selection) == (False, 0, "ground-truth")
    assert arm_teacher("again-r-random-expert", config, tmp_path).selection == "random"
    for arm in ARMS:
        arm_teacher(arm, config, tmp_path).build(2, 0)
    assert teacher_config("again", {"variant": "T"}, tmp_path).variant == "T"


PAST = ALPGMMConfig(random_share=0.1, score_range=(0.0, 1.0))


def past_student(room, name, rotation, corner):
    """Someone who learnt in a corner, put in by hand (ALP-GMM takes thousands of episodes)."""
    mixture = Mixture(
        torch.tensor([0.5]).double(),
        torch.tensor([corner]).double(),
        1e-4 * torch.eye(2).double()[None],
    )
    points = torch.tensor(corner).repeat(600, 1)
    near = ((grid_points(2, 20) - torch.tensor(corner)).abs().amax(dim=1) < 0.05).double()
    tests = torch.stack([0 * near, near, near])
    history = History(
        points,
        torch.full((600,), 0.3),
        [FittedMixture(0, mixture)],
        tests,
        torch.tensor([0, 300, 600]),
    )
    student, teacher = described(ToyGridConfig(rotation)), described(PAST)
    lesson = Enrolment("toy-grid", 2, {}, None, 0).lessons(ALPGMMConfig(), "past")[int(name[-1])]
    room.add(Record(name, student, teacher, lesson.seed, history))


def test_a_small_study(tmp_path):
    """Two past students of the types that come; what is there is not taught again."""
    sizes = {"steps": 600, "epoch": 300, "pretest": 300, "neighbours": 1}
    setting = setting_named("toy-grid", classroom_size=2, students=2, **sizes)
    config = Study(setting, arms=("random", "again-r", "alp-gmm", "in-r"))
    space, course = ToyGridConfig().space, {"course": described(config.course)}
    room = Classroom.create(tmp_path / "classroom", space, grid_points(2, 20), course)
    past_student(room, "past-0000", "0", (0.025, 0.025))
    past_student(room, "past-0001", "90", (0.025, 0.975))
    result = study(config, tmp_path, 1, Console(quiet=True))
    json.dumps(result)
    assert list(result["arms"]) == ["random", "again-r", "alp-gmm", "in-r"]
    for arm in result["arms"].values():
        assert [len(shares) for shares in arm["mastered"].values()] == [3, 3]
        assert not arm["crashes"]
    assert 0 <= result["selection"]["again-r"]["followed"]["point"] <= 1
    assert list(result["welch_p"]) == ["random", "again-r", "in-r"]
    # Alone in its first cell, a student masters it (1 of 400) with its first 76 levels.
    assert result["arms"]["in-r"]["mean"][1]["point"] == 0.25
    files = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.npz")}
    assert study(config, tmp_path, 1, Console(quiet=True))["arms"] == result["arms"]
    assert {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.npz")} == files


def test_welch_by_hand():
    """Means 1 and 2, variances 2, two each: t = −1/√2 with two degrees of freedom, where the
    two-sided p-value is 1 − |t| / √(2 + t²).
    """
    assert welch([0.0, 2.0], [1.0, 3.0]) == pytest.approx(1 - 0.2**0.5)
    assert welch([1.0, 1.0], [1.0, 3.0]) is None


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_have_students_a_course_and_arms(name, tmp_path):
    """Everything that a study of days would refuse is refused at once."""
    config = Study(setting_named(name))
    lessons = config.enrolment(4, 0).lessons(PAST, "past")
    assert len({lesson.student for lesson in lessons}) == 4
    assert config.course.steps == config.setting.steps
    assert config.setting.pretest % config.setting.epoch == 0
    for arm in ARMS:
        arm_teacher(arm, config, tmp_path).build(lessons[0].student.dim, 0)


@pytest.mark.slow  # five processes that import torch
def test_a_study_of_agents(tmp_path):
    """Quadrupeds of several lengths on short runs over stumps."""
    setting = setting_named(
        "parkour-mini", classroom_size=1, students=2, steps=8_000, epoch=4_000, pretest=4_000
    )
    options = {**setting.options, "episode_length": "20"}
    setting = replace(setting, options=options, tests_per_axis=2)
    result = study(Study(setting, ("random", "alp-gmm")), tmp_path, 1, Console(quiet=True))
    assert [len(arm["mastered"]) for arm in result["arms"].values()] == [2, 2]
    assert result["selection"] == {}  # students of no types


def test_a_history_in_parts_by_hand():
    """80 episodes in 40 parts of two; fits after 10 and 50 are in force from there on."""
    point_nd = torch.rand(80, 2, generator=torch.Generator().manual_seed(0))
    first, second = (
        Mixture(torch.ones(1), torch.full((1, 2), at), 0.01 * torch.eye(2)[None])
        for at in (0.2, 0.7)
    )
    fits = [FittedMixture(10, first), FittedMixture(50, second)]
    history = History(point_nd, torch.arange(80.0), fits, torch.zeros(1, 4), torch.zeros(1))
    parts = lessons(history, UnitTasks(2))
    assert [part.frames for part in parts] == list(range(2, 82, 2))
    assert parts[3].score_n.tolist() == [6.0, 7.0]
    np.testing.assert_allclose(parts[3].task_nD, point_nd[6:8].double().numpy())
    assert parts[3].gaussians is None
    assert parts[4].gaussians.mean_Gd[0, 0] == np.float32(0.2)
    assert parts[23].gaussians.mean_Gd[0, 0] == np.float32(0.2)
    assert parts[24].gaussians.mean_Gd[0, 0] == np.float32(0.7)


def test_points_of_a_familys_classroom_are_drawn_as_its_tasks():
    space = family_class("ParkourStumps").task_space
    point_nd = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    history = History(point_nd, torch.zeros(2), [], torch.zeros(1, 4), torch.zeros(1))
    tasks = np.concatenate([part.task_nD for part in lessons(history, space)])
    assert tasks.shape == (2, 3)
    assert space.contains("train", torch.from_numpy(tasks)).all()
    assert (tasks[1, :2] > tasks[0, :2]).all()
