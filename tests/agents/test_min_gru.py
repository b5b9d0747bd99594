"""The minGRU: one step by hand, and how long a fresh one remembers; the contract holds the rest.

Shape legend: T time, B worlds, W width.
"""

import math

import pytest
import torch
from torch.nn import functional

from quickstudy.agents.models import MinGRUConfig
from quickstudy.agents.models.min_gru import MinGRU


def make_min_gru(width: int = 8, layers: int = 2, horizon: int = 100, inputs: int = 3) -> MinGRU:
    generator = torch.Generator().manual_seed(0)
    return MinGRUConfig(width, layers).build(inputs, generator, horizon).double()


@pytest.mark.parametrize("kind", ["step", "scan"])
@torch.no_grad()
def test_one_step_worked_by_hand(kind):
    """One block of width 2; the embedding maps x = 1 to the stream (1, −1).

    That is already normal: mean 0, variance 1 (the norm's 1e-5 shows in the sixth digit). Gate
    weights 0 and biases (0, log 3) give z = (1/2, 3/4); the candidate is the identity, so g =
    (1, −1). From h = (4, 8): h' = (2 + 1/2, 2 − 3/4) = (2.5, 1.25). The output layer swaps and the
    stream becomes (1 + 1.25, −1 + 2.5) = (2.25, 1.5), which the last norm makes (1, −1).
    """
    model = make_min_gru(2, 1, inputs=1)
    block = model.blocks[0]
    model.embedding.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    block.gate.weight.zero_()
    block.gate.bias.copy_(torch.tensor([0.0, math.log(3.0)]))
    block.candidate.weight.copy_(torch.eye(2))
    block.output.weight.copy_(torch.eye(2).flip(0))
    x, state = torch.ones(1, 1).double(), (torch.tensor([[4.0, 8.0]]).double(),)
    reset = torch.zeros(1, dtype=torch.bool)
    y, (h,) = (
        model.step(x, reset, state)
        if kind == "step"
        else model.scan(x.unsqueeze(0), reset.unsqueeze(0), state)
    )
    assert h[0].tolist() == pytest.approx([2.5, 1.25], abs=2e-5)
    assert y.flatten().tolist() == pytest.approx([1.0, -1.0], abs=2e-4)


@torch.no_grad()
def test_what_is_written_depends_on_the_input_alone():
    """The gate and the candidate of the first block are the same whatever it remembers."""
    model = make_min_gru(layers=1)
    x = torch.randn(1, 3, generator=torch.Generator().manual_seed(1)).double()
    reset = torch.zeros(1, dtype=torch.bool)
    h = [
        model.step(x, reset, (torch.full((1, 8), start).double(),))[1][0]
        for start in (0.0, 1.0, 3.0)
    ]
    torch.testing.assert_close((h[1] - h[0]) * 3, h[2] - h[0])


@pytest.mark.parametrize("horizon", [2, 100, 1000])
@torch.no_grad()
def test_a_fresh_memory_forgets_in_2_steps_to_the_horizon(horizon):
    """z = 1/τ at a typical input, whose norm is zero before the gate's bias is added."""
    bias_W = make_min_gru(horizon=horizon).blocks[1].gate.bias
    tau_W = 1 / bias_W.sigmoid()
    assert tau_W[0].item() == pytest.approx(2.0)
    assert tau_W[-1].item() == pytest.approx(horizon, rel=1e-5)
    ratio_W = (tau_W - 1).log().diff()
    torch.testing.assert_close(ratio_W, ratio_W.mean().expand(7), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_the_stream_is_embedding_plus_what_each_block_reads():
    """Two blocks, written out for a sequence from a blank memory."""
    model, x = (
        make_min_gru(),
        torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(1)).double(),
    )
    y, _ = model.scan(x, torch.zeros(4, 1, dtype=torch.bool), (torch.zeros(1, 8).double(),) * 2)
    stream = model.embedding(x)
    for block in model.blocks:
        normal = functional.layer_norm(stream, (8,))
        z, g, h, rows = block.gate(normal).sigmoid(), block.candidate(normal), 0.0, []
        for t in range(4):
            h = (1 - z[t]) * h + z[t] * g[t]
            rows.append(h)
        stream = stream + block.output(torch.stack(rows))
    torch.testing.assert_close(y, functional.layer_norm(stream, (8,)))


def test_by_default_it_is_as_large_as_the_default_gru():
    model = MinGRUConfig().build(64, torch.Generator().manual_seed(0), 100)
    assert abs(sum(p.numel() for p in model.parameters()) - 74_500) < 0.05 * 74_500
