"""EM: a step worked by hand, loops without tricks, scikit-learn where it is installed, odd points.

Shape legend: n points, d dimensions, K Gaussians.
"""

import math

import pytest
import torch

from quickstudy.curricula.mixtures import em as mixtures
from quickstudy.curricula.mixtures.em import draw, fit_all, fit_best, num_parameters
from quickstudy.curricula.teacher import Mixture
from quickstudy.envs import rng

KEY = rng.root_key(0, rng.Stream.TEACHER)


def clumps(n=250, dim=3, seed=0):
    """Points in four heaps and some anywhere, in the unit cube."""
    key_n = rng.fold_in(rng.root_key(seed, rng.Stream.TASK), torch.arange(n))
    centre = rng.uniform(rng.root_key(seed, rng.Stream.TASK) + torch.arange(4), dim)
    points = centre[torch.arange(n) % 4] + 0.05 * rng.normal(key_n, dim)
    points[: n // 5] = rng.uniform(key_n, dim)[: n // 5]
    return points.clamp(0, 1)


def log_density(points, mixture):
    """log Σ_k w_k N(x; μ_k, Σ_k) by torch's own distributions, `(n,)`."""
    normal = torch.distributions.MultivariateNormal(mixture.mean_Gd, mixture.covariance_Gdd)
    return torch.logsumexp(normal.log_prob(points[:, None]) + mixture.weight_G.log(), dim=1)


def slow_step(points, mixture):
    """One step of EM, point by point and Gaussian by Gaussian."""
    n, dim = points.shape
    shares = []
    for x in points:
        parts = []
        for w, mean, cov in zip(
            mixture.weight_G, mixture.mean_Gd, mixture.covariance_Gdd, strict=True
        ):
            away = x - mean
            square = away @ torch.linalg.inv(cov) @ away
            scale = torch.linalg.det(2 * math.pi * cov)
            parts.append(w * torch.exp(-square / 2) / torch.sqrt(scale))
        shares.append(torch.stack(parts) / sum(parts))
    weights, means, covariances = [], [], []
    for k in range(len(mixture.weight_G)):
        held = sum(share[k] for share in shares)
        mean = sum(share[k] * x for share, x in zip(shares, points, strict=True)) / held
        spread = sum(
            share[k] * torch.outer(x - mean, x - mean)
            for share, x in zip(shares, points, strict=True)
        )
        weights.append(held / n)
        means.append(mean)
        covariances.append(spread / held + 1e-6 * torch.eye(dim))
    return Mixture(torch.stack(weights), torch.stack(means), torch.stack(covariances))


def em_from(points, share_Kn, monkeypatch, steps, tolerance=1e-3):
    """EM of one model from given shares, which must settle (or be stopped) after `steps`."""
    monkeypatch.setattr(mixtures, "MAX_STEPS", steps)
    monkeypatch.setattr(mixtures, "TOLERANCE", tolerance)
    monkeypatch.setattr(mixtures, "_clusters", lambda *_: share_Kn.numpy().copy())
    return fit_all(points, [len(share_Kn)], KEY)[0]


def test_a_step_worked_by_hand(monkeypatch):
    """Points 0, 1, 2, 3, of which two Gaussians hold two each.

    M: weights ½, means ½ and 2½, variances ¼ (+ 10⁻⁶, left out here).
    E: N(x; μ, ¼) = √(2/π) exp(−2(x − μ)²). With c = ½√(2/π), the parts are c·e^(−½) and c·e^(−12½)
    at 0, c·e^(−½) and c·e^(−4½) at 1, and the same in reverse at 3 and 2.
    Mean log-likelihood: log c − ½ + ½[log(1 + e^(−12)) + log(1 + e^(−4))].
    """
    points = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
    share_Kn = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.float64)
    fit = em_from(points, share_Kn, monkeypatch, steps=0)
    level = math.log(0.5 * math.sqrt(2 / math.pi)) - 0.5
    level += (math.log1p(math.exp(-12)) + math.log1p(math.exp(-4))) / 2
    torch.testing.assert_close(fit.mixture.weight_G, torch.tensor([0.5, 0.5]).double())
    torch.testing.assert_close(fit.mixture.mean_Gd, torch.tensor([[0.5], [2.5]]).double())
    variance = torch.tensor([[[0.25 + 1e-6]], [[0.25 + 1e-6]]], dtype=torch.float64)
    torch.testing.assert_close(fit.mixture.covariance_Gdd, variance)
    assert fit.log_likelihood == pytest.approx(level, abs=1e-5)
    # Weight, 2 means, 2 variances: 5 parameters, and 4 points.
    assert fit.aic == pytest.approx(2 * 5 - 2 * 4 * level, abs=1e-4)


