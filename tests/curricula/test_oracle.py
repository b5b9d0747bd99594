"""The oracle's window begins at the easy corner and moves on when it is mastered."""

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers.oracle import OracleConfig


def played(teacher, score: float, n: int = 50) -> dict[str, float]:
    return teacher.observe(teacher.propose(n), torch.full((n,), score, dtype=torch.float64))


def window(teacher) -> list[list[float]]:
    return [[round(x, 12) for x in corner.tolist()] for corner in teacher.window()]


def test_the_window_slides_by_hand():
    config = OracleConfig(easy=(0.0, 1.0, 0.5), hard=(1.0, 0.0, 0.5), width=0.25, step=0.5)
    teacher = config.build(3, seed=0)
    # A quarter of the way from easy to hard; the third dimension has no way to go.
    assert window(teacher) == [[0.0, 0.75, 0.5], [0.25, 1.0, 0.5]]
    assert played(teacher, 0.8) == {"window_offset": 0.5}
    assert window(teacher) == [[0.5, 0.25, 0.5], [0.75, 0.5, 0.5]]
    # The next step would be to 1, but the window ends at the hard corner.
    assert played(teacher, 0.8) == {"window_offset": 0.75}
    assert window(teacher) == [[0.75, 0.0, 0.5], [1.0, 0.25, 0.5]]
    assert played(teacher, 0.8) == {"window_offset": 0.75}


def test_it_takes_the_last_50_scores():
    teacher = OracleConfig(threshold=0.5, step=0.1).build(1, seed=0)
    played(teacher, 0.0, n=49)
    played(teacher, 1.0, n=24)  # of the last 50, 24 are 1: a mean of 0.48
    assert window(teacher)[0] == [0.0]
    played(teacher, 1.0, n=1)  # 25 of 50 is not above one half
    assert window(teacher)[0] == [0.0]
    played(teacher, 1.0, n=1)
    assert window(teacher)[0] == [0.1]


def test_after_a_move_the_count_begins_anew():
    teacher = OracleConfig(step=0.1).build(1, seed=0)
    played(teacher, 1.0, n=500)  # all proposed for the first window: one move
    assert window(teacher)[0] == [0.1]
    played(teacher, 1.0, n=49)
    assert window(teacher)[0] == [0.1]
    played(teacher, 1.0, n=1)
    assert window(teacher)[0] == [0.2]


def test_levels_outside_the_window_do_not_count():
    teacher = OracleConfig().build(1, seed=0)
    point_n1 = torch.full((100, 1), 0.5, dtype=torch.float64)
    strange = Levels(point_n1, torch.arange(100), torch.ones(100, dtype=torch.bool))
    teacher.observe(strange, torch.ones(100).double())
    assert window(teacher)[0] == [0.0]


def test_every_level_proposed_lies_in_the_window_and_counts():
    """Also where the numbers round: the window moves after 50 of its own levels, every time."""
    config = OracleConfig(easy=(0.1, 0.93, 1.0), hard=(0.77, 0.2, 0.0), step=1 / 37)
    teacher = config.build(3, seed=0)
    for _ in range(31):
        low, high = teacher.window()
        proposed = teacher.propose(50)
        assert ((proposed.points >= low) & (proposed.points <= high)).all()
        teacher.observe(proposed, torch.ones(50).double())
        assert not torch.equal(teacher.window()[0], low)


def test_the_window_follows_a_student_that_learns():
    """It masters what lies up to 0.1 beyond its skill, which grows with each level it masters."""
    teacher, skill = OracleConfig().build(1, seed=0), 0.1
    for _ in range(100):
        proposed = teacher.propose(50)
        good_n = (proposed.points[:, 0] < skill + 0.1).double()
        skill = max(skill, float((proposed.points[:, 0] * good_n).max()))
        teacher.observe(proposed, good_n)
    assert window(teacher) == [[round(5 / 6, 12)], [1.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"easy": (0.5,)}, "easy must be 2 numbers"),
        ({"hard": (0.5, 2.0)}, "hard must be 2 numbers"),
        ({"width": 1.5}, "width must be a number from 0 to 1"),
        ({"step": -0.1}, "step must be above 0"),
        ({"scores": 0}, "scores must be an integer of at least 1"),
    ],
)
def test_senseless_constants_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        OracleConfig(**options).build(2, seed=0)
