"""Self-paced learning: the mathematics of its Gaussian, the bound on each update, where it goes.

Shape legend: n levels, d dimensions.
"""

import math
from itertools import pairwise

import pytest
import torch

from quickstudy.curricula.mixtures.gaussians import Gaussian, kl_divergence, steepest
from quickstudy.curricula.teachers import make_teacher
from quickstudy.envs import rng

EASY = {"start": "0.1,0.1", "start_std": "0.05"}


def drawn(n, dim, seed=0):
    key_n = rng.fold_in(rng.root_key(seed, rng.Stream.LEVEL), torch.arange(n))
    return rng.normal(key_n, dim)


def gaussian(dim, seed=0):
    """Some Gaussian with correlations."""
    root_dd = drawn(dim, dim, seed) * 0.3 + torch.eye(dim)
    return Gaussian(drawn(1, dim, seed + 9)[0], root_dd @ root_dd.T)


def torch_kl(first, second):
    """By torch's own distributions."""
    pair = (torch.distributions.MultivariateNormal(*g) for g in (first, second))
    return torch.distributions.kl_divergence(*pair)


def parts(gaussian):
    return gaussian.mean_d, gaussian.covariance_dd


# --- the Gaussian -----------------------------------------------------------------------------


def test_kl_divergence_worked_by_hand():
    """N(0, 1) from N(1, 4): ½ [¼ + 1²/4 − 1 + ln 4] = ½ (ln 4 − ½) = 0.44315.

    Two such dimensions beside each other: twice that.
    """
    one = torch.ones(1, dtype=torch.float64)
    narrow = Gaussian(0 * one, torch.eye(1).double())
    wide = Gaussian(one, 4 * torch.eye(1).double())
    assert kl_divergence(narrow, wide) == pytest.approx((math.log(4) - 0.5) / 2)
    both = Gaussian(torch.zeros(2).double(), torch.eye(2).double())
    other = Gaussian(torch.ones(2).double(), 4 * torch.eye(2).double())
    assert kl_divergence(both, other) == pytest.approx(math.log(4) - 0.5)


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_density_and_divergence_equal_torch(dim):
    first, second = gaussian(dim), gaussian(dim, seed=3)
    expected = float(torch_kl(parts(first), parts(second)))
    assert kl_divergence(first, second) == pytest.approx(expected)
    points = drawn(20, dim, seed=5)
    density = torch.distributions.MultivariateNormal(*parts(first)).log_prob(points)
    torch.testing.assert_close(first.log_density(points), density)
    torch.testing.assert_close(first.drawn(first.whitened(points)), points)