@pytest.mark.parametrize("dim", [1, 3])
def test_steps_equal_loops_without_tricks(dim, monkeypatch):
    points = clumps(60, dim)
    share_Kn = rng.uniform(KEY + torch.arange(60), 4).T
    share_Kn = share_Kn / share_Kn.sum(0)
    first = em_from(points, share_Kn, monkeypatch, steps=0).mixture
    third = em_from(points, share_Kn, monkeypatch, steps=2, tolerance=-1.0)
    slow = slow_step(points, slow_step(points, first))
    torch.testing.assert_close(third.mixture.weight_G, slow.weight_G)
    torch.testing.assert_close(third.mixture.mean_Gd, slow.mean_Gd)
    torch.testing.assert_close(third.mixture.covariance_Gdd, slow.covariance_Gdd)
    level = float(log_density(points, slow).mean())
    assert third.log_likelihood == pytest.approx(level, abs=1e-9)


def test_equals_scikit_learn_from_the_same_shares(monkeypatch):
    sklearn = pytest.importorskip("sklearn.mixture")
    points = clumps()
    share_Kn = rng.uniform(KEY + torch.arange(len(points)), 5).T
    share_Kn = share_Kn / share_Kn.sum(0)
    ours = em_from(points, share_Kn, monkeypatch, steps=100, tolerance=1e-9)

    class FromShares(sklearn.GaussianMixture):
        def _initialize_parameters(self, x, random_state, xp=None):
            self._initialize(x, share_Kn.T.numpy().copy())

    theirs = FromShares(5, tol=1e-9, max_iter=200).fit(points.numpy())
    assert ours.log_likelihood == pytest.approx(theirs.score(points.numpy()), abs=1e-5)
    assert ours.aic == pytest.approx(theirs.aic(points.numpy()), abs=1e-2)


def test_levels_near_scikit_learn_from_its_own_start():
    """Starts differ, so single fits do; over a few sets of points ours must not be worse."""
    sklearn = pytest.importorskip("sklearn.mixture")
    ours, theirs = 0.0, 0.0
    for seed in range(4):
        points = clumps(seed=seed)
        ours += fit_best(points, range(2, 8), KEY).aic / 4
        models = [sklearn.GaussianMixture(k, random_state=seed) for k in range(2, 8)]
        theirs += min(m.fit(points.numpy()).aic(points.numpy()) for m in models) / 4
    assert ours < theirs + 60


def test_each_fit_reports_the_likelihood_of_the_mixture_it_returns():
    points = clumps()
    fits = fit_all(points, range(2, 11), KEY)
    assert [len(fit.mixture.weight_G) for fit in fits] == list(range(2, 11))
    for fit in fits:
        assert fit.mixture.weight_G.sum() == pytest.approx(1)
        level = float(log_density(points, fit.mixture).mean())
        assert fit.log_likelihood == pytest.approx(level, abs=1e-9)
    # Far more Gaussians than heaps explain the points no worse than one heap too few.
    assert fits[-1].log_likelihood > fits[0].log_likelihood


def test_no_model_depends_on_those_fitted_beside_it():
    points = clumps()
    together = fit_all(points, range(2, 8), KEY, restarts=2)
    for fit in together[::2]:
        alone = fit_all(points, [len(fit.mixture.weight_G)], KEY)[0]
        torch.testing.assert_close(fit.mixture.mean_Gd, alone.mixture.mean_Gd)
        assert fit.log_likelihood == pytest.approx(alone.log_likelihood)


def test_restarts_differ_and_the_best_is_kept():
    points = clumps(seed=1)
    fits = fit_all(points, [6], KEY, restarts=5)
    levels = [fit.log_likelihood for fit in fits]
    assert len({round(level, 9) for level in levels}) > 1
    assert fit_best(points, [6], KEY, restarts=5).log_likelihood == max(levels)


