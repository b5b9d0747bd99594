"""ALP-GMM: against a plain loop, in batches of any size, and both modes against each other.

Shape legend: n levels, d dimensions.
"""

import math

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.mixtures.em import fit_best
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.teacher import Mixture
from quickstudy.curricula.teachers import make_teacher
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig
from quickstudy.envs import rng

SMALL = {"fit_rate": "40", "max_gaussians": "4"}


def levels(n, dim, seed=0):
    """Levels that no teacher proposed."""
    key_n = rng.fold_in(rng.root_key(seed, rng.Stream.LEVEL), torch.arange(n))
    return Levels(rng.uniform(key_n, dim), torch.arange(n), torch.ones(n, dtype=torch.bool))


def observed(teacher, played, score_n, size):
    """The teacher, after these levels in batches of this size."""
    for i in range(0, len(played), size):
        rows = torch.arange(i, min(i + size, len(played)))
        teacher.observe(played.rows(rows), score_n[rows])
    return teacher


def gaussian(mean, variance):
    """One Gaussian on a line."""
    return Mixture(
        torch.ones(1).double(),
        torch.tensor([[mean]], dtype=torch.float64),
        torch.tensor([[[variance]]], dtype=torch.float64),
    )


def same_histories(first, second):
    assert [fitted.episode for fitted in first] == [fitted.episode for fitted in second]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.mixture.weight_G, b.mixture.weight_G)
        assert torch.equal(a.mixture.mean_Gd, b.mixture.mean_Gd)
        assert torch.equal(a.mixture.covariance_Gdd, b.mixture.covariance_Gdd)


def slow_rows(played, score_n, start, stop):
    """Points and ALP of the levels of a window, as the paper says, one after the other."""
    points, rows = played.points, []
    span = float(score_n[:stop].max() - score_n[:stop].min())
    for i in range(start, stop):
        change = 0.0
        if i > 5:
            nearest = int((points[:i] - points[i]).square().sum(1).argmin())
            change = abs(float(score_n[i] - score_n[nearest])) / span
        rows.append([*points[i].tolist(), change])
    return torch.tensor(rows, dtype=torch.float64)


def test_progress_worked_by_hand():
    """Eight levels on a line, of scores 0 but for the last two: 4 and 1.

    The first six have at most five before them: no progress. The seventh (0.65, score 4) is nearest
    to 0.6 (score 0): 4. The eighth (0.66, score 1) is nearest to the seventh: 3. The scores' range
    is 4, so ALP is 1 and ¾; with one Gaussian its mean over all eight is (1 + ¾)/8 = 0.21875.
    """
    points = torch.tensor([[0.1], [0.2], [0.3], [0.4], [0.5], [0.6], [0.65], [0.66]]).double()
    played = Levels(points, torch.arange(8), torch.ones(8, dtype=torch.bool))
    one = {"fit_rate": "8", "min_gaussians": "1", "max_gaussians": "1"}
    teacher = make_teacher("alp-gmm", 1, 0, one)
    teacher.observe(played, torch.tensor([0.0, 0, 0, 0, 0, 0, 4, 1]).double())
    assert float(teacher.mixture().weight_G) == pytest.approx((1 + 0.75) / 8)
    assert float(teacher.mixture().mean_Gd) == pytest.approx(float(points.mean()))


def test_each_fit_equals_a_loop_over_levels():
    played = levels(125, 2)
    score_n = 300 * torch.sin(7 * played.points.sum(1)) + torch.arange(125)
    teacher = observed(make_teacher("alp-gmm", 2, 3, SMALL), played, score_n, 50)
    assert [fitted.episode for fitted in teacher.history] == [40, 80, 120]
    for i, fitted in enumerate(teacher.history):
        rows = slow_rows(played, score_n, 40 * i, 40 * (i + 1))
        key = rng.fold_in(rng.fold_in(teacher._key, -1), i)
        whole = fit_best(rows, range(2, 5), key).mixture
        torch.testing.assert_close(fitted.mixture.weight_G, whole.mean_Gd[:, 2].clamp(min=0))
        torch.testing.assert_close(fitted.mixture.mean_Gd, whole.mean_Gd[:, :2])
        torch.testing.assert_close(fitted.mixture.covariance_Gdd, whole.covariance_Gdd[:, :2, :2])