def slow_natural_gradient(gaussian, merit):
    """F⁻¹ g by automatic differentiation, as changes of mean and covariance."""
    dim = len(gaussian.mean_d)
    i, j = torch.tril_indices(dim, dim)

    def unpacked(flat):
        lower = torch.zeros(dim, dim).double().index_put((i, j), flat[dim:])
        return flat[:dim], lower + lower.tril(-1).T

    flat = torch.cat([gaussian.mean_d, gaussian.covariance_dd[i, j]])
    gradient = torch.autograd.functional.jacobian(lambda x: merit(*unpacked(x)), flat)
    fisher = torch.autograd.functional.hessian(
        lambda x: torch_kl(parts(gaussian), unpacked(x)), flat
    )
    return unpacked(torch.linalg.solve(fisher, gradient))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_steps_are_natural_gradients(dim):
    present, target = gaussian(dim), gaussian(dim, seed=3)
    points, worth_n = drawn(40, dim, seed=5), drawn(40, 1, seed=6)[:, 0]
    before_n = present.log_density(points)

    def worth(mean_d, covariance_dd):
        normal = torch.distributions.MultivariateNormal(mean_d, covariance_dd)
        return (worth_n * (normal.log_prob(points) - before_n).exp()).mean()

    def nearness(mean_d, covariance_dd):
        return -torch_kl((mean_d, covariance_dd), parts(target))

    for step, merit in (
        (steepest(present, points, worth_n), worth),
        (present.steepest_to(target), nearness),
    ):
        mean_d, covariance_dd = slow_natural_gradient(present, merit)
        tiny = present.stepped(step, 1e-6)
        shift_d = (tiny.mean_d - present.mean_d) / 1e-6
        growth_dd = (tiny.covariance_dd - present.covariance_dd) / 1e-6
        torch.testing.assert_close(shift_d, mean_d, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(growth_dd, covariance_dd, atol=1e-4, rtol=1e-4)
        moved = kl_divergence(present, present.stepped(step, 1e-3 / step.length()))
        assert moved == pytest.approx(1e-6 / 2, rel=0.01)


# --- the teacher ------------------------------------------------------------------------------


def taught(teacher, score, updates, batch=100):
    """The Gaussians before and after each batch, whose levels score as `score(points, i)` says."""
    gaussians = [teacher._present]
    for i in range(updates):
        played = teacher.propose(batch)
        teacher.observe(played, score(played.points, i))
        gaussians.append(teacher._present)
    return gaussians


def solved(points, i):
    return torch.ones(len(points), dtype=torch.float64)


def solved_below_a_bound_that_rises(points, i):
    return (points[:, 0] < 0.2 + i / 40).double()


def noise(points, i):
    return drawn(len(points), 1, seed=i)[:, 0]


@pytest.mark.parametrize("score", [solved, solved_below_a_bound_that_rises, noise])
@pytest.mark.parametrize("dim", [1, 2, 10])
def test_no_update_goes_beyond_the_bound(dim, score):
    options = {"start_std": "0.05", "free_updates": "5"}
    gaussians = taught(make_teacher("self-paced", dim, 0, options), score, 16)
    moved = [kl_divergence(*pair) for pair in pairwise(gaussians)]
    assert max(moved) < 0.1 + 1e-9
    # Far from the target, steps are as long as they may be.
    assert max(moved) > 0.09


def test_it_stays_then_goes_to_the_target_while_scores_are_high():
    """Scores all alike say nothing of easier levels: only the target pulls, after 10 updates."""
    teacher = make_teacher("self-paced", 2, 0, EASY)
    gaussians = taught(teacher, solved, 40)
    assert gaussians[10] is gaussians[0]
    left = [kl_divergence(gaussian, teacher._target) for gaussian in gaussians[10:]]
    assert all(after <= before + 1e-12 for before, after in pairwise(left))
    assert (teacher._present.mean_d - 0.5).abs().max() < 1e-3
    assert (teacher._present.covariance_dd - torch.eye(2) / 12).abs().max() < 1e-3


def test_it_waits_where_scores_are_low():
    """Nothing is ever solved, so the target never pulls and no level is better than another."""
    gaussians = taught(make_teacher("self-paced", 2, 0, EASY), lambda x, i: 0.0 * x[:, 0], 15)
    assert gaussians[-1] is gaussians[0]


def test_harder_levels_hold_it_back():
    """Solved below ½ in the first dimension alone: there it goes to the target more slowly."""
    options = {**EASY, "free_updates": "0", "zeta": "0.1"}
    teacher = make_teacher("self-paced", 2, 0, options)
    gaussians = taught(teacher, lambda x, i: (x[:, 0] < 0.5).double(), 14)
    assert all(g.mean_d[0] < g.mean_d[1] + 0.02 for g in gaussians[10:])
    assert gaussians[-1].mean_d[0] < gaussians[-1].mean_d[1] - 0.05


def test_before_the_target_pulls_it_goes_where_scores_are_higher():
    options = {"start_std": "0.1", "target": "0.1,0.1"}
    gaussians = taught(make_teacher("self-paced", 2, 0, options), lambda x, i: x[:, 0], 10)
    assert gaussians[-1].mean_d[0] > 0.7
    assert abs(float(gaussians[-1].mean_d[1]) - 0.5) < 0.1


def test_scores_count_as_parts_of_their_range_and_0():
    """Returns in units a thousand times larger, or all negative, teach the same way."""
    plain, large = (make_teacher("self-paced", 2, 0, EASY) for _ in range(2))
    taught(plain, solved_below_a_bound_that_rises, 15)
    taught(large, lambda x, i: 1000 * solved_below_a_bound_that_rises(x, i), 15)
    torch.testing.assert_close(plain._present.mean_d, large._present.mean_d)
    negative = make_teacher("self-paced", 2, 0, {**EASY, "free_updates": "0"})
    gaussians = taught(negative, lambda x, i: -200 + 100 * solved(x, i) * (i > 0), 20)
    assert kl_divergence(gaussians[-1], negative._target) < 0.5


def test_the_first_levels_are_those_it_was_told_are_easy():
    teacher = make_teacher("self-paced", 2, 0, {"start": "0.3,0.6", "start_std": "0.02"})
    points = teacher.propose(2000).points
    torch.testing.assert_close(
        points.mean(0), torch.tensor([0.3, 0.6]).double(), atol=0.003, rtol=0
    )
    torch.testing.assert_close(points.std(0), torch.full((2,), 0.02).double(), atol=0.002, rtol=0)
    mixture = teacher.mixture()
    assert mixture.weight_G.tolist() == [1.0]
    assert mixture.mean_Gd.tolist() == [[0.3, 0.6]]


def test_restored_amid_two_updates_it_goes_on_bit_for_bit():
    """After one update without a pull and 50 levels of the 100 for the next, which has one."""
    options = {**EASY, "free_updates": "1"}
    whole, restored = (make_teacher("self-paced", 2, 0, options) for _ in range(2))
    gaussians = taught(whole, solved, 3, batch=50)
    assert gaussians[3] is gaussians[0]
    restored.load_state_dict(whole.state_dict())
    for teacher in (whole, restored):
        before, after = taught(teacher, solved, 1, batch=50)
        assert not torch.equal(before.mean_d, after.mean_d)
    assert torch.equal(whole.propose(9).points, restored.propose(9).points)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "0.1"}, "start"),
        ({"start": "0.1,1.1"}, "start"),
        ({"target": "0.1,0.1,0.1"}, "target"),
        ({"start_std": "0"}, "start_std"),
        ({"target_std": "nan"}, "target_std"),
        ({"max_kl": "-1"}, "max_kl"),
        ({"zeta": "0"}, "zeta"),
        ({"update_rate": "0"}, "update_rate"),
        ({"free_updates": "-1"}, "free_updates"),
    ],
)
def test_constants_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_teacher("self-paced", 2, 0, options)
