"""ACCEL: easy levels first, then children of what is replayed, step by step."""

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers.accel import ACCELConfig


def levels(point_nd: list[list[float]]) -> Levels:
    n = len(point_nd)
    seed_n, practise_n = torch.arange(n), torch.ones(n, dtype=torch.bool)
    return Levels(torch.tensor(point_nd, dtype=torch.float64), seed_n, practise_n)


def test_new_levels_lie_near_the_easy_corner_and_are_only_scored():
    teacher = ACCELConfig(easy=(0.0, 1.0, 0.5), spread=0.1).build(3, seed=0)
    proposed = teacher.propose(1000)
    low, high = proposed.points.aminmax(dim=0)
    torch.testing.assert_close(low, torch.tensor([0.0, 0.9, 0.4]).double(), atol=0.005, rtol=0)
    torch.testing.assert_close(high, torch.tensor([0.1, 1.0, 0.6]).double(), atol=0.005, rtol=0)
    assert not proposed.practise.any()


def test_replays_children_and_new_levels_come_in_their_shares():
    """One level is kept, at the middle; new ones lie at the corner."""
    config = ACCELConfig(capacity=1, replay=0.5, children=2.0, spread=0.01)
    teacher = config.build(2, seed=0)
    parent = levels([[0.5, 0.5]])
    teacher.observe(parent, torch.ones(1).double())
    proposed = teacher.propose(6000)
    is_new_n = (proposed.points < 0.1).all(1)
    is_old_n = proposed.practise
    # For each replay two children and one new level.
    assert int(is_old_n.sum()) == pytest.approx(1500, abs=150)
    assert int(is_new_n.sum()) == pytest.approx(1500, abs=150)
    assert (proposed.points[is_old_n] == 0.5).all()
    assert (proposed.seeds[is_old_n] == 0).all()


def test_a_child_is_a_few_edits_of_its_parent_under_a_fresh_seed():
    config = ACCELConfig(capacity=1, replay=1.0, children=1.0, edits=2, size=0.125)
    teacher = config.build(4, seed=0)
    teacher.observe(levels([[0.5, 0.5, 0.5, 1.0]]), torch.ones(1).double())
    proposed = teacher.propose(4000)
    child = proposed.rows(~proposed.practise)
    moved_n4 = (child.points - torch.tensor([0.5, 0.5, 0.5, 1.0])) / 0.125
    assert torch.equal(moved_n4, moved_n4.round())
    assert moved_n4.abs().sum(1).max() == 2
    assert moved_n4[:, 3].max() == 0, "it left the cube"
    assert len(child.seeds.unique()) == len(child)
    # An edit moves dimension 0 with a chance of 1/4 · 2/3 = 1/6. Two edits leave it alone with
    # (5/6)², or move it there and back with 2 · (1/12)²: 0.6944 + 0.0139.
    assert float((moved_n4[:, 0] == 0).double().mean()) == pytest.approx(0.7083, abs=0.03)
    assert float(moved_n4[:, :3].mean()) == pytest.approx(0.0, abs=0.02)


def test_levels_grow_outwards_with_the_student():
    """Regret is highest at the edge of what the student can do, and none beyond; practice moves it.

    New levels reach to 0.05, the student to 0.1 at first; only children of children get to 0.4.
    """
    config = ACCELConfig(capacity=100, fill=0.2, spread=0.05)
    teacher, edge = config.build(1, seed=0), 0.1
    for _ in range(100):
        proposed = teacher.propose(64)
        x_n = proposed.points[:, 0]
        practised = x_n[proposed.practise & (x_n <= edge)]
        if len(practised):
            edge = min(max(edge, float(practised.max()) + 0.02), 0.4)
        teacher.observe(proposed, torch.where(x_n <= edge, x_n, 0.0))
    assert edge == 0.4
    replayed_n = teacher.propose(500).points[:, 0]
    assert float((replayed_n > 0.3).double().mean()) > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"easy": (0.5,)}, "easy must be 2 numbers"),
        ({"edits": 0}, "edits must be an integer of at least 1"),
        ({"size": 0.0}, "size must be above 0"),
        ({"spread": -0.1}, "spread must be above 0"),
        ({"children": 0.0}, "children must be above 0"),
        ({"replay": 1.5}, "replay must be a number from 0 to 1"),
    ],
)
def test_senseless_constants_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ACCELConfig(**options).build(2, seed=0)
