"""Difficulty in bits: the paper's figures, sums in log space, dimensions that are known."""

import math

import pytest
import torch

from quickstudy.envs.difficulty import (
    POINTS_PER_WORLD,
    WORLDS,
    Difficulty,
    differing_parameters,
    difficulty,
    intrinsic_dimension,
    log10_bits,
    log10_difference,
    visited_observations,
)
from quickstudy.envs.tasks import ListedTasks, Parameter


def plain_bits(dims, action_dims, frames, delta=1e-3, epsilon=1e-3):
    """The formula as it stands, without logarithms of its parts: the slow reference."""
    freedom = 2 * (2 * math.pi / delta) ** dims * math.pi ** (dims / 2) / math.gamma(dims / 2 + 1)
    per_freedom = (
        math.log2(4 * math.pi**2 / math.sqrt(6))
        + math.log2(action_dims)
        + 0.5 * math.log2(dims)
        - math.log2(delta)
        - math.log2(frames) / dims
        - math.log2(epsilon)
    )
    return action_dims * (freedom - frames) * per_freedom


@pytest.mark.parametrize(
    ("dims", "actions", "expected"),
    [(6, 2, 25.5), (15, 4, 58.9), (17, 6, 66.2)],
    ids=["Reacher", "Hopper", "Half-Cheetah"],
)
def test_the_papers_mujoco_tasks(dims, actions, expected):
    """dm_control's numbers of observations and actions, n = 10⁶, δ = ε = 10⁻³."""
    assert log10_bits(dims, actions, 1_000_000) == pytest.approx(expected, abs=0.05)


def test_the_papers_cartpole_with_one_to_five_observations():
    """T observations are m = 2T dimensions; n = 10⁴. Theirs has √3 and T where ours has √6 and m:
    log2(1/√3) + ½ log2 T = log2(1/√6) + ½ log2 2T."""
    found = [log10_bits(2 * t, 1, 10_000) for t in range(1, 6)]
    assert found == pytest.approx([9.64, 17.5, 25.2, 32.7, 40.1], abs=0.05)


@pytest.mark.parametrize("dims", [1.5, 2, 6, 17.3, 40])
@pytest.mark.parametrize(("actions", "frames"), [(1, 1000), (8, 10**9)])
def test_logarithms_equal_the_plain_formula_while_that_does_not_overflow(dims, actions, frames):
    bits = plain_bits(dims, actions, frames)
    expected = math.log10(bits) if bits > 0 else -math.inf
    assert log10_bits(dims, actions, frames) == pytest.approx(expected, rel=1e-9)


def test_by_hand():
    """m = 2, D = 1, n = 1, δ = 2π, ε = 1: 2 · π / Γ(2) − 1 degrees of freedom, and
    log2(4π²/√6) + ½ − log2 2π bits for each of them."""
    freedom = 2 * math.pi - 1
    bits = math.log2(4 * math.pi**2 / math.sqrt(6)) + 0.5 - math.log2(2 * math.pi)
    found = log10_bits(2, 1, 1, resolution=2 * math.pi, tolerance=1.0)
    assert found == pytest.approx(math.log10(freedom * bits), rel=1e-12)


def test_many_dimensions_do_not_overflow():
    assert 1000 < log10_bits(500, 20, 10**6) < 2000


def test_enough_frames_leave_nothing_to_be_told():
    """At m = 1 and δ = 10⁻³ there are 2 · 2π/δ · 2 = 25 133 degrees of freedom."""
    assert log10_bits(1, 1, 25_000) > 0
    assert log10_bits(1, 1, 26_000) == -math.inf


def test_bits_grow_with_dimensions_and_fall_with_frames_resolution_and_tolerance():
    base = log10_bits(3, 2, 10**6)
    assert log10_bits(4, 2, 10**6) > base
    assert log10_bits(3, 3, 10**6) > base
    assert log10_bits(3, 2, 10**9) < base
    assert log10_bits(3, 2, 10**6, resolution=1e-2) < base
    assert log10_bits(3, 2, 10**6, tolerance=1e-2) < base


@pytest.mark.parametrize(("larger", "smaller"), [(3, 2), (2.0, 1.9999), (1, -50)])
def test_differences_of_logarithms(larger, smaller):
    expected = math.log10(10**larger - 10**smaller)
    assert log10_difference(larger, smaller) == pytest.approx(expected, rel=1e-9)


def test_differences_that_are_not_positive_and_huge_ones():
    assert log10_difference(2.0, 2.0) == log10_difference(1.0, 2.0) == -math.inf
    assert log10_difference(-math.inf, -math.inf) == -math.inf
    assert log10_difference(900.0, 400.0) == 900.0
    assert log10_difference(5.0, -math.inf) == 5.0


# --- dimension --------------------------------------------------------------------------------