def test_the_number_of_heaps_is_found():
    """Four heaps, far apart: AIC may take a few Gaussians more, but never fewer."""
    centre = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]]).double()
    points = centre.repeat(60, 1) + 0.02 * rng.normal(KEY + torch.arange(240), 2)
    fits = fit_all(points, range(2, 7), KEY, restarts=3)
    best = min(fits, key=lambda fit: fit.aic)
    assert len(best.mixture.weight_G) >= 4
    gap = torch.cdist(centre, best.mixture.mean_Gd).min(dim=1).values
    assert (gap < 0.03).all()


def test_the_first_seeds_of_k_means_are_spread():
    """Two heaps of 50 equal points: the second seed is never of the first one's heap."""
    points = torch.cat([torch.zeros(50, 2), torch.ones(50, 2)]).double().numpy()
    draws = rng.uniform(KEY + torch.arange(200), 2).numpy()
    seeds = points[mixtures._spread_seeds(points, draws)][:, :, 0]
    assert (seeds[:, 0] != seeds[:, 1]).all()
    assert 60 < seeds[:, 0].sum() < 140


@pytest.mark.parametrize("dim", [1, 2, 11])
@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_few_points(n, dim):
    fits = fit_all(clumps(n, dim), range(2, 11), KEY)
    assert [len(fit.mixture.weight_G) for fit in fits] == sorted({min(k, n) for k in range(2, 11)})
    assert all(finite(fit) for fit in fits)


def test_identical_points():
    points = torch.full((50, 3), 0.25, dtype=torch.float64)
    best = fit_best(points, range(2, 11), KEY)
    assert len(best.mixture.weight_G) == 2
    assert finite(best)
    torch.testing.assert_close(best.mixture.mean_Gd, points[:2])


def test_a_constant_dimension():
    points = clumps()
    points[:, 1] = 0.5
    for fit in fit_all(points, range(2, 11), KEY):
        assert finite(fit)
        assert (fit.mixture.mean_Gd[:, 1] - 0.5).abs().max() < 1e-9
        assert (fit.mixture.covariance_Gdd[:, 1, 1] - 1e-6).abs().max() < 1e-9


def finite(fit):
    """Whether all of a fit is finite, and its covariances can be drawn from."""
    torch.linalg.cholesky(fit.mixture.covariance_Gdd)
    parts = (fit.mixture.weight_G, fit.mixture.mean_Gd, fit.mixture.covariance_Gdd)
    return math.isfinite(fit.aic) and all(part.isfinite().all() for part in parts)


def test_parameters_counted_by_hand():
    """3 Gaussians in 2 dimensions: 2 free weights, 3 · 2 means, 3 · 3 covariances."""
    assert num_parameters(3, 2) == 2 + 6 + 9


def test_draws_have_the_moments_of_the_gaussian_chosen():
    covariance = torch.tensor([[0.04, 0.02], [0.02, 0.09]], dtype=torch.float64)
    mixture = Mixture(
        torch.tensor([0.0, 3.0, 1.0]).double(),
        torch.tensor([[9.0, 9.0], [0.0, 1.0], [5.0, 5.0]]).double(),
        torch.stack([covariance, covariance, 1e-6 * torch.eye(2)]),
    )
    key_n = KEY + torch.arange(20000)
    drawn = draw(mixture, rng.uniform(key_n, 1)[:, 0], rng.normal(rng.fold_in(key_n, 1), 2))
    narrow = (drawn - 5.0).abs().max(dim=1).values < 0.01
    assert float(narrow.double().mean()) == pytest.approx(0.25, abs=0.015)
    wide = drawn[~narrow]
    torch.testing.assert_close(wide.mean(0), mixture.mean_Gd[1], atol=0.01, rtol=0)
    torch.testing.assert_close(wide.T.cov(), covariance, atol=0.004, rtol=0)


def test_without_any_weight_all_gaussians_are_drawn():
    mixture = Mixture(
        torch.zeros(2).double(),
        torch.tensor([[0.0], [1.0]]).double(),
        1e-6 * torch.ones(2, 1, 1).double(),
    )
    uniforms = rng.uniform(KEY + torch.arange(1000), 1)[:, 0]
    drawn = draw(mixture, uniforms, torch.zeros(1000, 1).double())
    assert 0.4 < float(drawn.mean()) < 0.6
