"""The fast tanh against torch's."""

import torch

from quickstudy.agents.layers import tanh


def test_tanh_is_torchs_to_2e_7_even_where_it_saturates():
    x = torch.cat([torch.linspace(-12, 12, 10_001), torch.tensor([-1e30, 0.0, 1e30])])
    assert float((tanh(x).double() - x.double().tanh()).abs().max()) < 2e-7


def test_tanh_has_the_derivative_1_minus_its_square():
    x = torch.linspace(-3, 3, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tanh, x)
