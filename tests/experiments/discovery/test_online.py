"""Rules learned within single lives: by hand, row by row, and on a bandit."""

from math import exp, log

import pytest
import torch

from quickstudy.agents.lifetimes.entropy_rules import constant_rule
from quickstudy.agents.lifetimes.lifetimes import detached
from quickstudy.agents.lifetimes.streams import StreamConfig, StreamLifetimes, network_of
from quickstudy.envs import rng
from quickstudy.envs.tabular.tabular_tasks import TabularStep
from quickstudy.envs.tabular.two_colours import TwoColours
from quickstudy.experiments.discovery.online import METHODS, Online, OnlineConfig

KEYS = rng.world_keys(1, rng.Stream.TASK, 3)


class Bandit:
    """Action 0 pays 1, action 1 nothing; the only feature is `shown`."""

    num_actions = 2
    num_draws = 1

    def __init__(self, shown=1.0):
        self.shown = shown

    def sample(self, key_P):
        return {}

    def begin(self, tasks, draw_PEU):
        return {"time": torch.zeros(draw_PEU.shape[:2])}

    def features(self, worlds):
        return torch.full((*worlds["time"].shape, 1), self.shown)

    def step(self, tasks, worlds, action_PE, draw_PEU):
        ended_PE = torch.zeros_like(action_PE, dtype=torch.bool)
        return TabularStep({"time": worlds["time"] + 1}, (action_PE == 0).float(), ended_PE)


def on_two_colours(method, keys=KEYS, **changes):
    config = StreamConfig(context="reward", width=6, rollout=4)
    lifetimes = StreamLifetimes(TwoColours(period=30), config)
    rule_PM = 0.3 * rng.normal(keys, lifetimes.num_parameters).float()
    return Online(lifetimes, OnlineConfig(method, **{"updates": 2, "bootstrap": 3} | changes),
                  rule_PM, keys)  # fmt: skip


def sigma(x):
    return 1 / (1 + exp(-x))


def by_hand(method):
    """One step per rollout, a policy of logits (ln 3, 0), a critic of 0, ε = σ(0) = ½, lr 0.1.

    The action is 0 each time: reward 1 and advantage 1 at first, and then, the critic having moved
    to 0.1, 0.9. With d the difference of the logits and p = σ(d) the policy gradient raises d by
    0.1 · 2 A (1 − p), and the entropy lowers it by 0.1 ε · 2 p (1 − p) d:

    d_1 = 1.0986 + 0.05 − 0.0206 = 1.1280; p_1 = 0.7555.
    """
    d_0 = log(3.0)
    slope = -0.1 * 2 * 0.75 * 0.25 * d_0  # d d_1 / d ε
    d_1 = d_0 + 0.1 * 2 * 0.25 + 0.5 * slope
    assert d_1 == pytest.approx(1.1280, abs=1e-4)
    p_1 = sigma(d_1)
    to_logit = slope * 0.5 * (1 - 0.5)
    if method == "bmg":
        # Target d_2 = d_1 + 0.1 · 2 · 0.9 (1 − p_1); dKL/dd_1 = p_1 − p_2.
        return (p_1 - sigma(d_1 + 0.18 * (1 - p_1))) * to_logit
    # −d(0.9 log p + 0.12 H)/dd = −(0.9 (1 − p) − 0.12 p (1 − p) d)
    return -(0.9 * (1 - p_1) - 0.12 * p_1 * (1 - p_1) * d_1) * to_logit


@pytest.mark.parametrize("method", ["mg", "bmg"])
def test_a_window_by_hand(method):
    lifetimes = StreamLifetimes(
        Bandit(shown=0.0), StreamConfig(context="constant", width=2, rollout=1, discount=0.0)
    )
    online = Online(lifetimes, OnlineConfig(method, 1, 1), torch.zeros(1, 1), KEYS[:1])
    for name, row in online.rows.items():
        if name.startswith(("policy", "critic")):
            online.rows[name] = torch.zeros_like(row)
    online.rows["policy.5"][0, 0, 0] = log(3.0)
    online.window()
    assert online.rows["earned"].item() == 2.0, "the key no longer draws action 0 twice"
    gradient = by_hand(method)
    assert online.rule_PM.grad.item() == pytest.approx(gradient, rel=1e-4)
    # Adam's first step: lr · g / (|g| + eps)
    expected = -1e-4 * gradient / (abs(gradient) + 1e-4)
    assert online.rule_PM.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_each_row_is_a_run_of_its_own(method):
    together = on_two_colours(method)
    for _ in range(3):
        together.window()
    for row in range(3):
        alone = on_two_colours(method, KEYS[row : row + 1])
        for _ in range(3):
            alone.window()
        torch.testing.assert_close(together.rule_PM[row], alone.rule_PM[0], rtol=1e-4, atol=1e-6)
        assert together.rows["earned"][row] == alone.rows["earned"][0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_lives_equally_many_steps(method):
    online = on_two_colours(method)
    before_PM = online.rule_PM.detach().clone()
    online.window()
    assert online.rows["steps"].tolist() == [5 * 4] * 3
    assert online.rows["updates"].tolist() == [5 if method == "fixed" else 4] * 3
    assert online.rows["world.time"].flatten().tolist() == [20] * 3
    assert torch.equal(online.rule_PM, before_PM) == (method == "fixed")
    assert not any(row.requires_grad for row in online.rows.values())


def test_the_stream_goes_on_with_the_agent_of_before_the_last_step():
    online = on_two_colours("bmg")
    start, rule_PM = online.rows, online.rule_PM.detach().clone()
    online.window()
    latest = online.lifetimes.learn(rule_PM, detached(start), 2 + 3 - 1)
    for name in ("policy", "critic"):
        found, expected = network_of(online.rows, name), network_of(latest, name)
        assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
    assert torch.equal(online.rows["context"][:, -2], latest["context"][:, -1])


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_restored_is_bit_equal(method):
    whole, second = on_two_colours(method), on_two_colours(method)
    for _ in range(2):
        whole.window()
    second.load_state_dict(whole.state_dict())
    for online in (whole, second):
        online.window()
        online.window()
    assert torch.equal(whole.rule_PM, second.rule_PM)
    assert all(torch.equal(row, second.rows[name]) for name, row in whole.rows.items())


@pytest.mark.parametrize("method", ["mg", "bmg"])
def test_rules_learn_that_exploring_does_not_pay(method):
    """A bandit that never changes: at ε = ½ agents stay at σ(2) = 0.88, greedy ones earn 1."""
    config = StreamConfig(context="constant", width=4, rollout=8, outer_entropy=0.0)
    lifetimes = StreamLifetimes(Bandit(), config)
    learning = OnlineConfig(method, 3, 5, lr=0.2)
    online = Online(lifetimes, learning, constant_rule(0.5).expand(3, -1), KEYS)
    for _ in range(30):
        online.window()
    before_P = online.rows["earned"]
    for _ in range(6):
        online.window()
    rate_P = (online.rows["earned"] - before_P) / (6 * 8 * 8)
    assert (online.rows["entropy_weight"] < 0.25).all(), online.rows["entropy_weight"]
    assert rate_P.mean() > 0.94, rate_P


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"Unknown method 'bgm'\. Did you mean 'bmg'"):
        on_two_colours("bgm")
    with pytest.raises(ValueError, match="bootstrap must be an integer of at least 1, got 0"):
        on_two_colours("mg", bootstrap=0)
