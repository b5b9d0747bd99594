"""RIAC: boxes split where progress differs, and are practised where it is large."""

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers.riac import RIACConfig, learning_progress
from quickstudy.envs import rng


def levels(point_nd: torch.Tensor) -> Levels:
    n = len(point_nd)
    return Levels(point_nd, torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.bool))


def uniform(n: int, size: int, seed: int = 0) -> torch.Tensor:
    return rng.uniform(rng.world_keys(seed, rng.Stream.TASK, n), size)


def test_learning_progress_by_hand():
    score = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.5]] * 4, dtype=torch.float64)
    part = torch.tensor(
        [
            [1, 1, 1, 1, 1],  # |(0 + 0 + 1) / 3 − (1 + 0.5) / 2| = 5/12
            [1, 0, 1, 1, 0],  # |(0 + 1) / 2 − 1| = 1/2
            [1, 0, 1, 0, 0],  # two tell nothing
            [0, 0, 0, 0, 0],
        ]
    ).bool()
    expected = torch.tensor([5 / 12, 1 / 2, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(learning_progress(score, part), expected)


def slow_progress(score: list[float]) -> float:
    half = len(score) // 2
    if len(score) <= 2:
        return 0.0
    earlier, later = score[:-half], score[-half:]
    return abs(sum(earlier) / len(earlier) - sum(later) / len(later))


def test_learning_progress_equals_the_slow_way():
    score_KW, part_KW = uniform(30, 21), uniform(30, 21, seed=1) < 0.4
    slow = [slow_progress(score_KW[k][part_KW[k]].tolist()) for k in range(30)]
    torch.testing.assert_close(learning_progress(score_KW, part_KW).tolist(), slow)


def half_progress(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points left and right in turn; scores are 0, but on the right 1 in the later half."""
    step_n = torch.arange(n)
    is_right_n = step_n % 2 == 1
    x_n = 0.45 * uniform(n, 1)[:, 0] + 0.55 * is_right_n
    return x_n.unsqueeze(1), (is_right_n & (step_n >= n // 2)).double()


def test_the_first_cut_lies_where_progress_begins():
    # |R₁||R₂||ALP₁ − ALP₂| = 20 · 20 · |0 − 1| = 400 for any cut from 0.45 to 0.55; further left,
    # with k of 40 fewer on the left, (20 − k)(20 + k) and ALP₂ shrink, and likewise on the right.
    teacher = RIACConfig(region_size=40).build(1, seed=0)
    point_n1, score_n = half_progress(40)
    teacher.observe(levels(point_n1[:39]), score_n[:39])
    assert len(teacher.boxes()[0]) == 1
    teacher.observe(levels(point_n1[39:]), score_n[39:])
    low, high = teacher.boxes()
    cut = float(high[1])
    assert 0.43 < cut < 0.56
    assert low[:, 0].tolist() == [0.0, 0.0, cut]
    assert high[:, 0].tolist() == [1.0, cut, 1.0]
    torch.testing.assert_close(teacher.progress(), torch.tensor([0.5, 0.0, 1.0]).double())


def test_a_region_forgets_its_oldest_quarter_where_it_cannot_split():
    # Full at 8: 2 dropped, 6 left; full again at the 10th: the 5th to the 10th are left; the 11th
    # is the seventh. The earlier four are 5, 6, 7, 8, the later three 9, 10, 11: |6.5 − 10| = 3.5.
    teacher = RIACConfig(region_size=8, max_regions=1).build(1, seed=0)
    score_n = torch.arange(1, 12).double()
    teacher.observe(levels(uniform(11, 1)), score_n)
    assert teacher.progress().tolist() == [3.5]
    alone = RIACConfig(region_size=8, max_regions=1).build(1, seed=0)
    for k in range(11):
        alone.observe(levels(uniform(11, 1)[k : k + 1]), score_n[k : k + 1])
    assert alone.progress().tolist() == [3.5]


def test_levels_may_come_one_by_one_or_together():
    """With three regions at most there is one split, so the same draws make it."""
    point_n2, score_n = uniform(400, 2), uniform(400, 1, seed=1)[:, 0]
    config = RIACConfig(region_size=50, max_regions=3)
    together, alone = config.build(2, seed=0), config.build(2, seed=0)
    together.observe(levels(point_n2), score_n)
    for k in range(400):
        alone.observe(levels(point_n2[k : k + 1]), score_n[k : k + 1])
    assert len(alone.boxes()[0]) == 3
    for corner, other in zip(together.boxes(), alone.boxes(), strict=True):
        assert torch.equal(corner, other)
    torch.testing.assert_close(together.progress(), alone.progress())


@pytest.mark.parametrize("dim", [1, 3])
def test_leaves_tile_the_cube_and_are_not_too_thin(dim):
    teacher = RIACConfig(region_size=20).build(dim, seed=0)
    for moment in range(10):
        point_nd = uniform(300, dim, seed=moment)
        teacher.observe(levels(point_nd), torch.sin(9 * point_nd.sum(1) + moment))
    low_Rd, high_Rd = teacher.boxes()
    assert (high_Rd - low_Rd).min() >= 0.1 - 1e-12
    inside_nR = (uniform(2000, dim).unsqueeze(1) >= low_Rd) & (
        uniform(2000, dim)[:, None] < high_Rd
    )
    depth_n = inside_nR.all(2).sum(1)
    is_leaf_R = teacher.state_dict()["child"][: len(low_Rd)] == 0
    assert depth_n.min() >= 2
    assert (inside_nR.all(2) & is_leaf_R).sum(1).eq(1).all()


def test_more_levels_come_from_where_the_student_progresses():
    """It makes progress in [0.6, 0.8] alone: elsewhere it can do all, or nothing."""
    teacher, skill = RIACConfig().build(1, seed=0), 0.0
    band, share = (0.6, 0.8), 0.0
    for moment in range(40):
        x_n = (proposed := teacher.propose(100)).points[:, 0]
        in_band_n = (x_n >= band[0]) & (x_n < band[1])
        if moment >= 20:
            share += float(in_band_n.double().mean()) / 20
        skill += 0.025
        teacher.observe(proposed, torch.where(in_band_n, skill, (x_n < band[0]).double()))
    assert share > 0.4, f"uniform would be 0.2, got {share}"


def test_shares_of_uniform_region_and_mutated_levels():
    """The worst level lies on the right, in the cube's and in the upper region."""
    config = RIACConfig(region_size=40, max_regions=3, sigma=1e-6)
    teacher = config.build(1, seed=0)
    point_n1, score_n = half_progress(40)
    point_n1[35], score_n[35] = 0.99, -1.0
    teacher.observe(levels(point_n1), score_n)
    x_n = teacher.propose(4000).points[:, 0]
    cut = float(teacher.boxes()[1][1])
    alp = teacher.progress()
    upper, either = alp[2] / alp.sum(), (alp[2] + alp[0]) / alp.sum()
    mutated = float((x_n - 0.99).abs().lt(1e-4).double().mean())
    assert mutated == pytest.approx(0.1 * float(either), abs=0.02)
    # 70 % of a region, the cube among them; 20 % of the cube; 10 % near a region's worst level.
    expected = 0.7 * (upper + (1 - cut) * (either - upper)) + 0.2 * (1 - cut) + 0.1 * either
    assert float((x_n >= cut).double().mean()) == pytest.approx(float(expected), abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region_size": 0}, "region_size must be an integer of at least 1"),
        ({"uniform": 0.7, "mutate": 0.4}, r"uniform \+ mutate must be a number from 0 to 1"),
        ({"min_side": 2.0}, "min_side must be a number from 0 to 1"),
        ({"sigma": 0.0}, "sigma must be above 0"),
    ],
)
def test_senseless_constants_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RIACConfig(**options).build(2, seed=0)
