"""Rewards and endings of the first families, worked by hand."""

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.registry import make_family


def start(name, task_ND, seed=0):
    """A family at the start of an episode; world i's key is the same in every call."""
    family = make_family(name, len(task_ND))
    everywhere = torch.ones(len(task_ND), dtype=torch.bool)
    family.reset(everywhere, task_ND, rng.world_keys(seed, rng.Stream.EPISODE, len(task_ND)))
    return family


def test_half_cheetah_dir_pays_signed_speed_minus_a_twentieth_of_the_squared_action():
    family = start("HalfCheetahDir", torch.tensor([[1.0], [-1.0]]).double())
    x = family.engine.data["qpos"][:, 0].clone()
    action = torch.tensor([[1.0, -1.0, 0.5, 0.0, 0.0, 0.0]] * 2)
    terms = family.step(action).reward_terms
    speed = (family.engine.data["qpos"][:, 0] - x) / 0.05
    assert terms["run"].tolist() == pytest.approx([float(speed[0]), -float(speed[1])], rel=1e-12)
    assert terms["control"].tolist() == pytest.approx([-0.05 * 2.25] * 2)


def test_half_cheetah_vel_pays_minus_the_distance_to_the_target_speed():
    family = start("HalfCheetahVel", torch.tensor([[0.0], [3.0]]).double())
    x = family.engine.data["qpos"][:, 0].clone()
    terms = family.step(torch.full((2, 6), 0.5)).reward_terms
    speed = (family.engine.data["qpos"][:, 0] - x) / 0.05
    expected = [-abs(float(speed[0])), -abs(float(speed[1]) - 3.0)]
    assert terms["speed"].tolist() == pytest.approx(expected, rel=1e-12)
    assert terms["control"].tolist() == pytest.approx([-0.05 * 6 * 0.25] * 2)


def test_ant_dir_pays_velocity_along_the_heading_plus_one_minus_half_the_squared_action():
    headings = torch.tensor([[0.0], [np.pi], [np.pi / 2]], dtype=torch.float64)
    family = start("AntDir", headings)
    before = family.engine.data["qpos"][:, :2].clone()
    terms = family.step(torch.full((3, 8), 0.5)).reward_terms
    velocity = (family.engine.data["qpos"][:, :2] - before) / 0.05
    along = [float(velocity[0, 0]), -float(velocity[1, 0]), float(velocity[2, 1])]
    assert terms["run"].tolist() == pytest.approx(along, abs=1e-12)
    assert terms["alive"].tolist() == [1.0, 1.0, 1.0]
    assert terms["control"].tolist() == pytest.approx([-0.5 * 8 * 0.25] * 3)


def test_ant_dir_ends_where_the_torso_leaves_its_heights():
    """Below 0.2 m or above 1 m. Physics stands still: it would lift an ant out of the floor."""
    family = start("AntDir", torch.zeros(5, 1).double())
    family._simulate = lambda action: None
    family.engine.data["qpos"][:, 2] = torch.tensor(
        [0.19, 0.2, 0.6, 1.0, 1.01], dtype=torch.float64
    )
    outcome = family.step(torch.zeros(5, 8))
    assert outcome.terminated.tolist() == [True, False, False, False, True]
    assert not bool(outcome.diverged.any())


@pytest.mark.parametrize(("steps", "reward"), [(7, 0.0), (9, 0.9), (10, 1.0), (11, 0.9), (13, 0.0)])
def test_sparse_point_goal_pays_one_minus_distance_within_a_fifth_of_a_metre(steps, reward):
    """The goal is at (1, 0); `steps` moves of 0.1 m along x."""
    family = start("SparsePointGoal", torch.zeros(1, 1).double())
    for _ in range(steps):
        outcome = family.step(torch.tensor([[1.0, 0.0]]))
    assert float(outcome.reward) == pytest.approx(reward, abs=1e-6)


def test_the_sparse_goal_lies_on_the_unit_circle_at_its_angle():
    """At π/2 it is (0, 1): nine moves along y reach it, along x they do not."""
    family = start("SparsePointGoal", torch.full((2, 1), np.pi / 2).double())
    for _ in range(9):
        outcome = family.step(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert outcome.reward.tolist() == pytest.approx([0.9, 0.0], abs=1e-6)
