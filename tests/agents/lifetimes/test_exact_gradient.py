"""The oracle against finite differences, windows and independent smoothing."""

import pytest
import torch

from quickstudy.agents.lifetimes.exact import ExactConfig
from quickstudy.agents.lifetimes.exact_gradient import (
    exact_gradient,
    perturbed_gradient,
    smoothed_gradient,
)
from quickstudy.agents.lifetimes.lifetimes import detached
from quickstudy.envs import rng

F64 = torch.float64
KEYS = rng.world_keys(5, rng.Stream.TASK, 4)
CHAIN = ExactConfig()
RANDOM = ExactConfig(mdp="random", initial_spread=0.5)


def a_rule(lifetimes, scale=0.1):
    """Generation 0, disturbed, so that no part of the gradient is 0 by design."""
    noise = rng.normal(rng.root_key(2, rng.Stream.TASK), lifetimes.num_parameters)
    return lifetimes.first_rule(0).to(F64) + scale * noise


def central_differences(lifetimes, rule, keys, step=1e-5):
    """Of the score, `(P, M)`, by whole lives beside each other."""
    shift = step * torch.eye(len(rule), dtype=F64)
    both = torch.cat([rule + shift, rule - shift])
    columns = [lifetimes.live(both, key.expand(len(both))).score_P for key in keys]
    return torch.stack([(c[: len(rule)] - c[len(rule) :]) / (2 * step) for c in columns])


@pytest.mark.parametrize("config", [CHAIN, RANDOM], ids=["chain", "random"])
def test_the_gradient_is_that_of_finite_differences(config):
    """N = 40 updates; the error of central differences is O(step²) plus rounding / step."""
    lifetimes = config.build()
    rule = a_rule(lifetimes)
    score, gradient = exact_gradient(lifetimes, rule, KEYS[:2])
    numeric = central_differences(lifetimes, rule, KEYS[:2])
    error = (gradient - numeric).norm(dim=1) / gradient.norm(dim=1)
    assert (error < 1e-6).all()
    assert (gradient.abs() > 0).all()
    lived = lifetimes.live(rule.expand(2, -1), KEYS[:2])
    torch.testing.assert_close(score, lived.score_P, rtol=1e-12, atol=0.0)


def window_gradient(lifetimes, rule, key, window):
    """The K-step meta-gradient over a life: each window's, from where it began; `(M,)`."""
    rows, total = lifetimes.begin(key), torch.zeros_like(rule)
    for _ in range(0, 40, window):
        leaf = rule.clone().requires_grad_()
        rows = lifetimes.learn(leaf.unsqueeze(0), detached(rows), window)
        total += torch.autograd.grad(lifetimes.surrogate(rows)[0].sum(), leaf)[0]
    return total


def test_a_window_of_the_whole_life_is_the_oracle():
    lifetimes = RANDOM.build()
    rule = a_rule(lifetimes)
    _, gradient = exact_gradient(lifetimes, rule, KEYS[:1])
    torch.testing.assert_close(
        window_gradient(lifetimes, rule, KEYS[:1], 40), gradient[0], rtol=1e-9, atol=1e-12
    )


def test_short_windows_point_the_wrong_way_on_the_chain():
    """Measured at generation 0, seed 0: −0.88, −0.81, 0.10, 0.96, 1.00 for K = 1, 2, 5, 10, 20."""
    lifetimes = CHAIN.build()
    rule = lifetimes.first_rule(0).to(F64)
    exact = exact_gradient(lifetimes, rule, KEYS[:1])[1][0]
    cosines = {
        window: torch.cosine_similarity(
            window_gradient(lifetimes, rule, KEYS[:1], window), exact, dim=0
        ).item()
        for window in (1, 5, 20)
    }
    assert cosines[1] < -0.8
    assert -0.2 < cosines[5] < 0.4
    assert cosines[20] > 0.98
    # Why: entropy costs the next updates something, and the whole life gains by it.
    assert window_gradient(lifetimes, rule, KEYS[:1], 1)[-1] < 0 < exact[-1]


