"""Lives without chance: one update by hand, the true gradient, and the contract."""

import dataclasses
import math

import pytest
import torch

from quickstudy.agents.lifetimes import exact_rule
from quickstudy.agents.lifetimes.exact import ExactConfig, ExactLifetimes
from quickstudy.agents.lifetimes.exact_mdps import Evaluation
from quickstudy.agents.lifetimes.lifetimes import rows_of
from quickstudy.envs import rng

F64 = torch.float64
KEYS = rng.world_keys(5, rng.Stream.TASK, 6)
RANDOM = ExactConfig(mdp="random", initial_spread=0.5, num_updates=6)


def rules(lifetimes: ExactLifetimes, num_rules: int) -> torch.Tensor:
    """Different rules, with every part at work."""
    keys = rng.world_keys(8, rng.Stream.TASK, num_rules)
    return lifetimes.first_rule(0) + 0.3 * rng.normal(keys, lifetimes.num_parameters)


def two_states() -> dict[str, torch.Tensor]:
    """State 0, where action 1 leads to state 1 for good; there each step pays 1."""
    return {
        "updates": torch.zeros(1, dtype=torch.int64),
        "total": torch.ones(1, dtype=torch.int64),
        "steps": torch.zeros(1, dtype=torch.int64),
        "logits": torch.zeros(1, 2, 2, dtype=F64),
        "reward": torch.tensor([[[0.0, 0.0], [1.0, 1.0]]], dtype=F64),
        "transition": torch.tensor([[[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]]], dtype=F64),
        "start": torch.tensor([[1.0, 0.0]], dtype=F64),
    }


def test_two_states_and_one_update_by_hand():
    """γ = ½, learning rate 9: d(0) = 2/3, π = ½, A(0, go) = 1/3 (test_exact_mdps), so going gains
    9 · 2/3 · ½ · 1/3 = 1 and staying loses 1. Then p(go) = 1 / (1 + e⁻²), V(0) = 2p / (1 + p), and
    the return per step is p / (1 + p). One update and one score are charged.
    """
    lifetimes = ExactConfig(discount=0.5, learning_rate=9.0, num_updates=1).build()
    rows = lifetimes.learn(lifetimes.first_rule(0).unsqueeze(0), two_states(), 1)
    expected = torch.tensor([[[-1.0, 1.0], [0.0, 0.0]]], dtype=F64)
    torch.testing.assert_close(rows["logits"], expected)
    score, cost = lifetimes.score(rows)
    chance = 1 / (1 + math.exp(-2))
    assert score.item() == pytest.approx(chance / (1 + chance), rel=1e-12)
    assert (rows["updates"].item(), rows["steps"].item(), cost.item()) == (1, 320, 320)


def test_the_rule_by_hand():
    """One state, π = (¾, ¼), A = (1, −3), x = ½, one hidden unit. W₁ = (1, 0, 2), b₁ = −1: the unit
    sees A + 0 · log π + 2 · ½ − 1 = A, so u = A + 2 tanh A. β = 0.5 + 1 · ½ = 1. w = u − log π.
    """
    layout = exact_rule.rule_layout(1, 1)
    row = torch.tensor([[1.0, 0.0, 2.0, -1.0, 2.0, 1.0, 0.5]], dtype=F64)
    logits = torch.tensor([[[math.log(3.0), 0.0]]], dtype=F64)
    advantage = torch.tensor([[[1.0, -3.0]]], dtype=F64)
    worth = Evaluation(torch.ones(1, 1, dtype=F64), advantage, torch.zeros(1, dtype=F64))
    features = torch.tensor([[0.5]], dtype=F64)
    move = exact_rule.direction(layout.parts(row), features, logits, worth)
    wish = [1 + 2 * math.tanh(1) - math.log(0.75), -3 - 2 * math.tanh(3) - math.log(0.25)]
    mean = 0.75 * wish[0] + 0.25 * wish[1]
    expected = [0.75 * (wish[0] - mean), 0.25 * (wish[1] - mean)]
    torch.testing.assert_close(move, torch.tensor([[expected]], dtype=F64))


def test_generation_0_climbs_the_true_gradient():
    """Autograd through the linear solve knows nothing of the policy gradient theorem."""
    lifetimes = RANDOM.build()
    rows = lifetimes.begin(KEYS)
    rows["logits"].requires_grad_()
    (gradient,) = torch.autograd.grad(lifetimes.surrogate(rows)[0].sum(), rows["logits"])
    first = lifetimes.first_rule(1).expand(6, -1)
    for moved in (lifetimes.learn(first, rows, 1), lifetimes.improve(rows)):
        torch.testing.assert_close(moved["logits"], rows["logits"] + 10.0 * gradient)
        assert (moved["steps"] == 320).all()
    assert (lifetimes.improve(rows)["updates"] == 0).all()


