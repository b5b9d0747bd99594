"""Stacked recurrent networks by hand; whole sequences are compared with torch's in `test_lpg`."""

import math

import pytest
import torch

from quickstudy.agents.objectives.stacked_gru import dense, gru_shapes, gru_step


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def test_a_step_by_hand():
    """H = 1, two agents. r = σ(0.1 + 0.2 h), z = σ(0.3 + 0.4 h), ĥ = tanh(0.5 + r (0.6 h + 0.7)),
    h′ = ĥ + z (h − ĥ), with h = 0.5 and for the second agent −1.
    """
    parts = {
        "recurrent": torch.tensor([[[0.2, 0.4, 0.6]]] * 2, dtype=torch.float64),
        "recurrent_bias": torch.tensor([[0.7]] * 2, dtype=torch.float64),
    }
    gates = torch.tensor([[[0.1, 0.3, 0.5]]] * 2, dtype=torch.float64)
    before = [0.5, -1.0]
    found = gru_step(parts, gates, torch.tensor(before, dtype=torch.float64).view(2, 1, 1))
    for h, after in zip(before, found.flatten().tolist(), strict=True):
        proposed = math.tanh(0.5 + sigmoid(0.1 + 0.2 * h) * (0.6 * h + 0.7))
        assert after == pytest.approx(proposed + sigmoid(0.3 + 0.4 * h) * (h - proposed))


def test_layers_by_hand():
    """One row, two agents: 1·2 + 3·4 + 5 = 19 and 1·(−1) + 3·1 + 0 = 2."""
    x = torch.tensor([1.0, 3.0]).expand(2, 1, 1, 2)
    weight = torch.tensor([[[2.0], [4.0]], [[-1.0], [1.0]]])
    assert dense(x, weight, torch.tensor([[5.0], [0.0]])).flatten().tolist() == [19.0, 2.0]


def test_shapes():
    assert gru_shapes(5, 2) == {
        "input": (5, 6),
        "input_bias": (6,),
        "recurrent": (2, 6),
        "recurrent_bias": (2,),
    }
