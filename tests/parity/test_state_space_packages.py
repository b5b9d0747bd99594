"""Our scan and S5 are those of the packages people use: accelerated-scan's reference, s5-pytorch.

Shape legend: T time, B worlds, H width, P channels.
"""

import pytest
import torch

from quickstudy.agents.models.s5 import S5Config, S5Layer
from quickstudy.agents.scan import scan_with, walk_chunks, walk_steps
from quickstudy.agents.ssm import hippo_normal

T, B, H, P = 50, 3, 6, 8


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("walk", [walk_steps, walk_chunks], ids=["steps", "chunks"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=["real", "complex"])
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "varying"])
def test_the_scan_is_accelerated_scans_reference(walk, dtype, fixed):
    """Theirs has neither resets nor an incoming state: a gate of 0, and a first input, stand in."""
    reference = pytest.importorskip("accelerated_scan.ref")
    gate = torch.randn(*((P,) if fixed else (T, B, P)), generator=generator(), dtype=dtype)
    gate = (gate / (1 + gate.abs())).requires_grad_()
    b_TBP = torch.randn(T, B, P, generator=generator(1), dtype=dtype).requires_grad_()
    x0_BP = torch.randn(B, P, generator=generator(2), dtype=dtype).requires_grad_()
    reset_TB = torch.rand(T, B, generator=generator(3)) < 0.1
    gates = gate.expand(T, B, P) * ~reset_TB.unsqueeze(2)
    tokens = torch.cat([(b_TBP[0] + gates[0] * x0_BP).unsqueeze(0), b_TBP[1:]])
    arranged = (rows.permute(1, 2, 0).contiguous() for rows in (gates, tokens))
    theirs = reference.scan(*arranged).permute(2, 0, 1)
    ours = scan_with(walk, gate, b_TBP, x0_BP, reset_TB)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    weight = torch.randn(T, B, P, generator=generator(4), dtype=dtype)
    sources = (gate, b_TBP, x0_BP)
    pairs = zip(
        *(torch.autograd.grad((x * weight).sum().real, sources) for x in (ours, theirs)),
        strict=True,
    )
    for gradient, expected in pairs:
        # Of a fixed gate it is a sum of 150 terms.
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [2, 16, 64])
def test_hippo_is_s5_pytorchs(size):
    """Eigenvectors are compared up to their phase, which nothing fixes."""
    package = pytest.importorskip("s5.init")
    expected, _, _, expected_V, _ = package.make_DPLR_HiPPO(size)
    value, V = hippo_normal(size)
    torch.testing.assert_close(value, torch.from_numpy(expected), rtol=1e-6, atol=1e-6)
    overlap = (V.conj() * torch.from_numpy(expected_V)).sum(dim=0).abs()
    torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_an_s5_layer_is_s5_pytorchs(rule, blocks):
    """Theirs keeps all P channels where ours keeps one of each pair and adds its conjugate.

    So ours is given P channels, and half their C.
    """
    package, runtime = pytest.importorskip("s5"), pytest.importorskip("s5.s5_model")
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        theirs = package.S5(H, state_width=P, block_count=blocks)
    theirs.seq.discretize = getattr(runtime, f"discretize_{rule}")
    config = S5Config(hidden_size=H, state_size=2 * P, blocks=blocks, discretisation=rule)
    ours = S5Layer(config, horizon=1000, generator=generator())
    copy_parameters(theirs.seq, ours)
    u_TBH = torch.randn(T, B, H, generator=generator(1))
    with torch.no_grad():
        expected, final = theirs(u_TBH.transpose(0, 1), return_state=True)
        blank = torch.zeros(B, P, dtype=torch.complex64)
        y_TBH, x = ours.scan(u_TBH, torch.zeros(T, B, dtype=torch.bool), blank)
    torch.testing.assert_close(y_TBH, expected.transpose(0, 1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(x, final, rtol=1e-6, atol=1e-6)


def copy_parameters(theirs, ours):
    with torch.no_grad():
        ours.log_decay.copy_((-theirs.Lambda.real).log())
        ours.frequency.copy_(theirs.Lambda.imag)
        ours.log_step.copy_(theirs.log_step)
        ours.B_PH2.copy_(theirs.B)
        ours.C_HP2.copy_(torch.view_as_real(0.5 * theirs.C))
        ours.D_H.copy_(theirs.D)
