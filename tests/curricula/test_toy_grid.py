"""The toy grid of Meta-ACL against a literal reading of its rules."""

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.student import described, grid_points, unlikeness
from quickstudy.curricula.students import student_config
from quickstudy.curricula.students.toy_grid import MASTERED, ToyGridConfig, ToyGridV2Config
from quickstudy.envs import rng

CELLS = grid_points(2, 20)


def levels(points, practise=True):
    points = torch.as_tensor(points, dtype=torch.float64)
    n = len(points)
    return Levels(points, torch.zeros(n, dtype=torch.int64), torch.full((n,), practise))


def uniform(n, seed=0):
    return rng.uniform(rng.world_keys(seed, rng.Stream.LEVEL, n), 2)


class SlowGrid:
    """The rules as they are written: every visit looks at its predecessors."""

    def __init__(self, is_start, predecessors, turn=lambda p: p):
        self.competence = torch.zeros(20, 20, dtype=torch.int64)
        self.is_start, self.predecessors, self.turn = is_start, predecessors, turn

    def episode(self, point):
        i, j = (min(int(20 * x), 19) for x in self.turn(point))
        before = [(i + a, j + b) for a, b in self.predecessors]
        known = [c for c in before if 0 <= c[0] < 20 and 0 <= c[1] < 20]
        if self.is_start(i, j) or any(self.competence[c] >= 75 for c in known):
            self.competence[i, j] = min(self.competence[i, j] + 1, 100)
        return float(self.competence[i, j]) / 100


V1 = [(-1, 0), (0, -1), (-1, -1)]
V2 = [(-1, 0), (0, -1), (1, 0), (0, 1)]
TURNS = {
    "0": lambda p: p,
    "90": lambda p: (1 - p[1], p[0]),
    "180": lambda p: (1 - p[0], 1 - p[1]),
    "270": lambda p: (p[1], 1 - p[0]),
}


def concentrated(n, corner):
    """Points near a corner, where something is learnt."""
    return (torch.as_tensor(corner) - 0.3 * uniform(n) ** 2).abs()


@pytest.mark.parametrize(
    ("rotation", "corner"),
    [("0", (0.0, 0.0)), ("90", (0.0, 1.0)), ("180", (1.0, 1.0)), ("270", (1.0, 0.0))],
)
def test_version_1_follows_the_rules(rotation, corner):
    """At 90°, (x, y) becomes (1 − y, x): what starts at the origin lies at (0, 1)."""
    slow = SlowGrid(lambda i, j: i == j == 0, V1, TURNS[rotation])
    points = concentrated(8000, corner)
    scores = ToyGridConfig(rotation).build(0).train(levels(points))
    assert scores.tolist() == [slow.episode(p) for p in points.tolist()]
    assert (slow.competence > 75).sum() >= 10


def test_version_2_follows_the_rules():
    slow = SlowGrid(lambda i, j: (i, j) == (4, 7), V2)
    points = torch.tensor([0.225, 0.375]) + 0.3 * (uniform(8000) - 0.5)
    scores = ToyGridV2Config(4, 7).build(0).train(levels(points))
    assert scores.tolist() == [slow.episode(p) for p in points.tolist()]
    assert (slow.competence > 75).sum() >= 4


def test_by_hand():
    """The cell right of the start learns nothing until the 75th visit of the start cell."""
    start, right, far = [0.01, 0.01], [0.06, 0.01], [0.11, 0.01]
    student = ToyGridConfig().build(0)
    assert student.train(levels([start] * 74 + [right]))[-2:].tolist() == [0.74, 0.0]
    assert student.train(levels([start, right, right, far])).tolist() == [0.75, 0.01, 0.02, 0.0]
    assert student.train(levels([start] * 30))[-1] == 1.0  # 75 + 30 visits, at most 100
    assert student.test(torch.tensor([start, right, far])).tolist() == [1.0, 0.02, 0.0]
    assert student.steps == 75 + 4 + 30


def test_75_opens_and_76_is_mastered():
    student = ToyGridConfig().build(0)
    student.train(levels([[0.0, 0.0]] * 75))
    assert not (student.test(CELLS) > MASTERED).any()
    student.train(levels([[0.0, 0.0]]))
    assert (student.test(CELLS) > MASTERED).sum() == 1


def test_what_is_not_practised_is_not_learnt():
    student = ToyGridConfig().build(0)
    student.train(levels([[0.0, 0.0]] * 10))
    assert student.train(levels([[0.0, 0.0]] * 3, practise=False)).tolist() == [0.1] * 3


def test_the_far_corner_is_a_cell():
    assert ToyGridV2Config(19, 19).build(0).train(levels([[1.0, 1.0]])).tolist() == [0.01]


def test_random_practice_masters_a_tenth():
    """After 200 000 uniform episodes: 10.2 % (Portelas et al. 2020)."""
    shares = []
    for seed in range(8):
        student = ToyGridConfig().build(0)
        student.train(levels(uniform(200_000, seed)))
        shares.append(100 * float((student.test(CELLS) > MASTERED).double().mean()))
    assert abs(sum(shares) / 8 - 10.2) < 1


def test_bad_students_are_refused():
    with pytest.raises(ValueError, match="Unknown value of option rotation '45'"):
        student_config("toy-grid", {"rotation": "45"})
    with pytest.raises(ValueError, match=r"'toy-grdi'.*toy-grid"):
        student_config("toy-grdi")
    with pytest.raises(ValueError, match="0 to 19, got 20 and 0"):
        ToyGridV2Config(20, 0).build(0)
    with pytest.raises(ValueError, match="rotation '45'"):
        ToyGridConfig("45").build(0)


def test_grid_points_are_cell_centres():
    assert grid_points(2, 2).tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
    assert grid_points(1, 4).tolist() == [[0.125], [0.375], [0.625], [0.875]]


def test_unlikeness():
    """Words must agree; numbers are (3, 4) apart, so 5."""
    a, b = described(ToyGridV2Config(1, 2)), described(ToyGridV2Config(4, 6))
    assert a == {"kind": "ToyGridV2", "column": 1, "row": 2}
    assert unlikeness(a, b) == 5
    zero, quarter = described(ToyGridConfig("0")), described(ToyGridConfig("90"))
    assert unlikeness(zero, zero) == 0
    assert unlikeness(zero, quarter) == unlikeness(a, zero) == unlikeness(zero, a) == float("inf")
