"""Linear layers and small MLPs initialised from an explicit generator, and a fast tanh."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


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


def tanh(x: Tensor) -> Tensor:
    """tanh, to 2e-7: on the CPU in a quarter of the time of `torch.tanh` (2.13)."""
    y: Tensor = _Tanh.apply(x)  # type: ignore[no-untyped-call]  # torch has no types here
    return y


class _Tanh(torch.autograd.Function):
    """tanh(x) = 2 σ(2x) − 1, whose σ is vectorised better than tanh itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.mul(x, 2.0).sigmoid_().mul_(2.0).sub_(1.0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        dx: Tensor = torch.ops.aten.tanh_backward(dy, y)
        return dx
