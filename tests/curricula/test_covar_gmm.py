"""Covar-GMM: learning progress worked by hand, batches of any size, where it practises.

Shape legend: n levels.
"""

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers import make_teacher
from quickstudy.envs import rng

ONE = {"fit_rate": "4", "min_gaussians": "1", "max_gaussians": "1"}


def levels(n, dim, seed=0):
    """Levels that no teacher proposed."""
    key_n = rng.fold_in(rng.root_key(seed, rng.Stream.LEVEL), torch.arange(n))
    return Levels(rng.uniform(key_n, dim), torch.arange(n), torch.ones(n, dtype=torch.bool))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_progress_worked_by_hand(size):
    """One Gaussian, times 0 ¼ ½ ¾, scores 10 12 14 16: of their range 0 ⅓ ⅔ 1.

    Mean of products (0 + 1/12 + 4/12 + 9/12)/4 = 7/24; product of means ⅜ · ½ = 3/16.
    Covariance 7/24 − 3/16 = 5/48. In the next window scores fall, 16 14 12 10: −5/48, so 0.
    """
    teacher = make_teacher("covar-gmm", 1, 0, ONE)
    played, score_n = levels(8, 1), torch.tensor([10.0, 12, 14, 16, 16, 14, 12, 10]).double()
    for i in range(0, 8, size):
        rows = torch.arange(i, min(i + size, 8))
        teacher.observe(played.rows(rows), score_n[rows])
    first, second = (fitted.mixture for fitted in teacher.history)
    assert float(first.weight_G) == pytest.approx(5 / 48)
    assert float(second.weight_G) == 0.0
    torch.testing.assert_close(first.mean_Gd, played.points[:4].mean(0, keepdim=True))
    variance = played.points[:4].var(0, correction=0) + 1e-6
    torch.testing.assert_close(first.covariance_Gdd[0, 0], variance)


@pytest.mark.parametrize("size", [7, 150, 151, 400])
def test_batches_of_any_size_teach_the_same(size):
    played = levels(400, 2)
    score_n = torch.sin(9 * played.points[:, 0]) * torch.arange(400)
    few = {"max_gaussians": "4"}
    one, many = (make_teacher("covar-gmm", 2, 3, few) for _ in range(2))
    for teacher, step in ((one, 50), (many, size)):
        for i in range(0, 400, step):
            rows = torch.arange(i, min(i + step, 400))
            teacher.observe(played.rows(rows), score_n[rows])
    assert [fitted.episode for fitted in many.history] == [150, 300]
    assert torch.equal(one.propose(50).points, many.propose(50).points)


def test_it_practises_what_is_being_learned_and_not_what_is_being_forgotten():
    """Scores rise below 0.3 and fall as fast above 0.7; between they stay as they are."""
    played = levels(450, 1)
    x, time_n = played.points[:, 0], torch.arange(450) / 450
    score_n = torch.where(x < 0.3, time_n, torch.where(x > 0.7, 1 - time_n, 0.5)).double()
    teacher = make_teacher("covar-gmm", 1, 0, {"random_share": "0", "max_gaussians": "6"})
    teacher.observe(played, score_n)
    drawn = teacher.propose(1000).points[:, 0]
    assert float((drawn < 0.35).double().mean()) > 0.7
    assert float((drawn > 0.65).double().mean()) < 0.1


def test_defaults_are_the_published_ones():
    config = make_teacher("covar-gmm", 2, 0)._config
    gaussians = config.min_gaussians, config.max_gaussians
    assert (config.fit_rate, config.random_share, *gaussians) == (150, 0.1, 2, 14)


def test_a_constant_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="random_share"):
        make_teacher("covar-gmm", 2, 0, {"random_share": "-0.1"})