@pytest.mark.parametrize("size", [7, 40, 41, 200])
def test_batches_of_any_size_teach_the_same(size):
    """What fits draw depends on how many there were, what proposals draw on the calls of propose:
    so after the same levels, and as many calls, the next levels are the same bit for bit.
    """
    played = levels(200, 2)
    score_n = torch.sin(9 * played.points[:, 0])
    one = observed(make_teacher("alp-gmm", 2, 3, SMALL), played, score_n, 1)
    many = observed(make_teacher("alp-gmm", 2, 3, SMALL), played, score_n, size)
    same_histories(one.history, many.history)
    first, second = one.propose(50), many.propose(50)
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.seeds, second.seeds)


@pytest.mark.parametrize("mode", ["paper", "batched"])
def test_the_first_levels_are_uniform(mode):
    teacher = make_teacher("alp-gmm", 2, 0, {"mode": mode})
    points = teacher.propose(249).points
    assert (points.mean(0) - 0.5).abs().max() < 0.07
    assert (points.var(0) - 1 / 12).abs().max() < 0.02
    teacher.observe(levels(249, 2), torch.arange(249).double())
    assert teacher.mixture() is None
    teacher.observe(levels(1, 2), torch.zeros(1).double())
    assert teacher.history[0].episode == 250


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_random_share_of_the_levels_is_uniform(share):
    """The others are near the one narrow Gaussian; 1 in 10 uniform ones is there by chance."""
    teacher = make_teacher("alp-gmm", 1, 0, {"random_share": str(share)})
    narrow = gaussian(0.3, 1e-6)
    teacher.history.append(FittedMixture(0, narrow))
    away = (teacher.propose(4000).points - 0.3).abs() > 0.05
    assert float(away.double().mean()) == pytest.approx(0.9 * share, abs=0.02)


def test_a_gaussian_beyond_the_edge_is_clipped():
    teacher = make_teacher("alp-gmm", 1, 0, {"random_share": "0"})
    outside = gaussian(1.2, 1e-4)
    teacher.history.append(FittedMixture(0, outside))
    assert (teacher.propose(100).points == 1).all()


@pytest.mark.parametrize("size", [300, 1000])
def test_batched_fits_once_per_batch_to_all_since_the_last_fit(size):
    teacher = make_teacher("alp-gmm", 2, 0, {"mode": "batched", "max_gaussians": "3"})
    score_n = torch.arange(size).double()
    for batch in range(3):
        teacher.observe(levels(size, 2, seed=batch), score_n)
    assert [fitted.episode for fitted in teacher.history] == [size, 2 * size, 3 * size]


def test_batched_waits_for_enough_levels():
    teacher = make_teacher("alp-gmm", 2, 0, {"mode": "batched"})
    for batch in range(4):
        teacher.observe(levels(100, 2, seed=batch), torch.arange(100).double())
    assert [fitted.episode for fitted in teacher.history] == [300]


