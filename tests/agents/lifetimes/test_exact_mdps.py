"""Exact visits, advantages and returns: by hand, against iteration, and the chain's claims."""

from itertools import product

import pytest
import torch

from quickstudy.agents.lifetimes.exact_mdps import FiniteMDPs, chains, evaluate, random_mdps
from quickstudy.envs import rng

F64 = torch.float64
KEYS = rng.world_keys(3, rng.Stream.TASK, 6)
UNIFORM = torch.full((1, 5, 2), 0.5, dtype=F64)


def two_states() -> FiniteMDPs:
    """Action 1 leads from state 0 to state 1 for good, where each step pays 1; action 0 stays."""
    reward = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]], dtype=F64)
    transition = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]], dtype=F64)
    return FiniteMDPs(reward, transition, torch.tensor([[1.0, 0.0]], dtype=F64))


def test_two_states_by_hand():
    """Uniform policy, γ = 1/2. V(1) = 1 / (1 − 1/2) = 2; V(0) = ½ · ½ V(0) + ½ · ½ · 2, so V(0) =
    ½ / ¾ = 2/3. A(0, stay) = ½ · 2/3 − 2/3 = −1/3, A(0, go) = ½ · 2 − 2/3 = 1/3. Visits of state 0:
    ½ Σ_t (½ · ½)^t = ½ · 4/3 = 2/3. The return per step is ½ V(0) = 1/3.
    """
    worth = evaluate(two_states(), torch.full((1, 2, 2), 0.5, dtype=F64), 0.5)
    torch.testing.assert_close(worth.visits_PS, torch.tensor([[2 / 3, 1 / 3]], dtype=F64))
    expected = torch.tensor([[[-1 / 3, 1 / 3], [0.0, 0.0]]], dtype=F64)
    torch.testing.assert_close(worth.advantage_PSA, expected)
    torch.testing.assert_close(worth.return_P, torch.tensor([1 / 3], dtype=F64))


def test_the_solve_equals_a_thousand_steps():
    mdps, discount = random_mdps(KEYS), 0.9
    policy = rng.uniform(rng.fold_in(KEYS, 9), 10).view(6, 5, 2).softmax(dim=2)
    worth = evaluate(mdps, policy, discount)
    chance, visits, weight = mdps.start_PS, torch.zeros(6, 5, dtype=F64), 1.0 - discount
    for _ in range(1000):
        visits, weight = visits + weight * chance, weight * discount
        pair = chance.unsqueeze(2) * policy
        chance = (pair.unsqueeze(3) * mdps.transition_PSAS).sum(dim=(1, 2))
    torch.testing.assert_close(worth.visits_PS, visits)
    returns = (visits.unsqueeze(2) * policy * mdps.reward_PSA).sum(dim=(1, 2))
    torch.testing.assert_close(worth.return_P, returns)
    mean_advantage = (policy * worth.advantage_PSA).sum(dim=2)
    torch.testing.assert_close(mean_advantage, torch.zeros(6, 5, dtype=F64))


def test_transitions_are_probabilities_and_rewards_are_the_published_ones():
    for mdps in (chains(KEYS), random_mdps(KEYS)):
        assert (mdps.transition_PSAS >= 0).all()
        sums = mdps.transition_PSAS.sum(dim=3)
        torch.testing.assert_close(sums, torch.ones_like(sums))
    chain = chains(KEYS[:1])
    # The far end: on pays 0.8 · 1 + 0.2 · 0.2 = 0.84, back 0.8 · 0.2 + 0.2 · 1 = 0.36.
    expected = torch.tensor([[0.04, 0.16]] * 4 + [[0.84, 0.36]], dtype=F64)
    torch.testing.assert_close(chain.reward_PSA[0], expected)
    torch.testing.assert_close(
        chain.transition_PSAS[0, 1],
        torch.tensor([[0.2, 0, 0.8, 0, 0], [0.8, 0, 0.2, 0, 0]]).double(),
    )


def test_the_chain_tempts_a_myopic_rule():
    """The figures of its docstring, at γ = 0.9, from all 32 deterministic policies."""
    policies = torch.zeros(32, 5, 2, dtype=F64)
    for row, actions in enumerate(product(range(2), repeat=5)):
        policies[row, range(5), actions] = 1.0
    returns = evaluate(chains(torch.zeros(32, dtype=torch.int64)), policies, 0.9).return_P
    assert returns.argmax() == 0
    assert returns[0].item() == pytest.approx(0.255, abs=5e-4)
    assert returns[-1].item() == pytest.approx(0.160, abs=5e-4)
    worth = evaluate(chains(KEYS[:1]), UNIFORM, 0.9)
    assert worth.return_P.item() == pytest.approx(0.121, abs=5e-4)
    assert (worth.advantage_PSA[0, :, 1] > 0).tolist() == [True, True, False, False, False]
    assert worth.visits_PS[0, :2].sum().item() == pytest.approx(0.80, abs=5e-3)


def test_random_mdps_depend_on_their_key_alone():
    alone, among = random_mdps(KEYS[2:3]), random_mdps(KEYS)
    assert torch.equal(alone.reward_PSA[0], among.reward_PSA[2])
    assert torch.equal(alone.transition_PSAS[0], among.transition_PSAS[2])
    assert not torch.equal(among.reward_PSA[1], among.reward_PSA[2])
