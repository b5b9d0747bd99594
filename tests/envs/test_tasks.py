"""Task spaces: disjoint, bounded, seeded and hashed splits.

The digests of all families' splits are pinned in `split_digests.json`. A changed digest means other
tasks under the same name: release it as a new version of the family. A new family's lines are added
by `python tests/envs/test_tasks.py`.
"""

import json
import math
from pathlib import Path

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.tasks import BoxTasks, ListedTasks, Parameter, hold_out

DIGESTS = Path(__file__).with_name("split_digests.json")

PLANE = BoxTasks(
    Parameter("x", -2.0, 3.0, "m"), Parameter("y", 10.0, 11.0, "m"), ood=((3.0, 4.0), (0.0, 1.0))
)
CIRCLE = BoxTasks(Parameter("angle", 0.0, 6.0, "rad"))
SIGN = ListedTasks(Parameter("direction", -1.0, 1.0, "sign"), (-1.0, 1.0))
HEADING = ListedTasks(Parameter("heading", 0.0, 3.0, "rad"), (0.0, 1.0, 2.0), ood=(3.0,))
CELLS = ListedTasks(
    (Parameter("x", 0.0, 1.0, "cell"), Parameter("y", 0.0, 1.0, "cell")),
    ((0.0, 0.0), (0.0, 1.0)),
    test=((1.0, 0.0),),
)
SPACES = {"plane": PLANE, "circle": CIRCLE, "sign": SIGN, "heading": HEADING, "cells": CELLS} | {
    name: family_class(name).task_space for name in FAMILIES
}


def draw(space, split, count=4000, seed=1):
    return space.sample(split, rng.world_keys(seed, rng.Stream.TASK, count))


def all_digests():
    return {
        name: {split: space.digest(split) for split in space.splits}
        for name, space in ((name, family_class(name).task_space) for name in FAMILIES)
    }


@pytest.fixture(params=SPACES, name="space")
def _space(request):
    return SPACES[request.param]


def test_the_splits_of_every_family_are_the_released_ones():
    stored = json.loads(DIGESTS.read_text())
    assert all_digests() == stored, (
        "changed tasks need a new family version; new lines: python tests/envs/test_tasks.py"
    )


def test_tasks_are_float64_rows_of_the_declared_parameters(space):
    for split in space.splits:
        tasks = draw(space, split, 7)
        assert tasks.shape == (7, len(space.parameters)) == (7, space.dim)
        assert tasks.dtype == torch.float64
        assert space.listing(split, 7, seed=0).shape == tasks.shape


def test_parameters_have_names_units_and_ordered_ranges(space):
    for parameter in space.parameters:
        assert parameter.name
        assert parameter.unit
        assert parameter.low <= parameter.high


def test_a_split_contains_what_it_draws_and_lists(space):
    for split in space.splits:
        assert bool(space.contains(split, draw(space, split)).all())
        assert bool(space.contains(split, space.listing(split, 500, seed=3)).all())


def test_the_tasks_of_every_split_are_within_the_ranges_users_are_held_to(space):
    for split in space.splits:
        space.check_range(draw(space, split))
    low, high = torch.tensor(space.ranges, dtype=torch.float64).T
    for beyond in (low - 1.0, high + 1.0):
        with pytest.raises(ValueError, match=f"task has {space.parameters[0].name} = "):
            space.check_range(beyond.unsqueeze(0))


def test_draws_repeat_for_their_keys_and_listings_for_their_seed(space):
    for split in space.splits:
        assert torch.equal(draw(space, split), draw(space, split))
        assert torch.equal(space.listing(split, 20, seed=5), space.listing(split, 20, seed=5))


def test_a_longer_listing_begins_with_the_shorter(space):
    for split in space.splits:
        assert torch.equal(space.listing(split, 30, 2)[:10], space.listing(split, 10, 2))