def test_gradients_do_not_depend_on_neighbours():
    lifetimes = RANDOM.build()
    rule = a_rule(lifetimes)
    _, among = exact_gradient(lifetimes, rule, KEYS)
    _, alone = exact_gradient(lifetimes, rule, KEYS[3:])
    torch.testing.assert_close(among[3:], alone, rtol=1e-10, atol=1e-14)


def test_windows_share_the_rule_but_not_the_perturbation():
    """Against two parameters of their own, whose gradients add up."""
    lifetimes = ExactConfig(num_updates=5).build()
    rule, key = a_rule(lifetimes), KEYS[:1]
    noise = 0.2 * rng.normal(KEYS[:2], len(rule))
    score, gradient = perturbed_gradient(lifetimes, rule, noise.unsqueeze(0), key, 3)
    early = (rule + noise[0]).requires_grad_()
    late = (rule + noise[1]).requires_grad_()
    rows = lifetimes.learn(early.unsqueeze(0), lifetimes.begin(key), 3)
    expected, _ = lifetimes.score(lifetimes.learn(late.unsqueeze(0), rows, 2))
    expected.sum().backward()
    torch.testing.assert_close(score, expected.detach())
    torch.testing.assert_close(gradient[0], early.grad + late.grad)


def test_smoothing_a_quadratic_changes_nothing_and_a_cubic_by_its_curvature():
    """J(x) = Σ x³: E[∇(x + σε)] = 3x² + 3σ², here 3 · 1 + 3 · 0.25 = 3.75 in each coordinate."""
    draws = smoothed_gradient(
        Cubic(), torch.ones(3), KEYS[:1].expand(4000), deviation=0.5, window=1, seed=0
    )
    pairs = (draws[:2000] + draws[2000:]) / 2
    assert (pairs >= 3.0).all()  # 3 (1 + σε)² and 3 (1 − σε)²: mirrored, they make 3 + 3σ²ε²
    error = pairs.std(dim=0) / 2000**0.5
    assert ((pairs.mean(dim=0) - 3.75).abs() < 4 * error).all()
    assert (error < 0.1).all()


class Cubic:
    """One update: the logits are the rule, the score the sum of their cubes."""

    def total(self, key_P):
        return torch.ones_like(key_P)

    def begin(self, key_P):
        return {}

    def learn(self, rule_PM, rows, num_updates):
        return {"x": rule_PM}

    def surrogate(self, rows):
        return (rows["x"] ** 3).sum(dim=1), None


def test_raw_differences_of_scores_estimate_the_smoothed_gradient():
    """OpenAI-ES with raw fitness, the mean of ε (J(+) − J(−)) / 2σ over mirrored pairs, against the
    mean of exact gradients at perturbed rules: two estimators of one thing, of unequal variance.
    """
    lifetimes, deviation = CHAIN.build(), 0.1
    rule = lifetimes.first_rule(0).to(F64)
    noise = rng.normal(rng.world_keys(4, rng.Stream.TASK, 512), len(rule))
    both = rule + deviation * torch.cat([noise, -noise])
    score = lifetimes.live(both, KEYS[:1].expand(1024)).score_P
    draws = noise * ((score[:512] - score[512:]) / (2 * deviation)).unsqueeze(1)
    smooth = smoothed_gradient(
        lifetimes, rule, KEYS[:1].expand(128), deviation=deviation, window=40, seed=1
    )
    pairs = (smooth[:64] + smooth[64:]) / 2
    error = (draws.var(dim=0) / 512 + pairs.var(dim=0) / 64).sqrt()
    z = (draws.mean(dim=0) - pairs.mean(dim=0)) / error
    assert z.abs().max() < 4
    assert pairs.var(dim=0).sum() < 0.5 * draws.var(dim=0).sum()


def test_lives_of_different_lengths_are_refused():
    class Mixed(Cubic):
        def total(self, key_P):
            return torch.arange(1, len(key_P) + 1)

    with pytest.raises(ValueError, match=r"The lives must be of one length, got \[1, 2\]"):
        exact_gradient(Mixed(), torch.ones(2), KEYS[:2])
