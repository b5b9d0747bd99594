"""The LPG network, against the slow way: one agent, one copy, one step at a time.

Shape legend: P agents, T time, E copies, M parameters, m categories.
"""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn

from quickstudy.agents.objectives.lifetime import TIME_FEATURES, Lifetime
from quickstudy.agents.objectives.lpg import LPG, Experience, LPGConfig
from quickstudy.envs import rng

P, T, E, SIZE = 3, 6, 2, 4
SMALL = LPGConfig(width=5, prediction_size=SIZE, embedding_width=3)
LIFETIME = Lifetime(torch.tensor([0, 7, 2]), torch.tensor([1, 10, 50]))


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Float64 draws."""
    key = rng.root_key(seed, rng.Stream.BOOTSTRAP)
    return rng.normal(key, math.prod(shape)).reshape(shape)


def rules(lpg: LPG) -> Tensor:
    """One for each agent, biases included."""
    return 0.7 * normal(P, lpg.layout.num_parameters, seed=1)


def experience() -> Experience:
    ended = normal(P, T, E, seed=4) > 0.8
    assert 0 < int(ended.sum()) < ended.numel() // 2
    return Experience(
        reward=normal(P, T, E, seed=2),
        ended=ended,
        prob=torch.sigmoid(normal(P, T, E, seed=3)),
        prediction=normal(P, T + 1, E, SIZE, seed=5).softmax(dim=-1),
        discount=torch.tensor([0.9, 0.99, 0.5], dtype=torch.float64),
    )


def of_agents(lived: Experience, index: slice) -> Experience:
    return Experience(*(getattr(lived, field.name)[index] for field in fields(lived)))


def gru_cell(parts: dict[str, Tensor]) -> nn.GRUCell:
    """Torch's, whose only bias on the recurrent side is the proposal's."""
    inputs, gates = parts["input"].shape
    cell = nn.GRUCell(inputs, gates // 3, dtype=torch.float64)
    zero = torch.zeros(2 * gates // 3, dtype=torch.float64)
    cell.load_state_dict(
        {
            "weight_ih": parts["input"].T,
            "weight_hh": parts["recurrent"].T,
            "bias_ih": parts["input_bias"],
            "bias_hh": torch.cat([zero, parts["recurrent_bias"]]),
        }
    )
    return cell


@torch.no_grad()
def slowly(lpg: LPG, rule_M: Tensor, lived: Experience, time_F: Tensor, p: int, e: int):
    """π̂ and log ŷ of one copy of one agent, from the last step to the first."""
    parts = lpg.layout.parts(rule_M)
    cell, state, found = gru_cell(parts), None, {}

    def phi(y_m: Tensor) -> Tensor:
        hidden = (y_m @ parts["embedding_in"] + parts["embedding_in_bias"]).relu()
        return hidden @ parts["embedding_out"] + parts["embedding_out_bias"]

    for t in reversed(range(T)):
        ended = bool(lived.ended[p, t, e])
        phi_next = phi(lived.prediction[p, t + 1, e])
        x = [
            lived.reward[p, t, e].reshape(1),
            lived.discount[p].reshape(1) * (not ended),
            lived.prob[p, t, e].reshape(1),
            phi(lived.prediction[p, t, e]),
            torch.zeros_like(phi_next) if ended else phi_next,
            lived.discount[p].reshape(1),
            time_F,
        ]
        if ended:
            state = None
        state = cell(torch.cat(x), state)
        out = state.relu() @ parts["head"] + parts["head_bias"]
        found[t] = (out[0], out[1:].log_softmax(dim=0))
    return found


@pytest.mark.parametrize("time", TIME_FEATURES)
def test_the_network_step_by_step(time):
    lpg, lived = LPG(replace(SMALL, time=time)), experience()
    rule_PM = rules(lpg)
    pi_hat_PTE, log_y_hat_PTEm = lpg.targets(rule_PM, lived, LIFETIME)
    time_PF = LIFETIME.features(time).double()
    for p in range(P):
        for e in range(E):
            slow = slowly(lpg, rule_PM[p], lived, time_PF[p], p, e)
            for t in range(T):
                torch.testing.assert_close(pi_hat_PTE[p, t, e], slow[t][0])
                torch.testing.assert_close(log_y_hat_PTEm[p, t, e], slow[t][1])


def test_stacked_agents_are_single_ones_side_by_side():
    lpg, lived = LPG(SMALL), experience()
    rule_PM = rules(lpg)
    together = lpg.targets(rule_PM, lived, LIFETIME)
    for p in range(P):
        one = slice(p, p + 1)
        lifetime = Lifetime(LIFETIME.updates[one], LIFETIME.total[one])
        alone = lpg.targets(rule_PM[one], of_agents(lived, one), lifetime)
        for many, single in zip(together, alone, strict=True):
            torch.testing.assert_close(many[one], single)


def test_nothing_passes_the_end_of_an_episode():
    """What comes after it does not count for what came before: neither reward nor prediction."""
    lpg = LPG(SMALL)
    lived = replace(experience(), ended=torch.zeros(P, T, E, dtype=torch.bool))
    lived.ended[:, 2] = True
    rule_PM = rules(lpg)
    later = replace(lived, reward=lived.reward.clone(), prediction=lived.prediction.clone())
    later.reward[:, 3:] += 1.0
    later.prediction[:, 3:] = 1.0 / SIZE
    before, after = (lpg.targets(rule_PM, x, LIFETIME)[0] for x in (lived, later))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).any()
    through = replace(later, ended=torch.zeros_like(later.ended))
    onward = replace(lived, ended=torch.zeros_like(later.ended))
    before, after = (lpg.targets(rule_PM, x, LIFETIME)[0] for x in (onward, through))
    assert not torch.isclose(before[:, :3], after[:, :3]).all(dim=2).any()


def test_gradients_by_finite_differences():
    lpg, lived = LPG(LPGConfig(width=2, prediction_size=2, embedding_width=2)), experience()
    lived = replace(lived, prediction=lived.prediction[..., :2].requires_grad_())
    rule_PM = (0.7 * normal(P, lpg.layout.num_parameters, seed=1)).requires_grad_()

    def of(rule: Tensor, prediction: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
        changed = replace(lived, prediction=prediction, reward=reward)
        return lpg.targets(rule, changed, LIFETIME)

    inputs = (rule_PM, lived.prediction, lived.reward.requires_grad_())
    assert torch.autograd.gradcheck(of, inputs, fast_mode=True)


def test_a_shared_rule_gathers_the_gradients_of_all():
    lpg, lived = LPG(SMALL), experience()
    rule_M = lpg.first_rule(0).double().requires_grad_()
    lpg.targets(rule_M.expand(P, -1), lived, LIFETIME)[0].sum().backward()
    stacked = rule_M.detach().expand(P, -1).clone().requires_grad_()
    lpg.targets(stacked, lived, LIFETIME)[0].sum().backward()
    torch.testing.assert_close(rule_M.grad, stacked.grad.sum(dim=0))


def test_lives_differ_by_their_length_alone_where_it_is_shown():
    """Two agents with the same rule and experience, of lives of 2 and 4 updates."""
    lived = of_agents(experience(), slice(0, 1))
    lived = Experience(*(getattr(lived, f.name).repeat_interleave(2, 0) for f in fields(lived)))
    lifetime = Lifetime(torch.tensor([1, 2]), torch.tensor([2, 4]))
    told = {}
    for time in TIME_FEATURES:
        lpg = LPG(replace(SMALL, time=time))
        rule_PM = 0.7 * normal(lpg.layout.num_parameters, seed=1).expand(2, -1)
        pi_hat_PTE, _ = lpg.targets(rule_PM, lived, lifetime)
        told[time] = not torch.equal(pi_hat_PTE[0], pi_hat_PTE[1])
    assert told == {
        "none": False,
        "raw": True,
        "fraction": False,
        "fraction-log": True,
        "remaining": True,
    }


def test_the_first_rule_is_a_function_of_the_seed():
    lpg = LPG(LPGConfig())
    assert lpg.first_rule(0).dtype == torch.float32
    assert torch.equal(lpg.first_rule(0), lpg.first_rule(0))
    assert not torch.equal(lpg.first_rule(0), lpg.first_rule(1))
    parts = lpg.layout.parts(lpg.first_rule(0))
    # 16 inputs of the recurrent part: standard deviation 1/4, over 768 draws within a tenth.
    assert float(parts["recurrent"].std()) == pytest.approx(0.25, rel=0.1)
    assert not parts["head_bias"].any()


def test_the_number_of_parameters_by_hand():
    """H = 16, m = 8, φ 8→16→1: 8·16 + 16 + 16 + 1 = 161; inputs 5 + γ + 2 of time = 8, gates 48:
    8·48 + 48 = 432; recurrent 16·48 + 16 = 784; heads 16·9 + 9 = 153; in all 1530.
    """
    assert LPG(LPGConfig()).layout.num_parameters == 1530