def test_unknown_split_names_value_options_and_nearest(space):
    keys = rng.world_keys(0, rng.Stream.TASK, 2)
    message = r"Unknown split 'trian'. Did you mean 'train'\? Options: train, test"
    for call in (
        lambda: space.sample("trian", keys),
        lambda: space.listing("trian", 3, seed=0),
        lambda: space.digest("trian"),
        lambda: space.check_split("trian"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_digests_differ_between_the_splits_of_a_box():
    assert len({PLANE.digest(split) for split in PLANE.splits}) == 3


@pytest.mark.parametrize(("high", "ood"), [(3.1, (3.0, 4.0)), (3.0, (3.0, 4.1))])
def test_a_digest_changes_with_any_bound(high, ood):
    original = BoxTasks(Parameter("v", 0.0, 3.0, "m/s"), ood=((3.0, 4.0),))
    changed = BoxTasks(Parameter("v", 0.0, high, "m/s"), ood=(ood,))
    assert original.digest("test") != changed.digest("test")


def test_a_box_without_ood_bounds_has_no_such_split():
    assert CIRCLE.splits == ("train", "test")
    assert CIRCLE.ranges == ((0.0, 6.0),)
    with pytest.raises(ValueError, match=r"Unknown split 'ood'.*Options: train, test"):
        CIRCLE.check_split("ood")


def boxes():
    return [name for name, space in SPACES.items() if isinstance(space, BoxTasks)]


@pytest.fixture(params=boxes(), name="box")
def _box(request):
    return SPACES[request.param]


def test_no_task_of_one_box_split_is_in_another(box):
    for split in box.splits:
        tasks = draw(box, split)
        for other in set(box.splits) - {split}:
            assert not bool(box.contains(other, tasks).any()), (split, other)


def test_box_tasks_stay_within_their_bounds_and_fill_them(box):
    for split in box.splits:
        tasks = draw(box, split)
        bounds = box.ood_bounds if split == "ood" else [(p.low, p.high) for p in box.parameters]
        for column, (low, high) in zip(tasks.T, bounds, strict=True):
            margin = 0.1 * (high - low)  # the outermost cells of a split are not at the very ends
            assert low <= float(column.min()) <= low + margin
            assert high - margin <= float(column.max()) <= high


def test_train_and_test_cut_the_box_in_80_and_20_cells(box):
    """A grid of cell centres: each is in exactly one of the two, 20 of 100 in test."""
    low = torch.tensor([p.low for p in box.parameters], dtype=torch.float64)
    width = torch.tensor([p.high - p.low for p in box.parameters], dtype=torch.float64)
    u = torch.full((100, box.dim), 0.5, dtype=torch.float64)
    u[:, 0] = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    centres = low + u * width
    in_train, in_test = box.contains("train", centres), box.contains("test", centres)
    assert bool((in_train ^ in_test).all())
    assert int(in_test.sum()) == 20


def test_every_cell_of_a_split_is_drawn_about_equally_often():
    """8000 draws over 80 train cells: 100 each, standard deviation 10."""
    space = BoxTasks(Parameter("v", 0.0, 100.0, "1"), ood=((100.0, 101.0),))
    counts = draw(space, "train", 8000)[:, 0].long().bincount(minlength=100)
    assert int((counts == 0).sum()) == 20
    assert 55 <= int(counts[counts > 0].min()) <= int(counts.max()) <= 145


def test_other_seeds_give_other_tasks(box):
    assert not torch.equal(box.listing("test", 20, seed=0), box.listing("test", 20, seed=1))
    assert len(draw(box, "train", 1000).unique(dim=0)) == 1000


def test_contains_refuses_points_outside_and_nan():
    points = torch.tensor([[-2.1, 10.5], [3.1, 10.5], [0.0, 9.9], [0.0, 11.1], [math.nan, 10.5]])
    for split in ("train", "test"):
        assert not bool(PLANE.contains(split, points.double()).any())
    assert PLANE.contains("ood", torch.tensor([[3.5, 0.5], [3.5, 10.5]]).double()).tolist() == [
        True,
        False,
    ]


def test_listed_tasks_are_listed_in_turn_whatever_the_seed():
    for seed in (0, 1):
        assert HEADING.listing("train", 7, seed)[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("name", [n for n, s in SPACES.items() if isinstance(s, ListedTasks)])
def test_every_listed_task_appears_equally_often_in_a_listing(name):
    for split in SPACES[name].splits:
        # More than any finite space lists (KeyToDoor's train split: 5056).
        values = SPACES[name].listing(split, 8000, seed=0).unique(dim=0)
        _, counts = (
            SPACES[name].listing(split, 6 * len(values), seed=0).unique(dim=0, return_counts=True)
        )
        assert counts.tolist() == [6] * len(values)


def test_listed_tasks_are_drawn_about_equally_often():
    """4000 draws of 3 values: 1333 each, standard deviation 30."""
    _, counts = draw(HEADING, "train").unique(return_counts=True)
    assert all(1200 < count < 1470 for count in counts.tolist())


def test_listed_tasks_share_train_and_test_but_not_ood():
    assert SIGN.splits == ("train", "test")
    assert HEADING.splits == ("train", "test", "ood")
    tasks = torch.tensor([[0.0], [2.0], [3.0], [0.5]], dtype=torch.float64)
    assert HEADING.contains("train", tasks).tolist() == [True, True, False, False]
    assert HEADING.contains("test", tasks).tolist() == [True, True, False, False]
    assert HEADING.contains("ood", tasks).tolist() == [False, False, True, False]
    with pytest.raises(ValueError, match="Unknown split 'ood'"):
        SIGN.listing("ood", 1, seed=0)


def test_listed_tasks_of_several_parameters_can_be_held_out():
    assert CELLS.splits == ("train", "test")
    tasks = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert CELLS.contains("train", tasks).tolist() == [True, True, False, False]
    assert CELLS.contains("test", tasks).tolist() == [False, False, True, False]
    assert CELLS.listing("train", 3, seed=0).tolist() == [[0, 0], [0, 1], [0, 0]]
    assert CELLS.digest("train") != CELLS.digest("test")


def test_a_fifth_of_a_finite_set_is_held_out():
    train, test = hold_out(tuple(float(value) for value in range(100)))
    assert (len(train), len(test)) == (80, 20)
    assert sorted(train + test) == list(range(100))
    assert hold_out(tuple(float(value) for value in range(100))) == (train, test)
    assert list(train) != sorted(train)  # the first tasks of a listing are spread


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps(all_digests(), indent=2) + "\n")


def test_values_are_shown_whole_or_in_three_digits():
    seed, height = Parameter("seed", 0.0, 4e9, "1"), Parameter("height", 0.0, 1.0, "m")
    assert seed.shown(1760841434.0) == "1760841434"
    assert [height.shown(value) for value in (-1.0, 0.4364, 0.00071)] == ["-1", "0.436", "0.00071"]
