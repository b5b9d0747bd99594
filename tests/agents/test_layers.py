"""The fast tanh against torch's, and a head against the same layers on joined features."""

import torch

from quickstudy.agents.layers import Head, tanh


def test_tanh_is_torchs_to_2e_7_even_where_it_saturates():
    x = torch.cat([torch.linspace(-12, 12, 10_001), torch.tensor([-1e30, 0.0, 1e30])])
    assert float((tanh(x).double() - x.double().tanh()).abs().max()) < 2e-7


def test_tanh_has_the_derivative_1_minus_its_square():
    x = torch.linspace(-3, 3, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tanh, x)


def test_a_head_reads_learned_and_given_features_as_if_they_were_joined():
    """Values and gradients; only the given features get none."""
    head = Head(5, 3, 7, 2, torch.Generator().manual_seed(0), gain=1.0)
    learned, given = torch.randn(2, 4, 5, requires_grad=True), torch.randn(2, 4, 3)
    y = head(learned, given)
    y.square().sum().backward()
    gradients = [learned.grad, *(p.grad for p in head.parameters())]
    joined = torch.cat([learned.detach(), given], dim=-1).requires_grad_()
    head.zero_grad()
    expected = head.output(torch.tanh(head.hidden(joined)))
    expected.square().sum().backward()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    assert joined.grad is not None
    references = [joined.grad[..., :5], *(p.grad for p in head.parameters())]
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-5)
