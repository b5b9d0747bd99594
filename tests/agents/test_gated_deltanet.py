"""The gated delta rule and the convolution: slow loops, steps by hand, what the rule is for.

Shape legend: T time, B worlds, H heads, K features of a key, V of a value, F convolved features, J
past taps.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from quickstudy.agents.models import GatedDeltaNetConfig
from quickstudy.agents.models.gated_deltanet import DeltaRule, convolve, delta_scan, delta_step

B, H, K, V = 3, 2, 4, 5
EXACT = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draws(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def random_rule(T: int, fading: float = 0.3) -> DeltaRule:
    """Leaves of the graph; keys and queries of length one."""
    rule = DeltaRule(
        functional.normalize(draws(T, B, H, K, seed=0), dim=-1),
        functional.normalize(draws(T, B, H, K, seed=1), dim=-1),
        draws(T, B, H, V, seed=2),
        -fading * draws(T, B, H, seed=3).exp(),
        draws(T, B, H, seed=4).sigmoid(),
    )
    return DeltaRule(*(each.requires_grad_() for each in rule))


def random_memory() -> Tensor:
    return draws(B, H, K, V, seed=5).requires_grad_()


def resets(T: int) -> Tensor:
    """World 0 never, 1 at the start and at the end, 2 every third step and twice in a row."""
    reset_TB = torch.zeros(T, B, dtype=torch.bool)
    reset_TB[[0, -1], 1] = True
    reset_TB[::3, 2] = True
    reset_TB[1:2, 2] = True
    return reset_TB


def slow_scan(rule: DeltaRule, reset_TB: Tensor, memory: Tensor):
    """The docstring's formulae, one world and one head at a time."""
    y = torch.stack([torch.zeros(B, H, V, dtype=torch.float64)] * len(reset_TB))
    last = torch.zeros_like(memory)
    for b in range(B):
        for h in range(H):
            S = memory[b, h]
            for t in range(len(reset_TB)):
                q, k, v, log_alpha, beta = (each[t, b, h] for each in rule)
                S = torch.zeros_like(S) if reset_TB[t, b] else log_alpha.exp() * S
                S = S + torch.outer(k, beta * (v - S.T @ k))
                y[t, b, h] = S.T @ q
            last[b, h] = S
    return y, last


@pytest.mark.parametrize("chunk", [1, 4, 7, 13, 64])
@pytest.mark.parametrize("fading", [0.3, 30.0], ids=["slow", "all but at once"])
def test_the_chunked_scan_is_the_recurrence_in_values_and_gradients(chunk, fading):
    """Chunks that divide the time, that do not, and one that is longer."""
    T = 13
    rule, reset_TB, memory = random_rule(T, fading), resets(T), random_memory()
    y, last = delta_scan(rule, reset_TB, memory, chunk)
    slow_y, slow_last = slow_scan(rule, reset_TB, memory)
    torch.testing.assert_close(y, slow_y, **EXACT)
    torch.testing.assert_close(last, slow_last, **EXACT)
    weights = draws(*y.shape, seed=6), draws(*last.shape, seed=7)
    sources = [*rule, memory]
    gradients, references = (
        torch.autograd.grad((weights[0] * a).sum() + (weights[1] * z).sum(), sources)
        for a, z in ((y, last), (slow_y, slow_last))
    )
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, **EXACT)
        assert reference.abs().max() > 0


def test_nothing_at_all_passes_a_reset_within_a_chunk():
    """Neither values nor gradients, not even rounding, of what comes before step 3 of world 0."""
    T = 8
    rule, memory, reset_TB = random_rule(T), random_memory(), torch.zeros(T, B, dtype=torch.bool)
    reset_TB[3, 0] = True
    y, last = delta_scan(rule, reset_TB, memory, chunk=8)
    gradients = torch.autograd.grad(y[3:, 0].sum() + last[0].sum(), [*rule, memory])
    for gradient in gradients[:-1]:
        assert not gradient[:3].any()
        assert gradient[4:, 0].any()
    assert not gradients[-1].any()
    changed = DeltaRule(*(each.detach().clone() for each in rule))
    for each in changed:
        each[:3] *= 0.5
    z, _ = delta_scan(changed, reset_TB, 1e6 * memory.detach(), chunk=8)
    assert torch.equal(z[3:, 0], y[3:, 0])


@pytest.mark.parametrize("kind", ["step", "scan"])
def test_one_step_worked_by_hand(kind):
    """Two keys, one value; the memory holds 4 under the first key and 2 under the second.

    α = 1/2: it fades to (2, 1). k = (0.6, 0.8) reads 1.2 + 0.8 = 2; v = 7 and β = 0.2 give u =
    0.2·(7 − 2) = 1. Written under k: (2 + 0.6, 1 + 0.8) = (2.6, 1.8). q = (0, 1) reads 1.8.
    """
    rows = ([0.0, 1.0], [0.6, 0.8], [7.0], math.log(0.5), 0.2)
    rule = DeltaRule(*(torch.tensor([[row]], dtype=torch.float64) for row in rows))
    memory = torch.tensor([[[[4.0], [2.0]]]], dtype=torch.float64)
    if kind == "step":
        y, memory = delta_step(rule, memory)
    else:
        rule = DeltaRule(*(each.unsqueeze(0) for each in rule))
        y, memory = delta_scan(rule, torch.zeros(1, 1, dtype=torch.bool), memory)
    assert y.flatten().tolist() == pytest.approx([1.8])
    assert memory.flatten().tolist() == pytest.approx([2.6, 1.8])


