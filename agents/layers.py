"""Linear layers and small MLPs initialised from an explicit generator."""

import math

import torch
from torch import Tensor, nn


def linear(
    inputs: int, outputs: int, generator: torch.Generator, gain: float = math.sqrt(2.0)
) -> nn.Linear:
    """An affine map with orthogonal weights (Saxe et al. 2014) and zero bias.

    `nn.Linear`'s own initialisation, which draws from the global generator, is skipped.
    """
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # torch's
        nn.Linear, inputs, outputs
    )
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class Head(nn.Module):
    """One hidden tanh layer and an affine output."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, generator: torch.Generator, *, gain: float
    ) -> None:
        super().__init__()
        self.hidden = linear(inputs, hidden, generator)
        self.output = linear(hidden, outputs, generator, gain)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output(torch.tanh(self.hidden(x)))
        return y