def learn(teacher, batch, episodes):
    """A student that gets better at levels of 0.6 < x < 0.8 the more it plays there, and at no
    others (those below are mastered, those above never are). Returns the share of its levels there.
    """
    skill, inside = 0.0, 0
    for _ in range(episodes // batch):
        proposed = teacher.propose(batch)
        x = proposed.points[:, 0]
        there = (x > 0.6) & (x < 0.8)
        practice = skill + there.cumsum(0)
        score_n = torch.where(there, torch.sin(practice / 150.0), (x < 0.6).double())
        teacher.observe(proposed, score_n)
        skill, inside = float(practice[-1]), inside + int(there.sum())
    return inside / episodes


def test_both_modes_practise_where_there_is_progress_and_alike():
    """A uniform teacher plays a fifth of its levels there; the two modes differ by little."""
    shares = {}
    for mode in ("paper", "batched"):
        shares[mode] = [
            learn(make_teacher("alp-gmm", 1, seed, {"mode": mode, "max_gaussians": "5"}), 250, 4000)
            for seed in range(4)
        ]
    means = {mode: sum(share) / len(share) for mode, share in shares.items()}
    assert min(shares["paper"] + shares["batched"]) > 0.6
    assert means["paper"] == pytest.approx(means["batched"], abs=0.08)


@pytest.mark.parametrize("mode", ["paper", "batched"])
def test_constant_scores_leave_all_gaussians_alike(mode):
    teacher = make_teacher("alp-gmm", 2, 0, {"mode": mode})
    figures = teacher.observe(levels(300, 2), torch.full((300,), -7.0).double())
    assert (teacher.mixture().weight_G == 0).all()
    assert figures["learning_progress"] == 0
    assert teacher.propose(100).points.isfinite().all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_scale_of_scores_is_of_no_account(scale):
    played = levels(80, 2)
    score_n = torch.sin(9 * played.points[:, 0])
    plain = observed(make_teacher("alp-gmm", 2, 0, SMALL), played, score_n, 80)
    scaled = observed(make_teacher("alp-gmm", 2, 0, SMALL), played, score_n * scale, 80)
    torch.testing.assert_close(plain.mixture().weight_G, scaled.mixture().weight_G)
    assert float(plain.mixture().weight_G.max()) <= 1


def test_scores_as_large_as_numbers_get():
    played = levels(80, 2)
    score_n = 1.7e308 * (-1.0) ** torch.arange(80, dtype=torch.float64)
    teacher = observed(make_teacher("alp-gmm", 2, 0, SMALL), played, score_n, 80)
    assert teacher.mixture().weight_G.isfinite().all()
    assert 0.2 < float(teacher.mixture().weight_G.max()) <= 1


@pytest.mark.parametrize("mode", ["paper", "batched"])
def test_history_and_pending_levels_survive_a_restore(mode):
    options = {**SMALL, "mode": mode}
    whole, restored = (make_teacher("alp-gmm", 2, 0, options) for _ in range(2))
    played = levels(200, 2)
    score_n = torch.sin(9 * played.points[:, 0])
    observed(whole, played.rows(torch.arange(95)), score_n[:95], 19)
    restored.load_state_dict(whole.state_dict())
    for teacher in (whole, restored):
        observed(teacher, played.rows(torch.arange(95, 200)), score_n[95:], 21)
    same_histories(whole.history, restored.history)
    assert len(whole.history) > 2
    assert torch.equal(whole.propose(20).points, restored.propose(20).points)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "papr"}, "paper"),
        ({"random_share": "1.5"}, "random_share"),
        ({"random_share": "nan"}, "random_share"),
        ({"fit_rate": "0"}, "fit_rate"),
        ({"min_gaussians": "0"}, "min_gaussians"),
        ({"min_gaussians": "5", "max_gaussians": "4"}, "min_gaussians"),
        ({"restarts": "0"}, "restarts"),
        ({"memory": "0"}, "memory"),
    ],
)
def test_constants_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_teacher("alp-gmm", 2, 0, options)


def test_figures_are_of_the_present_mixture():
    teacher = make_teacher("alp-gmm", 2, 0, SMALL)
    played = levels(40, 2)
    none = teacher.observe(played.rows(torch.arange(39)), torch.arange(39).double())
    assert none == {"gaussians": 0.0, "learning_progress": 0.0}
    figures = teacher.observe(played.rows(torch.arange(39, 40)), torch.zeros(1).double())
    weight_G = teacher.mixture().weight_G
    assert figures["gaussians"] == len(weight_G)
    assert figures["learning_progress"] == float(weight_G.mean())
    assert math.isfinite(figures["learning_progress"])


def test_a_known_range_of_scores_is_the_scale_of_progress():
    """Scores 0 and 0.1 in turn: progress 0.1 is all of the range seen, and a tenth of 0 … 1."""
    means = []
    for score_range in ((), (0.0, 1.0)):
        teacher = ALPGMMConfig(fit_rate=100, score_range=score_range).build(1, 0)
        levels = teacher.propose(100)
        points = torch.full_like(levels.points, 0.5)
        score_n = 0.1 * (torch.arange(100) % 2).double()
        teacher.observe(Levels(points, levels.seeds, levels.practise), score_n)
        mixture = teacher.mixture()
        means.append(float(mixture.weight_G.max()))
    assert means[0] == pytest.approx(1.0, abs=1e-6)
    assert means[1] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("ends", [(0.0,), (1.0, 0.0), (0.0, 1.0, 2.0)])
def test_a_range_that_is_none_is_refused(ends):
    with pytest.raises(ValueError, match="score_range must be two rising numbers or none"):
        ALPGMMConfig(score_range=ends).build(1, 0)
