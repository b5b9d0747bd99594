"""Stacked networks, Adam and moments against torch's and the suite's own, agent by agent."""

import math

import pytest
import torch
from torch import nn

from quickstudy.agents.lifetimes.stacked_adam import EPSILON, adam_step, clip_rows
from quickstudy.agents.lifetimes.stacked_moments import StackedMoments
from quickstudy.agents.lifetimes.stacked_networks import ActorCritic, ActorCriticConfig, orthogonal
from quickstudy.agents.normalization import RunningMoments
from quickstudy.envs import rng

KEYS = rng.world_keys(0, rng.Stream.STUDENT, 3)


def networks(continuous):
    return ActorCritic(ActorCriticConfig(4, 2, continuous, hidden_size=6, initial_std=0.5))


def noise(*shape, seed=1):
    key = rng.root_key(seed, rng.Stream.BOOTSTRAP)
    return rng.normal(key, math.prod(shape)).view(shape).float()


def plain_mlp(parts, name, x):
    """One agent's network, layer by layer."""
    for layer in (1, 2, 3):
        x = x @ parts[f"{name}_{layer}_weight"] + parts[f"{name}_{layer}_bias"]
        x = torch.tanh(x) if layer < 3 else x
    return x


# --- networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("continuous", [False, True])
def test_stacked_networks_are_each_agents_own(continuous):
    nets = networks(continuous)
    weight_PW = nets.initial(KEYS) + 0.1 * noise(3, nets.layout.num_parameters)
    x_PBO = noise(3, 5, 4, seed=2)
    action = noise(3, 5, 2, seed=3) if continuous else (noise(3, 5, seed=3) > 0).long()
    policy, value_PB = nets.policy(weight_PW, x_PBO), nets.value(weight_PW, x_PBO)
    log_prob_PB, entropy_PB = policy.log_prob(action), policy.entropy()
    assert log_prob_PB.shape == entropy_PB.shape == value_PB.shape == (3, 5)
    for p in range(3):
        parts = nets.layout.parts(weight_PW[p])
        out = plain_mlp(parts, "actor", x_PBO[p])
        if continuous:
            normal = torch.distributions.Normal(out, parts["log_std"].exp())
            plain = torch.distributions.Independent(normal, 1)
        else:
            plain = torch.distributions.Categorical(logits=out)
        expected = (plain.log_prob(action[p]), plain.entropy())
        torch.testing.assert_close((log_prob_PB[p], entropy_PB[p]), expected)
        torch.testing.assert_close(value_PB[p], plain_mlp(parts, "critic", x_PBO[p]).squeeze(-1))


def test_new_born_weights_are_orthogonal_and_a_function_of_the_key_alone():
    nets = networks(continuous=True)
    weight_PW = nets.initial(KEYS)
    assert torch.equal(nets.initial(KEYS[2:]), weight_PW[2:])
    parts = nets.layout.parts(weight_PW)
    for name, gain in (("actor_1", 2.0), ("actor_2", 2.0), ("actor_3", 1e-4), ("critic_3", 1.0)):
        weight_PIJ = parts[f"{name}_weight"]
        wide = weight_PIJ.shape[1] < weight_PIJ.shape[2]
        square = weight_PIJ @ weight_PIJ.mT if wide else weight_PIJ.mT @ weight_PIJ
        expected = gain * torch.eye(square.shape[1]).expand_as(square)
        torch.testing.assert_close(square, expected, rtol=1e-4, atol=1e-5)
    assert not bool(parts["actor_2_bias"].any())
    torch.testing.assert_close(parts["log_std"].exp(), torch.full((3, 2), 0.5))
    assert not torch.equal(weight_PW[0], weight_PW[1])


def test_an_orthogonal_matrix_of_one_number_has_either_sign():
    """Without the correction of QR's signs it would be the same for every key."""
    keys = rng.world_keys(0, rng.Stream.STUDENT, 200)
    signs = orthogonal(keys, torch.Size((1, 1))).flatten()
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.3


# --- Adam -------------------------------------------------------------------------------------


def test_adam_is_torchs_with_a_step_size_for_each_row():
    weight_PW, rate_P = noise(3, 7), torch.tensor([1e-3, 1e-2, 0.3])
    memory = torch.zeros(3, 7), torch.zeros(3, 7), torch.zeros(3, dtype=torch.int64)
    rows = [nn.Parameter(row.clone()) for row in weight_PW]
    optimizers = [
        torch.optim.Adam([row], rate, eps=EPSILON)
        for row, rate in zip(rows, rate_P.tolist(), strict=True)
    ]
    for step in range(50):
        gradient_PW = noise(3, 7, seed=10 + step)
        adam_step(weight_PW, gradient_PW, *memory, rate_P)
        for row, gradient, optimizer in zip(rows, gradient_PW, optimizers, strict=True):
            row.grad = gradient
            optimizer.step()
    torch.testing.assert_close(weight_PW, torch.stack(rows).detach(), rtol=1e-5, atol=1e-6)
    assert memory[2].tolist() == [50, 50, 50]


def test_the_first_step_of_adam_is_the_step_size_against_the_gradients_sign():
    """m̂ = g and √v̂ = |g|: the step is 0.1 g/(|g| + 1e-5)."""
    weight_PW = torch.tensor([[1.0, 1.0]])
    memory = torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    adam_step(weight_PW, torch.tensor([[4.0, -0.5]]), *memory, torch.tensor([0.1]))
    torch.testing.assert_close(weight_PW, torch.tensor([[0.9, 1.1]]), rtol=0, atol=1e-5)


def test_rows_are_clipped_one_by_one_and_nan_stays_in_its_own():
    """(3, 4) has length 5: to length 1 it is (0.6, 0.8); (0.3, 0.4) is short enough."""
    gradient_PW = torch.tensor([[3.0, 4.0], [0.3, 0.4], [math.nan, 1.0]])
    clipped_PW = clip_rows(gradient_PW, 1.0)
    torch.testing.assert_close(clipped_PW[:2], torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert bool(clipped_PW[2].isnan().all())


# --- moments ----------------------------------------------------------------------------------


def test_stacked_moments_are_running_moments_of_each_agent():
    stacked, plain = StackedMoments.blank(3, 4), [RunningMoments(4) for _ in range(3)]
    for batch in range(3):
        rows_PBF = 3.0 * noise(3, 6, 4, seed=batch) + batch
        stacked = StackedMoments.of(stacked.merged(rows_PBF).rows("seen"), "seen")
        for moments, own in zip(plain, rows_PBF, strict=True):
            moments.update(own)
    seen_PBF = noise(3, 5, 4, seed=9)
    seen_PBF[0, 0, 0] = 1e6
    expected = torch.stack([m.normalize(own) for m, own in zip(plain, seen_PBF, strict=True)])
    torch.testing.assert_close(stacked.normalized(seen_PBF), expected)
    assert stacked.normalized(seen_PBF).max() == 10.0


def test_scaling_divides_by_the_standard_deviation_alone():
    """1 and 5 have variance 4: 6 becomes 3. The mean stays."""
    moments = StackedMoments.blank(1, 1).merged(torch.tensor([[[1.0], [5.0]]]))
    torch.testing.assert_close(moments.scaled(torch.tensor([[[6.0]]])), torch.tensor([[[3.0]]]))
