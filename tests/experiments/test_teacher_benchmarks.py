"""The teachers' benchmark; nothing here asserts how fast anything is."""

import torch

from quickstudy.curricula.teachers import TEACHERS
from quickstudy.experiments.benchmarks import teachers
from quickstudy.experiments.benchmarks.bench import SUITES
from quickstudy.experiments.benchmarks.result import Effort


def test_there_is_a_case_for_every_teacher():
    names = {benchmark.name for benchmark in SUITES["teachers"]()}
    assert names == {f"teachers/{name}-256" for name in TEACHERS}


def test_the_student_masters_the_space_from_the_corner_on():
    """Half way the border is at 0.7 from the corner; (0.5, 0.5) is 0.707 from it."""
    points = torch.tensor([[0.0, 0.6], [0.5, 0.5], [0.4, 0.5]])
    assert teachers.success(points, 0.5).tolist() == [1.0, 0.0, 1.0]


def test_a_round_takes_the_time_it_took_over_its_episodes(monkeypatch):
    """Two seconds by the clock and four worlds: 500 ms each."""
    ticks = iter([10.0, 12.0])
    monkeypatch.setattr(teachers.time, "perf_counter", lambda: next(ticks))
    curriculum = teachers.Curriculum(teachers.make_teacher("random", 2, 0), teachers.SPACE, 4)
    assert teachers.round_ms(curriculum, 4, 0.5) == 500.0


def test_the_first_quarter_of_the_rounds_is_not_timed(monkeypatch):
    times = iter([100.0, 100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0])
    monkeypatch.setattr(teachers, "round_ms", lambda *_: next(times))
    (result,) = teachers.teacher_benchmark("random", 4, 1.0).run(Effort(epochs=1))
    assert result.value == 4.0
    assert result.details == {"median ms": 3.5, "worst ms": 9.0, "rounds": 6.0}
    assert result.met is False
