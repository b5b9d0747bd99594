"""The LSTM: torch's own cell, finite differences, one step by hand; the contract holds the rest.

Shape legend: T time, B worlds, D input features, H hidden units.
"""

import math

import pytest
import torch
from torch import nn

from quickstudy.agents.models import LSTMConfig
from quickstudy.agents.models.lstm import LSTM

D, H = 3, 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_lstm(input_size: int = D, hidden_size: int = H) -> LSTM:
    return LSTMConfig(hidden_size).build(input_size, generator(), horizon=10).double()


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).requires_grad_()


def torchs_cell(lstm: LSTM) -> nn.LSTMCell:
    """The same weights; torch adds a second bias, here zero."""
    cell = nn.LSTMCell(D, H).double()
    with torch.no_grad():
        cell.weight_ih.copy_(lstm.input_projection.weight)
        cell.weight_hh.copy_(lstm.hidden_weight)
        cell.bias_ih.copy_(lstm.input_projection.bias)
        cell.bias_hh.zero_()
    return cell


def test_steps_and_scan_are_torchs_cell_in_values_and_gradients():
    """Over more than two blocks of steps."""
    lstm, (T, B) = make_lstm(), (37, 2)
    cell, x_TBD = torchs_cell(lstm), random(T, B, D)
    h_BH, c_BH = random(B, H, seed=2), random(B, H, seed=3)
    never = torch.zeros(T, B, dtype=torch.bool)
    scanned, (h_last, c_last) = lstm.scan(x_TBD, never, (h_BH, c_BH))
    state, stepped, theirs, outputs = (h_BH, c_BH), [], (h_BH, c_BH), []
    for t in range(T):
        y, state = lstm.step(x_TBD[t], never[t], state)
        theirs = cell(x_TBD[t], theirs)
        stepped.append(y)
        outputs.append(theirs[0])
    expected = torch.stack(outputs)
    torch.testing.assert_close(scanned, expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(torch.stack(stepped), expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close((h_last, c_last), theirs, rtol=1e-11, atol=1e-12)
    ours = [lstm.input_projection.weight, lstm.hidden_weight, lstm.input_projection.bias]
    gradients = torch.autograd.grad(
        scanned.square().sum() + c_last.sum(), [x_TBD, h_BH, c_BH, *ours]
    )
    references = torch.autograd.grad(
        expected.square().sum() + theirs[1].sum(),
        [x_TBD, h_BH, c_BH, cell.weight_ih, cell.weight_hh, cell.bias_ih],
    )
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-11)


def test_the_scan_passes_gradcheck():
    """Its hand-written backward agrees with finite differences, in h, c and all weights."""
    lstm = make_lstm(2, 3)
    reset_TB = torch.zeros(18, 2, dtype=torch.bool)
    reset_TB[0, 1] = reset_TB[7, 0] = reset_TB[16, 1] = True
    names, parameters = zip(*lstm.named_parameters(), strict=True)

    def scan(x, h, c, *weights):
        replaced = {f"lstm.{name}": rows for name, rows in zip(names, weights, strict=True)}
        y, (_, c_last) = torch.func.functional_call(_Scan(lstm), replaced, (x, reset_TB, (h, c)))
        return y, c_last

    inputs = random(18, 2, 2), random(2, 3, seed=2), random(2, 3, seed=3)
    assert torch.autograd.gradcheck(scan, (*inputs, *parameters))


class _Scan(nn.Module):
    """A model whose forward pass is its scan, for `functional_call`."""

    def __init__(self, lstm: LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, *arguments):
        return self.lstm.scan(*arguments)


@pytest.mark.parametrize("kind", ["step", "scan"])
def test_one_step_worked_by_hand(kind):
    """One unit, x = 1, h = 0.5, c = −1; the pre-activations are weight·1 + weight·0.5 + bias.

    i = 0.2 + 2·0.5 = 1.2, f = −0.4 + 0 + 1 = 0.6 (the bias is 1), g = 0.5 − 1·0.5 = 0,
    o = 0 + 1·0.5 = 0.5, all before their non-linearities. c' = σ(0.6)·(−1) + σ(1.2)·tanh 0 =
    −σ(0.6); h' = σ(0.5)·tanh(−σ(0.6)).
    """
    lstm = make_lstm(1, 1)
    with torch.no_grad():
        lstm.input_projection.weight.copy_(torch.tensor([[0.2], [-0.4], [0.5], [0.0]]))
        lstm.hidden_weight.copy_(torch.tensor([[2.0], [0.0], [-1.0], [1.0]]))
    x, state = (
        torch.ones(1, 1).double(),
        (torch.tensor([[0.5]]).double(), -torch.ones(1, 1).double()),
    )
    reset = torch.zeros(1, dtype=torch.bool)
    y, (h, c) = (
        lstm.step(x, reset, state)
        if kind == "step"
        else lstm.scan(x.unsqueeze(0), reset.unsqueeze(0), state)
    )
    sigma = 1 / (1 + math.exp(-0.6))
    assert c.item() == pytest.approx(-sigma, abs=1e-8)
    assert h.item() == pytest.approx(math.tanh(-sigma) / (1 + math.exp(-0.5)), abs=1e-8)
    assert y.item() == h.item()


def test_a_new_lstm_keeps_more_than_it_forgets():
    bias_4H = make_lstm().input_projection.bias.view(4, H)
    assert torch.equal(bias_4H[1], torch.ones(H).double())
    assert not bias_4H[[0, 2, 3]].any()


def test_by_default_it_is_as_large_as_the_default_gru():
    lstm = LSTMConfig().build(64, generator(), horizon=100)
    assert sum(p.numel() for p in lstm.parameters()) == 4 * 108 * (64 + 108 + 1)
    assert abs(4 * 108 * (64 + 108 + 1) - 74_500) < 0.05 * 74_500
