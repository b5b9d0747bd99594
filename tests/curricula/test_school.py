"""Teaching one student and many: over processes, with crashes, killed and gone on with."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
import torch

from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.school import Course, Lesson, teach, teach_all
from quickstudy.curricula.student import Student, grid_points
from quickstudy.curricula.students.toy_grid import ToyGridConfig, ToyGridV2Config
from quickstudy.curricula.teachers.again import AGAINConfig
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig
from quickstudy.curricula.teachers.random import RandomConfig

SHORT = Course(steps=300, epoch=100, block=25, tests_per_axis=4)

HELPERS = """
import os
import time
from dataclasses import dataclass

from quickstudy.curricula.students.toy_grid import ToyGridConfig


@dataclass(frozen=True)
class DyingConfig(ToyGridConfig):
    def build(self, seed):
        os._exit(3)


@dataclass(frozen=True)
class SlowConfig(ToyGridConfig):
    def build(self, seed):
        time.sleep(0 if self.rotation == "0" else 60)
        return super().build(seed)
"""


RANDOM = RandomConfig()


def lessons(*rotations, teacher=RANDOM):
    return [Lesson(f"s{i}", ToyGridConfig(r), teacher, i) for i, r in enumerate(rotations)]


def test_one_student():
    """300 steps in blocks of 25; tests after 0, 100, 200 and 300."""
    record = teach(lessons("90", teacher=ALPGMMConfig(fit_rate=100))[0], SHORT)
    history = record.history
    assert history.point_nd.shape == (300, 2)
    assert history.test_EP.shape == (4, 16)
    assert history.test_episode_E.tolist() == [0, 100, 200, 300]
    assert [fit.episode for fit in history.fits] == [100, 200, 300]
    assert record.student == {"kind": "ToyGrid", "rotation": "90"}
    assert record.teacher["kind"] == "ALPGMM"
    student = ToyGridConfig("90").build(0)
    teacher = ALPGMMConfig(fit_rate=100).build(2, 0)
    for start in range(0, 300, 25):
        levels = teacher.propose(25)
        scores = student.train(levels)
        teacher.observe(levels, scores)
        assert torch.equal(levels.points.float(), history.point_nd[start : start + 25])
        assert torch.equal(scores.float(), history.score_n[start : start + 25])


def test_a_block_over_two_tests_is_tested_twice():
    """So that epochs keep their numbers."""
    course = Course(steps=60, epoch=20, block=50, tests_per_axis=2)
    history = teach(lessons("0")[0], course).history
    assert history.test_episode_E.tolist() == [0, 50, 50, 100, 100, 100]


class Broken(Student):
    """Its scores are not numbers every other time."""

    def __init__(self):
        self.steps = 0

    steps = 0

    def train(self, levels):
        self.steps += len(levels)
        return torch.where(torch.arange(len(levels)) % 2 == 0, torch.nan, 0.5).double()

    def test(self, point_Pd):
        return torch.zeros(len(point_Pd), dtype=torch.float64)


@dataclass(frozen=True)
class BrokenConfig(ToyGridConfig):
    def build(self, seed):
        return Broken()


def test_scores_that_are_no_numbers_are_kept_from_the_teacher():
    history = teach(Lesson("s", BrokenConfig(), ALPGMMConfig(fit_rate=50), 0), SHORT).history
    # Of 25 levels, 13 have no score.
    assert history.score_n.tolist() == [0.5] * (12 * 12)
    assert len(history.fits) == 2


def test_any_number_of_processes_makes_the_same_bytes(tmp_path):
    """And what one run began, another finishes."""
    plan = lessons("0", "90", "180", teacher=ALPGMMConfig(fit_rate=100))
    teach_all(tmp_path / "one", plan[:1], SHORT)
    before = (tmp_path / "one" / "s0.npz").stat().st_mtime_ns
    ends = []
    one = teach_all(tmp_path / "one", plan, SHORT, on_end=ends.append)
    two = teach_all(tmp_path / "two", plan, SHORT, processes=2)
    assert one.names == two.names == ["s0", "s1", "s2"]
    for name in one.names:
        files = [room.folder / f"{name}.npz" for room in (one, two)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert [(end.name, end.error) for end in ends] == [("s1", None), ("s2", None)]
    assert (tmp_path / "one" / "s0.npz").stat().st_mtime_ns == before


def test_crashes_are_recorded_and_the_others_go_on(tmp_path, monkeypatch):
    """One raises, one takes its process down; a rerun tries them again."""
    (tmp_path / "school_helpers.py").write_text(HELPERS)
    monkeypatch.syspath_prepend(tmp_path)
    dying = __import__("school_helpers").DyingConfig
    plan = [
        Lesson("raises", ToyGridConfig("45"), RandomConfig(), 0),
        Lesson("dies", dying(), RandomConfig(), 0),
        Lesson("learns", ToyGridConfig("0"), RandomConfig(), 0),
    ]
    ends = []
    room = teach_all(tmp_path / "room", plan, SHORT, on_end=ends.append)
    assert room.names == ["learns"]
    assert "Traceback" in room.crashes["raises"]
    assert "Unknown rotation '45'" in room.crashes["raises"]
    assert "process died" in room.crashes["dies"]
    assert {end.name: end.error for end in ends} == room.crashes | {"learns": None}
    mended = Lesson("raises", ToyGridConfig("90"), RandomConfig(), 0)
    room = teach_all(tmp_path / "room", [mended], SHORT)
    assert room.names == ["learns", "raises"]
    assert list(room.crashes) == ["dies"]


DRIVER = """
from pathlib import Path

