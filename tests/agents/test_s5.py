"""How loud the channels of an S5 begin."""

import torch

from quickstudy.agents.models.s5 import S5, S5Config


@torch.no_grad()
def spread(model: S5) -> float:
    """The greatest over the smallest variance of a first-layer channel under unit noise."""
    gate_P, B_KH, _ = model._layers()[0].operators()
    power_P = B_KH.square().sum(dim=1).view(-1, 2).sum(dim=1)
    variance_P = power_P / (1 - gate_P.abs().square())
    return float(variance_P.max() / variance_P.min())


def test_balanced_channels_are_equally_loud_under_noise():
    """A channel's variance under unit noise is |s b|² / (1 − |ā|²), about Δ |b|² / (2 · ½): with
    |b|² divided by Δ it is the same for all, whatever their time scale."""
    loud, plain = (
        S5Config(hidden_size=64, balanced=balanced).build(8, torch.Generator().manual_seed(0), 512)
        for balanced in (True, False)
    )
    assert spread(loud) < 3.0
    assert spread(plain) > 30.0
    ratio_P = (loud._layers()[0].B_PH2 / plain._layers()[0].B_PH2).mean(dim=(1, 2))
    torch.testing.assert_close(ratio_P, torch.exp(-0.5 * plain._layers()[0].log_step))
