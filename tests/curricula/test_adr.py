"""Automatic domain randomisation: sides move as the scores on them say."""

from collections import deque

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers.adr import ADRConfig
from quickstudy.envs import rng


def levels(*points) -> Levels:
    n = len(points)
    point_nd = torch.tensor(points, dtype=torch.float64).reshape(n, -1)
    return Levels(point_nd, torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.bool))


def scores(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def box(teacher) -> list[list[float]]:
    return [[round(x, 12) for x in corner.tolist()] for corner in teacher.box()]


def test_sides_move_by_hand():
    config = ADRConfig(easy=(0.5,), step=0.125, queue=2, widen=1.0, narrow=0.0)
    teacher = config.build(1, seed=0)
    assert box(teacher) == [[0.5], [0.5]]
    # Both sides are at 0.5, so both are tested, and both mean 1: outwards by a step.
    teacher.observe(levels(0.5, 0.5), scores(1, 1))
    assert box(teacher) == [[0.375], [0.625]]
    # Low: (1 + 1) / 2 = 1, outwards. High: (0 + 0) / 2 = 0, inwards. 0.4 is on no side.
    teacher.observe(levels(0.375, 0.625, 0.4, 0.375, 0.625), scores(1, 0, 0, 1, 0))
    assert box(teacher) == [[0.25], [0.5]]
    # 0.375 was the low side once, and is no longer.
    teacher.observe(levels(0.375, 0.375), scores(0, 0))
    assert box(teacher) == [[0.25], [0.5]]
    # A mean of 1/2 leaves the side, and its queue starts anew: the next two are (1 + 1) / 2.
    teacher.observe(levels(0.25, 0.25), scores(0, 1))
    teacher.observe(levels(0.25), scores(1))
    assert box(teacher) == [[0.25], [0.5]]
    teacher.observe(levels(0.25), scores(1))
    assert box(teacher) == [[0.125], [0.5]]


def test_within_one_batch_a_side_that_moved_is_done():
    teacher = ADRConfig(step=0.1, queue=2).build(1, seed=0)
    teacher.observe(levels(*[0.0] * 10), scores(*[1.0] * 10))
    assert box(teacher) == [[0.0], [0.1]]


def test_the_box_stays_in_the_cube_and_keeps_its_order():
    teacher = ADRConfig(easy=(0.05,), step=0.1, queue=1).build(1, seed=0)
    teacher.observe(levels(0.05), scores(1))
    assert box(teacher) == [[0.0], [0.15]]
    teacher.observe(levels(0.0), scores(0))
    teacher.observe(levels(0.1), scores(0))
    assert box(teacher) == [[0.15], [0.15]]
    teacher.observe(levels(0.15), scores(0))
    assert box(teacher) == [[0.15], [0.15]]
    other = ADRConfig(easy=(0.95,), step=0.1, queue=1).build(1, seed=0)  # the same, mirrored
    for score in (1, 0, 0):
        other.observe(levels(float(other.box()[1])), scores(score))
    assert box(other) == [[0.85], [0.85]]


def slow_sides(batches, config, dim):
    """TeachMyAgent's rule, with a queue per side, level by level."""
    low, high = list(config.easy), list(config.easy)
    queues = {(side, i): deque() for side in (0, 1) for i in range(dim)}
    for points, score_list in batches:
        for point, score in zip(points, score_list, strict=True):
            on = [(0, i) for i in range(dim) if point[i] == low[i]]
            on += [(1, i) for i in range(dim) if point[i] == high[i]]
            for side, i in sorted(on):
                queues[side, i].append(score)
            for side, i in sorted(on):
                if len(queues[side, i]) < config.queue:
                    continue
                mean = sum(queues[side, i]) / config.queue
                queues[side, i].clear()
                way = (mean >= config.widen) - (mean <= config.narrow)
                if side == 0:
                    low[i] = min(max(low[i] - way * config.step, 0.0), high[i])
                else:
                    high[i] = max(min(high[i] + way * config.step, 1.0), low[i])
    return low, high


def test_batches_equal_queues_walked_level_by_level():
    config = ADRConfig(easy=(0.5, 0.0, 1.0), step=0.0625, queue=3, widen=0.6, narrow=0.4)
    teacher, batches = config.build(3, seed=0), []
    for moment in range(60):
        proposed = teacher.propose(40)
        key = rng.fold_in(rng.root_key(1, rng.Stream.TASK), moment)
        score_n = rng.uniform(rng.fold_in(key, torch.arange(40)), 1)[:, 0]
        score_n = (score_n + (moment % 9 < 5) > 0.8).double()
        teacher.observe(proposed, score_n)
        batches.append((proposed.points.tolist(), score_n.tolist()))
    low, high = slow_sides(batches, config, 3)
    assert teacher.box()[0].tolist() == low
    assert teacher.box()[1].tolist() == high
    assert min(h - lo for lo, h in zip(low, high, strict=True)) > 0.1, "the boxes hardly moved"


def test_half_of_the_levels_test_a_side_and_all_are_in_the_box():
    teacher = ADRConfig(easy=(0.25, 0.5), step=0.25, queue=1).build(2, seed=0)
    teacher.observe(levels((0.25, 0.5)), scores(1))
    assert box(teacher) == [[0.0, 0.25], [0.5, 0.75]]
    point_n2 = teacher.propose(4000).points
    low_2, high_2 = teacher.box()
    assert ((point_n2 >= low_2) & (point_n2 <= high_2)).all()
    on_n4 = torch.cat([point_n2 == low_2, point_n2 == high_2], dim=1)
    assert on_n4.sum(1).max() == 1
    # 500 of 4000 per side; a binomial's deviation is 21.
    assert all(410 < count < 590 for count in on_n4.sum(0).tolist())


def test_the_box_grows_to_what_the_student_can_do_and_no_further():
    """It solves what lies below 0.3 in the first dimension, and anything in the second."""
    teacher = ADRConfig(step=0.05).build(2, seed=0)
    for _ in range(400):
        proposed = teacher.propose(32)
        teacher.observe(proposed, (proposed.points[:, 0] < 0.3).double())
    (low_0, low_1), (high_0, high_1) = box(teacher)
    assert low_0 == low_1 == 0
    assert high_1 == 1
    assert 0.25 <= high_0 <= 0.35


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"easy": (0.5,)}, "easy must be 2 numbers"),
        ({"queue": 0}, "queue must be an integer of at least 1"),
        ({"boundary": 2.0}, "boundary must be a number from 0 to 1"),
        ({"step": 0.0}, "step must be above 0"),
        ({"widen": 0.2}, r"widen must be above 0\.3, got 0\.2"),
    ],
)
def test_senseless_constants_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ADRConfig(**options).build(2, seed=0)
