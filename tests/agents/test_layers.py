"""The fast tanh against torch's; norm and gated unit; what stays in float32 under autocast."""

import pytest
import torch
from torch.nn import functional

from quickstudy.agents.layers import full_precision, gated_residual, layer_norm, linear, tanh

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_tanh_is_torchs_to_2e_7_even_where_it_saturates():
    x = torch.cat([torch.linspace(-12, 12, 10_001), torch.tensor([-1e30, 0.0, 1e30])])
    assert float((tanh(x).double() - x.double().tanh()).abs().max()) < 2e-7


def test_tanh_has_the_derivative_1_minus_its_square():
    x = torch.linspace(-3, 3, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tanh, x)


def test_tanh_of_bfloat16_is_as_good_as_its_input():
    """In bfloat16, 2 σ(2x) − 1 of 1/64 would be 0.0156 ± 0.004."""
    x = torch.tensor([1 / 64, -1 / 64, 2.0], dtype=torch.bfloat16)
    assert tanh(x).dtype == torch.float32
    torch.testing.assert_close(tanh(x), x.float().tanh(), rtol=0, atol=2e-7)


def test_gated_residual_by_hand():
    """y = 0, so gelu(y) = 0 and the gates are the bias (3, 0): x + 3 σ(0) = 1 + 1.5."""
    x, y = torch.tensor([[1.0]]), torch.tensor([[0.0]])
    weight_GH, bias_G = torch.tensor([[5.0], [7.0]]), torch.tensor([3.0, 0.0])
    assert gated_residual(x, y, weight_GH, bias_G).tolist() == [[2.5]]


def random_rows(device="cpu"):
    """A stream, what a layer found, and the weights of norm and unit: leaves."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3, 8), (5, 3, 8), (8,), (8,), (16, 8), (16,)]
    rows = [torch.randn(*shape, generator=generator).to(device) for shape in shapes]
    return [row.requires_grad_() for row in rows]


def around(x, y, scale_H, shift_H, weight_GH, bias_G):
    """What stands around a scan, as a block has it."""
    return layer_norm(gated_residual(x, y, weight_GH, bias_G), scale_H, shift_H)


def test_the_unit_and_the_norm_are_torchs():
    x, y, scale_H, shift_H, weight_GH, bias_G = case = random_rows()
    h = x + functional.glu(functional.linear(functional.gelu(y), weight_GH, bias_G), dim=-1)
    expected = functional.layer_norm(h, (8,), scale_H, shift_H)
    assert torch.equal(around(*case), expected)


@NEEDS_CUDA
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_compiled_on_cuda_they_are_the_eager_ones(half):
    """In values and gradients; other lengths, too, without which it would be compiled anew."""
    pytest.importorskip("triton")
    eager, compiled = random_rows(), random_rows("cuda")
    near = {"rtol": 3e-2, "atol": 3e-2} if half else {"rtol": 1e-4, "atol": 1e-5}
    for steps in (5, 3, 4):
        values = []
        for rows in (eager, compiled):
            cut = [rows[0][:steps], rows[1][:steps], *rows[2:]]
            with torch.autocast(rows[0].device.type, torch.bfloat16, enabled=half):
                h = around(*cut)
            assert h.dtype == torch.float32
            values.append((h, torch.autograd.grad(h.square().sum(), rows)))
        (expected, expected_gradients), (h, gradients) = values
        torch.testing.assert_close(h.cpu(), expected, **near)
        for gradient, wanted in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(gradient.cpu(), wanted, **near)


def test_a_linear_layer_multiplies_in_bfloat16_and_hands_on_float32():
    layer = linear(8, 4, torch.Generator().manual_seed(0))
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        with full_precision(x):
            exact = layer(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, y.bfloat16().float()), "it should have been a product in bfloat16"
    assert torch.equal(exact, layer(x))
    assert not torch.equal(y, exact)
    assert layer(x.double().float()).dtype == torch.float32