def test_the_entropy_bonus_is_the_gradient_of_entropy():
    """With A = 0 and u = A, only β ∇ Σ_s d(s) H(π(·|s)) is left."""
    layout = exact_rule.rule_layout(2, 0)
    row = torch.zeros(1, layout.num_parameters, dtype=F64)
    row[0, -1] = 0.7
    logits = rng.normal(KEYS[:1], 10).view(1, 5, 2).requires_grad_()
    visits = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0]], dtype=F64)
    policy = logits.softmax(dim=2)
    entropy = -(visits * (policy * policy.log()).sum(dim=2)).sum()
    (gradient,) = torch.autograd.grad(entropy, logits)
    worth = Evaluation(visits, torch.zeros(1, 5, 2, dtype=F64), torch.zeros(1, dtype=F64))
    move = exact_rule.direction(layout.parts(row), torch.zeros(1, 0).double(), logits, worth)
    torch.testing.assert_close(move, 0.7 * gradient)


def test_divergence_by_hand():
    """In state 0 the target goes with ¾, the policy with ½: KL = ¾ ln(3/2) + ¼ ln(1/2); d(0) = 2/3.
    Without gradient to the target, and with −d(0) (π_target − π) to the policy's logits.
    """
    lifetimes = ExactConfig(discount=0.5).build()
    target, rows = two_states(), two_states()
    target["logits"] = torch.tensor([[[0.0, math.log(3)], [0, 0]]], dtype=F64).requires_grad_()
    rows["logits"].requires_grad_()
    divergence = lifetimes.divergence(target, rows)
    expected = 2 / 3 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert divergence.item() == pytest.approx(expected, rel=1e-12)
    divergence.sum().backward()
    assert target["logits"].grad is None
    step = torch.tensor([[[1 / 6, -1 / 6], [0.0, 0.0]]], dtype=F64)
    torch.testing.assert_close(rows["logits"].grad, step)


def test_the_same_again_and_whoever_stands_beside():
    lifetimes = RANDOM.build()
    rule = rules(lifetimes, 6)
    lived, again = lifetimes.live(rule, KEYS), lifetimes.live(rule, KEYS)
    assert torch.equal(lived.score_P, again.score_P)
    alone = lifetimes.live(rule[4:5], KEYS[4:5])
    assert alone.score_P.item() == pytest.approx(lived.score_P[4].item(), rel=1e-13)
    assert lived.score_P.unique().numel() == 6
    assert (lived.steps_P == 7 * 320).all()


def test_a_life_in_pieces_is_the_same_life_and_the_past_is_unharmed():
    lifetimes = RANDOM.build()
    rule, rows = rules(lifetimes, 6), lifetimes.begin(KEYS)
    before = {name: row.clone() for name, row in rows.items()}
    whole = lifetimes.learn(rule, rows, 6)
    pieces = lifetimes.learn(rule, lifetimes.learn(rule, rows, 2), 4)
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)
    assert all(torch.equal(rows[name], before[name]) for name in rows)
    assert (rows_of(whole, slice(2, 3))["updates"] == 6).all()


def test_float32_rules_learn_in_float64():
    lifetimes = RANDOM.build()
    rule = rules(lifetimes, 6).float()
    assert torch.equal(
        lifetimes.live(rule, KEYS).score_P, lifetimes.live(rule.double(), KEYS).score_P
    )
    assert lifetimes.live(rule, KEYS).score_P.dtype == F64


def test_plain_policy_gradient_on_the_chain_earns_what_the_config_says():
    lifetimes = ExactConfig().build()
    key = KEYS[:1]
    assert lifetimes.score(lifetimes.begin(key))[0].item() == pytest.approx(0.121, abs=5e-4)
    lived = lifetimes.live(lifetimes.first_rule(0).unsqueeze(0), key)
    assert lived.score_P.item() == pytest.approx(0.233, abs=5e-4)


def test_a_policy_that_has_made_up_its_mind_gives_no_nan():
    """Logits far apart: a probability of 0 in float64 gives no NaN anywhere."""
    lifetimes = RANDOM.build()
    rows = lifetimes.begin(KEYS)
    rows["logits"] = torch.tensor([0.0, 2000.0], dtype=F64).expand(6, 5, 2)
    moved = lifetimes.learn(rules(lifetimes, 6), rows, 3)
    assert moved["logits"].isfinite().all()
    assert lifetimes.score(moved)[0].isfinite().all()


@pytest.mark.parametrize("time", ["none", "raw", "fraction", "fraction-log", "remaining"])
def test_every_kind_of_time_is_learnt_by(time):
    lifetimes = dataclasses.replace(RANDOM, time=time).build()
    assert lifetimes.live(rules(lifetimes, 6), KEYS).score_P.isfinite().all()


def test_a_users_mistakes_are_named():
    with pytest.raises(ValueError, match="Did you mean 'chain'"):
        ExactConfig(mdp="chian").build()
    with pytest.raises(ValueError, match=r"discount must be at least 0 and below 1, got 1\.0"):
        ExactConfig(discount=1.0).build()
    with pytest.raises(ValueError, match="num_updates must be an integer of at least 1, got 0"):
        ExactConfig(num_updates=0).build()
