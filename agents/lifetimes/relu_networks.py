"""Stacked networks of two ReLU layers, and their gradients written out.

The gradients are made of ordinary operations, so autograd can go through an update that uses them.

Shape legend: P networks, T rows of input each, F inputs, H hidden, O outputs.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from quickstudy.envs import rng

Network = tuple[Tensor, ...]
"""Weights and biases in turn: `(P, F, H)`, `(P, 1, H)`, `(P, H, H)`, `(P, 1, H)`, `(P, H, O)`,
`(P, 1, O)`."""

NUM_TENSORS = 6


@dataclass(frozen=True)
class Activations:
    """What the layers of each network gave, `(P, T, …)`."""

    inputs: Tensor
    first: Tensor
    second: Tensor
    outputs: Tensor


def new_networks(key_P: Tensor, inputs: int, hidden: int, outputs: int) -> Network:
    """One float32 network per key, all its numbers U(±1/√inputs of the layer).

    As `nn.Linear` does it, with which the replications of Two-Colours began.
    """
    sizes = ((inputs, hidden), (hidden, hidden), (hidden, outputs))
    shapes = [shape for size in sizes for shape in (size, (1, size[1]))]
    scales = [size[0] ** -0.5 for size in sizes for _ in range(2)]
    return tuple(
        _uniform(rng.fold_in(key_P, index), shape, scale)
        for index, (shape, scale) in enumerate(zip(shapes, scales, strict=True))
    )


def forward(network: Network, x_PTF: Tensor) -> Activations:
    """All layers' activations."""
    weight_1, bias_1, weight_2, bias_2, weight_3, bias_3 = network
    first = torch.baddbmm(bias_1, x_PTF, weight_1).relu()
    second = torch.baddbmm(bias_2, first, weight_2).relu()
    return Activations(x_PTF, first, second, torch.baddbmm(bias_3, second, weight_3))


def gradient(network: Network, activations: Activations, d_PTO: Tensor) -> Network:
    """The gradient of a loss whose gradient in the outputs is `d_PTO`."""
    _, _, weight_2, _, weight_3, _ = network
    d_second = _through_relu(torch.bmm(d_PTO, weight_3.mT), activations.second)
    d_first = _through_relu(torch.bmm(d_second, weight_2.mT), activations.first)
    return (
        *_of_layer(activations.inputs, d_first),
        *_of_layer(activations.first, d_second),
        *_of_layer(activations.second, d_PTO),
    )


def descended(network: Network, gradient: Network, lr: float) -> Network:
    """One step of gradient descent, into new tensors."""
    return tuple(torch.sub(w, g, alpha=lr) for w, g in zip(network, gradient, strict=True))


def _uniform(key_P: Tensor, shape: tuple[int, ...], scale: float) -> Tensor:
    draws = rng.uniform(key_P, prod(shape)).reshape(len(key_P), *shape)
    return ((2.0 * draws - 1.0) * scale).to(torch.float32)


def _through_relu(d: Tensor, activation: Tensor) -> Tensor:
    """One operation in place of a comparison and a product."""
    out: Tensor = torch.ops.aten.threshold_backward(d, activation, 0)
    return out


def _of_layer(x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    return torch.bmm(x.mT, d), d.sum(dim=1, keepdim=True)
