"""Level spaces: boxes with a seed at the end."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.families.half_cheetah_vel import HalfCheetahVel
from quickstudy.envs.level_tasks import SEEDS, LevelTasks
from quickstudy.envs.registry import family_class
from quickstudy.envs.tasks import Parameter

SPACE = LevelTasks(
    Parameter("height", 0.0, 2.0, "m"),
    Parameter("spacing", 1.0, 3.0, "m"),
    ood=((2.0, 3.0), (1.0, 3.0)),
)


def test_the_seed_is_the_last_parameter_and_said_to_be_one():
    assert [p.name for p in SPACE.parameters] == ["height", "spacing", "seed"]
    assert SPACE.ranges == ((0.0, 3.0), (1.0, 3.0), (0.0, SEEDS - 1.0))
    assert SPACE.seeded
    assert not HalfCheetahVel.task_space.seeded
    assert LevelTasks(Parameter("height", 0.0, 2.0, "m")).splits == ("train", "test")


@pytest.mark.parametrize("split", ["train", "test", "ood"])
def test_seeds_are_integers_in_their_range_and_hardly_ever_the_same(split):
    seed_N = SPACE.sample(split, rng.world_keys(0, rng.Stream.TASK, 2000))[:, 2]
    assert torch.equal(seed_N, seed_N.floor())
    assert 0 <= float(seed_N.min()) < SEEDS * 0.01
    assert SEEDS * 0.99 < float(seed_N.max()) < SEEDS
    assert len(seed_N.unique()) > 1990


def test_levels_are_found_again_from_the_unit_cube():
    """The last coordinate times 2³² is the seed, exactly."""
    seed_N = torch.tensor([0, 1, 12345, SEEDS - 1])
    u_N = seed_N / torch.tensor(SEEDS, dtype=torch.float64)
    u_ND = torch.stack([torch.full_like(u_N, 0.25), torch.full_like(u_N, 0.75), u_N], dim=1)
    task_ND = SPACE.from_unit("ood", u_ND)
    assert task_ND[:, 0].tolist() == [2.25] * 4
    assert task_ND[:, 1].tolist() == [2.5] * 4
    assert task_ND[:, 2].long().tolist() == seed_N.tolist()


@pytest.mark.parametrize("split", ["train", "test", "ood"])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_tasks_rise_with_the_unit_cubes_coordinates(split, column):
    u_ND = torch.full((101, 3), 0.5, dtype=torch.float64)
    u_ND[:, column] = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
    task_ND = SPACE.from_unit(split, u_ND)
    assert bool((task_ND[:, column].diff() > 0).all())
    others = [i for i in range(3) if i != column]
    assert len(task_ND[:, others].unique(dim=0)) == 1
    assert bool(SPACE.contains(split, task_ND[1:-1]).all())


def test_cells_of_the_first_parameter_are_held_out_under_any_seed():
    train = SPACE.sample("train", rng.world_keys(0, rng.Stream.TASK, 3000))
    assert not bool(SPACE.contains("test", train).any())
    train[:, 2] = 7.0
    assert bool(SPACE.contains("train", train).all())
    cells = (train[:, 0] / 0.02).long().unique()
    assert len(cells) == 80


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (0.5, r"task has seed = 0\.5, which is not an integer"),
        (-1.0, "task has seed = -1 "),
        (float(SEEDS), "task has seed = 4.29497e.09 "),
    ],
)
def test_a_seed_that_is_none_is_refused(seed, message):
    space = family_class("ParkourStumps").task_space
    space.check(torch.tensor([[0.3, 1.0, 5.0]], dtype=torch.float64), 1)
    space.check_range(torch.full((1, 3), torch.nan, dtype=torch.float64))
    with pytest.raises(ValueError, match=message):
        space.check(torch.tensor([[0.3, 1.0, seed]], dtype=torch.float64), 1)
