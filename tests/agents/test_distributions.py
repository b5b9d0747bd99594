"""Action distributions against `torch.distributions` and against their own definitions."""

import math

import pytest
import torch
from torch import distributions as reference

from quickstudy.agents.distributions import Categorical, DiagonalGaussian
from quickstudy.envs import rng


def keys(count: int):
    return rng.world_keys(0, rng.Stream.ACTION, count)


def gaussian(*leading: int, size: int = 3):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(*leading, size, generator=generator, dtype=torch.float64)
    log_std_A = 0.5 * torch.randn(size, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, log_std_A), reference.Independent(
        reference.Normal(mean, log_std_A.exp().expand_as(mean)), 1
    )


def categorical(*leading: int, size: int = 4):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*leading, size, generator=generator, dtype=torch.float64)
    return Categorical(logits), reference.Categorical(logits=logits)


@pytest.mark.parametrize("leading", [(), (5,), (6, 5)])
@pytest.mark.parametrize("make", [gaussian, categorical])
def test_log_prob_and_entropy_agree_with_torch(make, leading):
    ours, theirs = make(*leading)
    torch.manual_seed(0)
    action = theirs.sample()
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert ours.log_prob(action).shape == ours.entropy().shape == leading


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_gradients_of_log_prob_and_entropy_agree_with_torch(make):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 3, generator=generator, dtype=torch.float64).requires_grad_()
    log_std_A = torch.zeros(3, dtype=torch.float64).requires_grad_()
    if make is gaussian:
        ours = DiagonalGaussian(mean, log_std_A)
        theirs = reference.Independent(reference.Normal(mean, log_std_A.exp().expand_as(mean)), 1)
        sources, action = [mean, log_std_A], torch.ones(5, 3, dtype=torch.float64)
    else:
        ours, theirs = Categorical(mean), reference.Categorical(logits=mean)
        sources, action = [mean], torch.tensor([0, 1, 2, 1, 0])
    for policy_pair in zip(
        torch.autograd.grad((ours.log_prob(action) + 2 * ours.entropy()).sum(), sources),
        torch.autograd.grad((theirs.log_prob(action) + 2 * theirs.entropy()).sum(), sources),
        strict=True,
    ):
        torch.testing.assert_close(*policy_pair)


def test_a_gaussian_worked_by_hand():
    """Mean 1, std 2, action 5, so z = 2.

    log p = −2²/2 − ln 2 − ½ ln 2π; entropy = ½ + ½ ln 2π + ln 2.
    """
    policy = DiagonalGaussian(torch.tensor([1.0]), torch.tensor([math.log(2.0)]))
    log_prob = -2.0 - math.log(2.0) - 0.5 * math.log(2.0 * math.pi)
    assert float(policy.log_prob(torch.tensor([5.0]))) == pytest.approx(log_prob, rel=1e-6)
    entropy = 0.5 + 0.5 * math.log(2.0 * math.pi) + math.log(2.0)
    assert float(policy.entropy()) == pytest.approx(entropy, rel=1e-6)
    assert float(policy.sample(torch.tensor([-1.5]))) == pytest.approx(1.0 - 1.5 * 2.0)


def test_gaussian_samples_have_the_mean_the_std_and_no_correlation():
    """Over 100 000 counter-based draws; the bounds are 5 standard errors."""
    count = 100_000
    policy, _ = gaussian(size=3)
    samples = policy.sample(rng.normal(keys(count), 3))
    std_A = policy.log_std_A.exp()
    z = (samples - policy.mean) / std_A
    assert z.mean(dim=0).abs().max() < 5 / math.sqrt(count)
    assert (z.std(dim=0) - 1).abs().max() < 5 / math.sqrt(2 * count)
    correlation = torch.corrcoef(z.T) - torch.eye(3)
    assert correlation.abs().max() < 5 / math.sqrt(count)


def test_categorical_samples_have_the_probabilities_as_frequencies():
    """Over 100 000 counter-based draws; the bound is 5 standard errors."""
    count = 100_000
    policy = Categorical(torch.tensor([0.0, 1.0, -2.0, 0.5]))
    choice = policy.sample(rng.uniform(keys(count), 1).to(torch.float32))
    frequency = torch.bincount(choice, minlength=4) / count
    probability = policy.log_probs.exp()
    error = (probability * (1 - probability) / count).sqrt()
    assert ((frequency - probability).abs() < 5 * error).all()
    assert choice.dtype == torch.int64


def test_categorical_sampling_inverts_the_cumulative_distribution():
    """Probabilities ½, ¼, ¼: the intervals [0, ½), [½, ¾), [¾, 1)."""
    policy = Categorical(torch.tensor([0.5, 0.25, 0.25]).log().double())
    noise = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 0.99], dtype=torch.float64).unsqueeze(1)
    assert policy.sample(noise).tolist() == [0, 0, 1, 1, 2, 2]


def test_noise_that_rounds_up_to_one_picks_the_last_action():
    """Uniform float64 draws below 1 may become 1 in float32, which no cumulative value exceeds."""
    noise = torch.tensor([1.0 - 2.0**-53], dtype=torch.float64).to(torch.float32)
    assert noise == 1.0
    for size in range(2, 50):
        assert Categorical(torch.zeros(size)).sample(noise) == size - 1


def test_an_impossible_first_action_is_not_drawn_by_zero_noise():
    policy = Categorical(torch.tensor([-torch.inf, 0.0]))
    assert policy.sample(torch.zeros(1)) == 1


def test_the_mode_has_the_highest_log_prob():
    policy, _ = gaussian(5)
    assert torch.equal(policy.mode(), policy.mean)
    for offset in (-0.1, 0.1):
        assert (policy.log_prob(policy.mode()) > policy.log_prob(policy.mode() + offset)).all()
    choice, _ = categorical(5)
    best = torch.stack([choice.log_prob(torch.full((5,), a)) for a in range(4)]).argmax(dim=0)
    assert torch.equal(choice.mode(), best)
