"""Levels kept and found again, drawing among things, checks of constants."""

import pytest
import torch

from quickstudy.curricula.checks import corner, require_above, require_share
from quickstudy.curricula.drawing import either, pick
from quickstudy.curricula.level_buffer import LevelBuffer, last_of_each, level_keys
from quickstudy.curricula.levels import Levels
from quickstudy.envs import rng


def levels(points, seeds=None, practise=True) -> Levels:
    point_nd = torch.as_tensor(points, dtype=torch.float64)
    n = len(point_nd)
    seed_n = torch.arange(n) if seeds is None else torch.as_tensor(seeds)
    return Levels(point_nd, seed_n, torch.full((n,), practise))


def uniform(n: int, size: int) -> torch.Tensor:
    return rng.uniform(rng.world_keys(0, rng.Stream.TEACHER, n), size)


# --- keys ---------------------------------------------------------------------------------------


def test_a_key_is_of_point_and_seed():
    key = level_keys(levels([[0.1, 0.2], [0.1, 0.2], [0.2, 0.1], [0.1, 0.3]], [7, 8, 7, 7]))
    assert len(key.unique()) == 4
    again = level_keys(levels([[0.1, 0.2]], [7], practise=False))
    assert again[0] == key[0]


def test_both_zeros_are_one_level():
    key = level_keys(levels([[0.0], [-0.0]], [1, 1]))
    assert key[0] == key[1]


def test_many_levels_have_as_many_keys():
    """Points on a grid under few seeds, as a hash that only adds things up would mix up."""
    axis = torch.linspace(0, 1, 41, dtype=torch.float64)
    point_nd = torch.cartesian_prod(axis, axis).repeat(20, 1)
    seed_n = torch.arange(20).repeat_interleave(41 * 41)
    assert len(level_keys(levels(point_nd, seed_n)).unique()) == 20 * 41 * 41


def test_the_last_of_each():
    # 5 stands last at 2, 7 at 3, 3 at 4.
    assert last_of_each(torch.tensor([5, 3, 5, 7, 3])).tolist() == [2, 3, 4]
    assert last_of_each(torch.empty(0, dtype=torch.int64)).tolist() == []


def test_the_last_of_each_equals_the_slow_way():
    key_n = (uniform(500, 1)[:, 0] * 60).long() - 30
    slow = sorted({key: place for place, key in enumerate(key_n.tolist())}.values())
    assert last_of_each(key_n).tolist() == slow


# --- the buffer ---------------------------------------------------------------------------------


def test_levels_are_found_where_they_were_put():
    buffer = LevelBuffer(capacity=5, dim=2)
    assert buffer.find(levels([[0.0, 0.0]], [0])).tolist() == [-1]
    kept = levels(uniform(3, 2), [4, 5, 6])
    buffer.put(torch.tensor([3, 0, 2]), kept)
    strange = levels(uniform(3, 2), [4, 6, 6])  # the second has a kept point under another seed
    assert buffer.find(kept).tolist() == [3, 0, 2]
    assert buffer.find(strange).tolist() == [3, -1, 2]
    assert torch.equal(buffer.levels(torch.tensor([0])).points[0], kept.points[1])
    buffer.free(torch.tensor([3]))
    assert buffer.find(kept).tolist() == [-1, 0, 2]
    buffer.put(torch.tensor([0]), levels([[0.5, 0.5]], [9]))
    assert buffer.find(kept).tolist() == [-1, -1, 2]


def test_a_restored_buffer_finds_what_the_saved_one_held():
    buffer, kept = LevelBuffer(4, 3), levels(uniform(2, 3))
    buffer.put(torch.tensor([1, 3]), kept)
    restored = LevelBuffer(4, 3)
    restored.put(torch.tensor([0]), levels([[0.1, 0.1, 0.1]]))
    restored.load_state_dict(buffer.state_dict())
    assert restored.find(kept).tolist() == [1, 3]
    assert restored.used_C.tolist() == [False, True, False, True]


# --- drawing ------------------------------------------------------------------------------------


def test_pick_goes_by_weight():
    # Of a total of 4, the first has [0, 1), the second nothing, the third [1, 4).
    weight, draw = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([0.0, 0.2499, 0.25, 0.9999])
    assert pick(weight, draw).tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_pick_knows_no_unit(scale):
    weight = scale * torch.tensor([5.0, 3.0, 2.0], dtype=torch.float64)
    draw = (torch.arange(1000).double() + 0.5) / 1000
    assert pick(weight, draw).bincount().tolist() == [500, 300, 200]


def test_pick_takes_all_alike_where_nothing_weighs():
    draw = (torch.arange(12).double() + 0.5) / 12
    assert pick(torch.zeros(4), draw).bincount().tolist() == [3, 3, 3, 3]


def test_either_goes_row_by_row():
    first, second = levels([[0.1], [0.2], [0.3]]), levels([[0.7], [0.8], [0.9]], practise=False)
    mixed = either(torch.tensor([True, False, True]), first, second)
    assert mixed.points[:, 0].tolist() == [0.1, 0.8, 0.3]
    assert mixed.practise.tolist() == [True, False, True]


# --- constants ----------------------------------------------------------------------------------


def test_a_corner_has_a_number_per_dimension():
    assert corner("easy", (), 3, 1.0).tolist() == [1.0, 1.0, 1.0]
    assert corner("easy", (0.0, 0.5), 2, 1.0).tolist() == [0.0, 0.5]
    for value in ((0.5,), (0.5, 1.5), (0.5, float("nan"))):
        with pytest.raises(ValueError, match="easy must be 2 numbers from 0 to 1"):
            corner("easy", value, 2, 0.0)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_are_from_0_to_1(value):
    with pytest.raises(ValueError, match="replay must be a number from 0 to 1"):
        require_share("replay", value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_what_must_be_above_0_is_named(value):
    with pytest.raises(ValueError, match=r"step must be above 0\.0"):
        require_above("step", value, 0.0)
