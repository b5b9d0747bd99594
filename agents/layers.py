"""Linear layers initialised from an explicit generator, a fast tanh, norm and gated unit.

Precision: a learner may have matrix products made in bfloat16 (`torch.autocast`). What keeps the
rest in float32 is here: `Linear` and `tanh` hand on float32, `gated_residual` adds in it, and
recurrences run in `full_precision`.
"""

import importlib.util
import math
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

P = ParamSpec("P")


class Linear(nn.Linear):
    """An affine map whose result has its input's precision, whatever it was multiplied in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).to(x.dtype)


def full_precision(x: Tensor) -> torch.autocast:
    """A context without autocast on x's device: for recurrences, whose errors would add up."""
    return torch.autocast(x.device.type, enabled=False)


def linear(
    inputs: int, outputs: int, generator: torch.Generator, gain: float = math.sqrt(2.0)
) -> nn.Linear:
    """An affine map with orthogonal weights (Saxe et al. 2014) and zero bias.

    `nn.Linear`'s own initialisation, which draws from the global generator, is skipped.
    """
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # torch's
        Linear, inputs, outputs
    )
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def tanh(x: Tensor) -> Tensor:
    """tanh, to 2e-7: on the CPU in a quarter of the time of `torch.tanh` (2.13).

    Of bfloat16, too, in float32, without which it would be wrong in the third digit near 0.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    y: Tensor = _Tanh.apply(wide)  # type: ignore[no-untyped-call]  # torch has no types here
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


# --- compiled on CUDA -------------------------------------------------------------------------


def compiled_on_cuda(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The function, on CUDA and with gradients compiled at its first call: fewer, larger kernels.

    Not without gradients (acting is captured as a whole), nor where Triton is missing, which
    compiling needs.
    """

    @cache
    def compiled() -> Callable[P, Tensor]:
        # Of any shape: rollouts and minibatches differ in length and number of worlds.
        return torch.compile(function, dynamic=True)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        x = args[0]
        assert isinstance(x, Tensor)
        fuses = x.is_cuda and torch.is_grad_enabled() and _has_triton()
        return (compiled() if fuses else function)(*args, **kwargs)

    return run


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@compiled_on_cuda
def layer_norm(x: Tensor, weight_H: Tensor, bias_H: Tensor) -> Tensor:
    """Layer normalisation (Ba et al. 2016) over H features."""
    return functional.layer_norm(x, weight_H.shape, weight_H, bias_H)


@compiled_on_cuda
def gated_residual(x: Tensor, y: Tensor, weight_GH: Tensor, bias_G: Tensor) -> Tensor:
    """What a layer found, gated, into the stream `(…, H)`: x + GLU(W gelu(y) + b), G = 2H."""
    gates = functional.linear(functional.gelu(y), weight_GH, bias_G).to(x.dtype)
    return x + functional.glu(gates, dim=-1)