def cube(dims, count=4000, seed=0):
    """Points of a d-dimensional unit cube, turned into R¹⁰."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(10, 10, generator=generator, dtype=torch.float64))[0]
    return torch.rand(count, dims, generator=generator, dtype=torch.float64) @ turn[:dims]


@pytest.mark.parametrize(("dims", "tolerance"), [(1, 0.05), (2, 0.1), (3, 0.2), (5, 0.5)])
def test_the_dimension_of_a_cube_in_ten_dimensions(dims, tolerance):
    """Low by a few per cent: at the cube's faces neighbours are missing."""
    assert intrinsic_dimension(cube(dims)) == pytest.approx(dims, abs=tolerance)


def test_the_dimension_by_hand():
    """Eight points 0, 1, 3, 7, 15, 31, 63, 127 and k = 2: the mean of log(second / nearest)."""
    points = torch.tensor([[2.0**i - 1] for i in range(8)])
    # Distances to the two nearest, from each: (1, 3), (1, 2), (2, 3), (4, 6), (8, 12), (16, 24),
    # (32, 48), (64, 96): ratios 3, 2 and six times 3/2.
    expected = 8 / (math.log(3) + math.log(2) + 6 * math.log(1.5))
    assert intrinsic_dimension(points, neighbours=2) == pytest.approx(expected, rel=1e-12)


def test_units_constant_features_repeated_points_and_order_do_not_matter():
    points = cube(3, 1500)
    expected = intrinsic_dimension(points)
    units = points * torch.logspace(-3, 3, 10, dtype=torch.float64)
    constant = torch.cat([points, torch.full((len(points), 1), 7.0).double()], dim=1)
    for same in (units, constant, points.repeat(2, 1), points.flip(0)):
        assert intrinsic_dimension(same) == pytest.approx(expected, rel=1e-6)


def test_a_sample_of_queries_estimates_as_all_of_them():
    points = cube(2, 6000)
    estimates = [intrinsic_dimension(points, seed=seed) for seed in range(3)]
    assert len(set(estimates)) == 3
    assert estimates == pytest.approx([2.0] * 3, abs=0.1)


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="5 different points have no 5 neighbours"):
        intrinsic_dimension(torch.arange(5.0).unsqueeze(1).repeat(2, 1))


# --- families ---------------------------------------------------------------------------------


def test_a_point_in_the_plane_has_two_dimensions_and_its_goal_as_many():
    found = difficulty("PointGoal")
    assert found.observation_dims == pytest.approx(2.0, abs=0.1)
    assert (found.task_dims, found.action_dims) == (2, 2)
    assert found.oracle == log10_bits(found.observation_dims, 2, 1_000_000)
    assert found.meta == log10_bits(found.observation_dims + 2, 2, 1_000_000)
    assert found.oracle < found.price < found.meta
    assert difficulty("PointGoal") == found
    assert difficulty("PointGoal", seed=1) != found


def test_the_arm_has_two_angles_and_two_velocities_not_eight_features():
    assert difficulty("ReacherGoal").observation_dims == pytest.approx(4.0, abs=0.4)


def test_frames_count():
    known = Difficulty("X", 2.0, 1, 2, frames=10**6)
    assert Difficulty("X", 2.0, 1, 2, frames=10**7).oracle < known.oracle


def test_observations_are_spread_over_worlds_and_time():
    seen = visited_observations("PointGoal")
    # Some of the 32 parts of a trial of 40 steps share a step.
    assert 0.8 * WORLDS * POINTS_PER_WORLD < len(seen) <= WORLDS * POINTS_PER_WORLD
    # All worlds start at the origin; early and late positions are both there.
    assert float((seen.norm(dim=1) < 0.15).double().mean()) > 0.02
    assert float((seen.norm(dim=1) > 0.4).double().mean()) > 0.02


def test_the_text_states_what_was_assumed():
    text = str(Difficulty("X", 12.25, 1, 6))
    for part in (
        "10^49",
        "m = 12.2",
        "1 hidden",
        "D = 6",
        "δ = 0.001",
        "ε = 0.001",
        "n = 1e+06",
    ):
        assert part in text, part


def test_only_parameters_in_which_tasks_differ_count():
    low, high = Parameter("left", 0.0, 1.0, "1"), Parameter("right", 0.0, 1.0, "1")
    assert differing_parameters(ListedTasks((low, high), ((0.0, 1.0), (1.0, 1.0)))) == 1
    assert differing_parameters(ListedTasks(low, (0.0,))) == 0
    assert "no task is hidden" in str(Difficulty("X", 4.0, 0, 2))
    assert Difficulty("X", 4.0, 0, 2).price == -math.inf


def test_families_it_is_not_defined_for_are_refused():
    with pytest.raises(ValueError, match="continuous actions; GridNavi has none"):
        difficulty("GridNavi")
    with pytest.raises(ValueError, match="Did you mean 'PointGoal'"):
        difficulty("PointGaol")
