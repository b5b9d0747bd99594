"""Probes of LPG: rules made by hand, whose answers are known.

Shape legend: P agents, T steps, E copies, S states, M parameters.
"""

import math

import pytest
import torch

from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout, as_rows, draws, play
from quickstudy.agents.objectives.lpg import LPG, LPGConfig
from quickstudy.envs import rng
from quickstudy.envs.tabular.random_mdps import RandomMDPs
from quickstudy.experiments.discovery.lpg_probes import exact_worth, probe_life, regress, returns
from quickstudy.experiments.discovery.lpg_report import verdict

NETWORK = LPG(LPGConfig(width=2, prediction_size=3, embedding_width=1, time="none"))
REWARD, OWN, NEXT = 0, 3, 4
"""Inputs by their place."""
SMALL = 1e-2
"""tanh is straight for arguments this small."""


def handmade(**inputs: float) -> torch.Tensor:
    """A rule of π̂ = Σ weight × input, and φ(y) = y₀: the gates forget the past at once, and the
    two units are ± the sum, of which one passes the ReLU. ŷ is uniform.
    """
    places = {"reward": REWARD, "own": OWN, "next": NEXT}
    rule_M = torch.zeros(NETWORK.layout.num_parameters)
    parts = NETWORK.layout.parts(rule_M)  # views
    for name, weight in inputs.items():
        parts["input"][places[name], 4:] = torch.tensor([1.0, -1.0]) * weight * SMALL
    parts["input_bias"][2:4] = -30.0
    parts["head"][:, 0] = torch.tensor([1.0, -1.0]) / SMALL
    parts["embedding_in"][0, 0] = 1.0
    parts["embedding_out"][0, 0] = 1.0
    return rule_M


def probe(rule_M, total=6):
    return probe_life(NETWORK, rule_M, total, (0.0, 0.98))


def test_a_rule_that_pays_rewards_on():
    first, last = probe(handmade(reward=1.0))
    assert (first.updates, last.updates) == (0, 5)
    assert first.on_reward.slope == pytest.approx(1.0, abs=2e-3)
    assert first.on_reward.r2 == pytest.approx(1.0, abs=1e-5)
    # The reward is part of return and advantage, but not all.
    assert 0.0 < first.on_return.r2 < 0.9
    assert 0.3 < first.on_advantage.r2 < 0.99
    assert first.weight_by_next == first.weight_by_own == first.target_by_next == 0.0
    assert first.target_entropy == pytest.approx(1.0)
    # Rewards are standard normal.
    assert first.weight_size == pytest.approx(1.0, abs=0.15)
    assert first.step > 0.0
    assert "none" in verdict(first)


def test_a_rule_of_temporal_differences():
    """π̂ = φ(y(s')) − φ(y(s)): one up, one down; it sees no reward. Every prediction is uniform and
    stays so, as ŷ is: φ tells no state from another.
    """
    first, _ = probe(handmade(next=1.0, own=-1.0))
    assert first.weight_by_next == pytest.approx(1.0, abs=1e-3)
    assert first.weight_by_own == pytest.approx(-1.0, abs=1e-3)
    assert math.isnan(first.prediction_worth)
    assert first.on_reward.r2 < 0.1


def test_a_rule_that_says_nothing():
    first, _ = probe(handmade())
    assert (first.weight_size, first.step) == (0.0, pytest.approx(0.0, abs=1e-7))
    assert math.isnan(first.on_reward.r2)
    assert first.on_reward.slope == 0.0


def test_targets_and_learned_predictions():
    """A drawn rule: targets are not uniform, predictions learn to tell states apart."""
    rule_M = NETWORK.first_rule(1) + 0.3 * torch.arange(NETWORK.layout.num_parameters).sin()
    first, last = probe(rule_M)
    assert 0.0 < first.target_entropy < 1.0
    assert math.isnan(first.prediction_worth)
    assert 0.0 < abs(last.prediction_worth) < 1.0
    assert last.target_by_next != 0.0
    assert probe(rule_M) == [first, last]


def test_verdicts():
    _, last = probe(handmade(next=1.0, reward=1.0))
    known = dict(updates=3, prediction_worth=0.5, weight_by_next=0.2, weight_by_own=-0.1)
    critic = type(last)(**{**vars(last), **known})
    assert "as a critic does" in verdict(critic)
    against = type(last)(**{**vars(critic), "prediction_worth": -0.5})
    assert "against the states' values" in verdict(against)
    unknown = type(last)(**{**vars(critic), "prediction_worth": math.nan})
    assert "φ says nothing about V" in verdict(unknown)


def test_exact_worth_is_what_recursion_says():
    tasks, discount = RandomMDPs(num_states=3, num_actions=2, horizon=4), 0.9
    key_P = rng.world_keys(3, rng.Stream.BOOTSTRAP, 2)
    task = tasks.sample(key_P)
    worlds = tasks.begin(task, torch.zeros(2, 5, 1, dtype=torch.float64))
    logits_PSA = rng.normal(rng.fold_in(key_P, 7), 6).view(2, 3, 2).float()
    rows = as_rows(task, worlds) | {"logits": logits_PSA}
    rollout, _ = play(tasks, rows, draws(rng.fold_in(key_P, 8), 8, 5, 2))
    value_PTE, advantage_PTE = exact_worth(tasks, rows, rollout, discount)

    def q(p, t, s, a):
        row = task["cumulative"][p, s * 2 + a].tolist()
        chance = [high - low for low, high in zip([0.0, *row], row, strict=False)]
        rest = sum(c * value(p, t + 1, s2) for s2, c in enumerate(chance))
        return float(task["reward"][p, s * 2 + a]) + discount * rest

    def value(p, t, s):
        if t == 4:
            return 0.0
        policy = logits_PSA[p, s].double().softmax(dim=0).tolist()
        return sum(policy[a] * q(p, t, s, a) for a in range(2))

    for p in range(2):
        for t in (0, 2, 3, 6):
            s, a = int(rollout.state[p, t, 1]), int(rollout.action[p, t, 1])
            assert float(value_PTE[p, t, 1]) == pytest.approx(value(p, t % 4, s))
            expected = q(p, t % 4, s, a) - value(p, t % 4, s)
            assert float(advantage_PTE[p, t, 1]) == pytest.approx(expected)


def test_returns_by_hand():
    """γ = ½: 1 + 2/2 = 2, then 2 at the episode's end, then 3 + 4/2 = 5, 4."""
    row = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1)
    ended = torch.tensor([False, True, False, True]).view(1, 4, 1)
    rollout = TabularRollout(torch.zeros(1, 5, 1).long(), torch.zeros(1, 4, 1).long(), row, ended)
    assert returns(rollout, 0.5).flatten().tolist() == [2.0, 2.0, 5.0, 4.0]


def test_a_line_by_hand():
    """Means 1.5 and 1: Σxy = 1.5 + 0 + 0 + 1.5 = 3, Σx² = 5, Σy² = 2; slope 3/5, R² 9/10."""
    line = regress(torch.tensor([0.0, 1.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    assert (line.slope, line.r2) == (pytest.approx(0.6), pytest.approx(0.9))