from quickstudy.curricula.classrooms.school import Course, Lesson, teach_all
from quickstudy.curricula.teachers.random import RandomConfig
from school_helpers import SlowConfig

if __name__ == "__main__":
    course = Course(steps=300, epoch=100, block=25, tests_per_axis=4)
    students = [SlowConfig("0"), SlowConfig("90")]
    lessons = [Lesson(f"s{i}", s, RandomConfig(), i) for i, s in enumerate(students)]
    teach_all(Path("room"), lessons, course)
"""


def test_killed_and_gone_on_with(tmp_path):
    """kill -9 while the second student is being taught: its process goes too, the first stays."""
    (tmp_path / "school_helpers.py").write_text(HELPERS)
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, "driver.py"], cwd=tmp_path)
    finished = tmp_path / "room" / "s0.npz"
    wait_until(lambda: finished.exists() or driver.poll() is not None)
    taught_by = children(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = finished.stat().st_mtime_ns
    wait_until(lambda: not any(alive(pid) for pid in taught_by))
    assert Classroom(tmp_path / "room").names == ["s0"]
    (tmp_path / "school_helpers.py").write_text(HELPERS.replace("60", "0"))
    subprocess.run([sys.executable, "driver.py"], cwd=tmp_path, check=True)
    room = Classroom(tmp_path / "room")
    assert room.names == ["s0", "s1"]
    assert finished.stat().st_mtime_ns == before


def wait_until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError


def children(pid):
    """All processes below a process."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and parent(int(entry)) == pid:
            found += [int(entry), *children(int(entry))]
    return found


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_does_not_fit_is_refused_before_any_lesson(tmp_path):
    room = tmp_path / "room"
    with pytest.raises(ValueError, match="needs a name of its own"):
        teach_all(room, lessons("0")[:1] * 2, SHORT)
    with pytest.raises(ValueError, match="needs a name of its own"):
        teach_all(room, [], SHORT)
    with pytest.raises(ValueError, match="name is of letters"):
        teach_all(room, [Lesson("a/b", ToyGridConfig(), RandomConfig(), 0)], SHORT)
    mixed = [*lessons("0"), Lesson("v2", ToyGridV2Config(), RandomConfig(), 0)]
    with pytest.raises(ValueError, match="must learn in one space"):
        teach_all(room, mixed, SHORT)
    with pytest.raises(ValueError, match="processes must be an integer of at least 1"):
        teach_all(room, lessons("0"), SHORT, processes=0)
    assert not room.exists()
    Classroom.create(room, ToyGridV2Config().space, grid_points(2, 4), {})
    with pytest.raises(ValueError, match=r"is of another space"):
        teach_all(tmp_path / "new", lessons("0", teacher=AGAINConfig(str(room))), SHORT)
    other = Classroom.create(tmp_path / "other", ToyGridConfig().space, grid_points(2, 5), {})
    with pytest.raises(ValueError, match=r"has another test set: 25 points, not these 16"):
        teach_all(tmp_path / "new", lessons("0", teacher=AGAINConfig(str(other.folder))), SHORT)
    options = {"course": {"epoch": 50}}
    other = Classroom.create(tmp_path / "third", ToyGridConfig().space, grid_points(2, 4), options)
    with pytest.raises(ValueError, match=r"tested every 50 steps; .* got 100"):
        teach_all(tmp_path / "new", lessons("0", teacher=AGAINConfig(str(other.folder))), SHORT)
    options = {"course": {"epoch": 100}}
    fourth = Classroom.create(
        tmp_path / "fourth", ToyGridConfig().space, grid_points(2, 4), options
    )
    endless = AGAINConfig(str(fourth.folder), pretest=300)
    with pytest.raises(ValueError, match="pretest 300 must be below the 300 steps"):
        teach_all(tmp_path / "new", lessons("0", teacher=endless), SHORT)
    assert not (tmp_path / "new").exists()


def test_another_student_of_the_same_name_is_refused(tmp_path):
    plan = lessons("0")
    room = teach_all(tmp_path / "room", plan, SHORT)
    for part, other in [
        ("student", Lesson("s0", ToyGridConfig("90"), RANDOM, 0)),
        ("teacher", Lesson("s0", ToyGridConfig("0"), ALPGMMConfig(), 0)),
        ("seed", Lesson("s0", ToyGridConfig("0"), RANDOM, 1)),
    ]:
        with pytest.raises(ValueError, match=f"another student called s0: its {part} is"):
            teach_all(room.folder, [other], SHORT)


def test_bad_courses_are_refused():
    with pytest.raises(ValueError, match="block must be an integer of at least 1, got 0"):
        Course(block=0)