def test_a_key_written_again_holds_the_new_value_alone_and_others_theirs():
    """What the delta rule is for (a sum of outer products would hold both values): α = β = 1."""
    keys = torch.eye(2, dtype=torch.float64)[[0, 1, 0]].view(3, 1, 1, 2)
    values = torch.tensor([3.0, 5.0, -4.0], dtype=torch.float64).view(3, 1, 1, 1)
    nothing, ones = torch.zeros(3, 1, 1).double(), torch.ones(3, 1, 1).double()
    rule = DeltaRule(keys, keys, values, nothing, ones)
    blank = torch.zeros(1, 1, 2, 1).double()
    _, memory = delta_scan(rule, torch.zeros(3, 1, dtype=torch.bool), blank)
    assert memory.flatten().tolist() == [-4.0, 5.0]


def test_a_scan_in_single_precision_stays_close_for_a_thousand_steps_of_one_key():
    """The hardest case for a chunk's triangular system: all keys equal, nothing fades."""
    T = 1000
    rule = random_rule(T, fading=1e-4)
    rule = rule._replace(k_RHK=rule.k_RHK.detach()[:1].expand(T, B, H, K))
    never = torch.zeros(T, B, dtype=torch.bool)
    single = DeltaRule(*(each.detach().float() for each in rule))
    y, _ = delta_scan(single, never, random_memory().detach().float())
    memory = random_memory()
    for t in range(T):
        expected, memory = delta_step(DeltaRule(*(each[t] for each in rule)), memory)
    torch.testing.assert_close(y[-1].double(), expected, rtol=1e-4, atol=1e-5)


def slow_convolution(x_TBF: Tensor, reset_TB: Tensor, past_BJF: Tensor, taps_JF: Tensor):
    """A list of what has been seen, emptied at a reset."""
    y, last = torch.zeros_like(x_TBF), torch.zeros_like(past_BJF)
    for b in range(x_TBF.shape[1]):
        seen = list(past_BJF[b])
        for t in range(len(x_TBF)):
            seen = [torch.zeros_like(rows) for rows in seen] if reset_TB[t, b] else seen
            seen = [x_TBF[t, b], *seen]
            y[t, b] = sum(w * rows for w, rows in zip(taps_JF, seen, strict=True))
            seen.pop()
        last[b] = torch.stack(seen)
    return y, last


@pytest.mark.parametrize("T", [1, 2, 13])
def test_the_convolution_is_the_list_of_what_was_seen_in_values_and_gradients(T):
    """Also where fewer steps are read than it looks back."""
    F, J = 6, 3
    x, past, taps = draws(T, B, F, seed=0), draws(B, J, F, seed=1), draws(J + 1, F, seed=2)
    sources = [each.requires_grad_() for each in (x, past, taps)]
    results = [run(x, resets(T), past, taps) for run in (convolve, slow_convolution)]
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, **EXACT)
    losses = [
        (draws(T, B, F, seed=3) * y).sum() + (draws(B, J, F, seed=4) * last).sum()
        for y, last in results
    ]
    fast, slow = (torch.autograd.grad(loss, sources) for loss in losses)
    for gradient, reference in zip(fast, slow, strict=True):
        torch.testing.assert_close(gradient, reference, **EXACT)


def test_the_convolution_worked_by_hand():
    """One feature, weights 1, 10, 100, 1000 of now and of what was 1, 2, 3 steps ago.

    Before the first step it saw 7 (last), 8, 9. Inputs 1, 2, 3 with a reset at the third:
    1 + 70 + 800 + 9000 = 9871; 2 + 10 + 700 + 8000 = 8712; 3. It then holds 3, 0, 0.
    """
    x = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    reset_TB = torch.tensor([[False], [False], [True]])
    past, taps = (
        torch.tensor([[[7.0], [8.0], [9.0]]]),
        torch.tensor([[1.0], [10.0], [100.0], [1000.0]]),
    )
    y, last = convolve(x, reset_TB, past, taps)
    assert y.flatten().tolist() == [9871.0, 8712.0, 3.0]
    assert last.flatten().tolist() == [3.0, 0.0, 0.0]


@torch.no_grad()
def test_a_fresh_memorys_heads_fade_from_a_few_steps_to_the_horizon():
    """Time constants 256^(1/4) = 4, 16, 64 and 256 steps, where the input says nothing."""
    generator = torch.Generator().manual_seed(0)
    model = GatedDeltaNetConfig().build(3, generator, horizon=256)
    for block in model.blocks:
        rate_H = block.log_rate_H.exp() * functional.softplus(block.fading.bias)
        assert (1 / rate_H).tolist() == pytest.approx([4.0, 16.0, 64.0, 256.0], rel=1e-4)


def test_by_default_it_is_as_large_as_the_default_gru():
    model = GatedDeltaNetConfig().build(64, torch.Generator().manual_seed(0), 100)
    assert abs(sum(p.numel() for p in model.parameters()) - 74_500) < 0.05 * 74_500
