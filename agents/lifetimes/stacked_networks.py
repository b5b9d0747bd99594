"""Actor-critic networks of many agents, stacked: one product of matrices per layer for all of them.

An agent's weights are a row of W numbers, so that Adam, clipping and copies are of one matrix.

Shape legend: P agents, B steps, O observation features, A actions (or action dimensions), W weights
of an agent, I inputs and J outputs of a layer.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.distributions import Categorical, DiagonalGaussian, Distribution
from quickstudy.agents.layers import tanh
from quickstudy.agents.objectives.layout import Layout, Shapes
from quickstudy.envs import rng

HIDDEN_GAIN = math.sqrt(2.0)
"""Of tanh layers' orthogonal weights; the policy's last has 0.01, the value's 1 (Huang et al. 2022,
"The 37 implementation details of PPO")."""

_LAYERS = (
    ("actor_1", HIDDEN_GAIN),
    ("actor_2", HIDDEN_GAIN),
    ("actor_3", 0.01),
    ("critic_1", HIDDEN_GAIN),
    ("critic_2", HIDDEN_GAIN),
    ("critic_3", 1.0),
)


@dataclass(frozen=True)
class ActorCriticConfig:
    """Sizes of a policy and a value network that share nothing."""

    observation_size: int
    """O."""
    action_size: int
    """A."""
    continuous: bool
    """True: a Gaussian of learned standard deviations; False: a choice among A actions."""
    hidden_size: int = 64
    """Units of each of the two tanh layers."""
    initial_std: float = 0.6
    """Standard deviation of a Gaussian policy at birth, in units of the action box."""


class ActorCritic:
    """What to do with rows of weights; holds none itself."""

    def __init__(self, config: ActorCriticConfig) -> None:
        self.config = config
        self.layout = Layout(_shapes(config))

    def initial(self, key_P: Tensor) -> Tensor:
        """New-born weights, `(P, W)` float32: orthogonal matrices, zero biases."""
        parts = {
            name: torch.zeros(len(key_P), *shape, dtype=torch.float64)
            for name, shape in self.layout.shapes.items()
        }
        for branch, (name, gain) in enumerate(_LAYERS):
            weight = f"{name}_weight"
            parts[weight] = gain * orthogonal(rng.fold_in(key_P, branch), parts[weight].shape[1:])
        if self.config.continuous:
            parts["log_std"].fill_(math.log(self.config.initial_std))
        return torch.cat([part.flatten(1) for part in parts.values()], dim=1).to(torch.float32)

    def policy(self, weight_PW: Tensor, x_PBO: Tensor) -> Distribution:
        """What each agent would do in each step, `(P, B)`."""
        parts = self.layout.parts(weight_PW)
        y_PBA = _mlp(parts, "actor", x_PBO)
        if self.config.continuous:
            return DiagonalGaussian(y_PBA, parts["log_std"].unsqueeze(1))
        return Categorical(y_PBA)

    def value(self, weight_PW: Tensor, x_PBO: Tensor) -> Tensor:
        """What each agent expects from each step on, `(P, B)`, in units of its scaled reward."""
        return _mlp(self.layout.parts(weight_PW), "critic", x_PBO).squeeze(-1)


def orthogonal(key_P: Tensor, shape: torch.Size) -> Tensor:
    """Random matrices `(P, I, J)`, float64, of orthonormal rows or columns (Saxe et al. 2014)."""
    inputs, outputs = shape
    tall_PLS = rng.normal(key_P, inputs * outputs).view(-1, max(shape), min(shape))
    orthonormal_PLS, upper_PSS = torch.linalg.qr(tall_PLS)
    # QR's own choice of signs would make some rotations more likely than others.
    signs_PS = upper_PSS.diagonal(dim1=1, dim2=2).sign()
    signed_PLS: Tensor = orthonormal_PLS * signs_PS.unsqueeze(1)
    return signed_PLS if inputs >= outputs else signed_PLS.mT


def _shapes(config: ActorCriticConfig) -> Shapes:
    shapes: Shapes = {}
    for network, outputs in (("actor", config.action_size), ("critic", 1)):
        sizes = (config.observation_size, config.hidden_size, config.hidden_size, outputs)
        for layer in (1, 2, 3):
            shapes[f"{network}_{layer}_weight"] = (sizes[layer - 1], sizes[layer])
            shapes[f"{network}_{layer}_bias"] = (sizes[layer],)
    return shapes | ({"log_std": (config.action_size,)} if config.continuous else {})


def _mlp(parts: dict[str, Tensor], network: str, x_PBI: Tensor) -> Tensor:
    for layer in (1, 2):
        x_PBI = tanh(_affine(parts, f"{network}_{layer}", x_PBI))
    return _affine(parts, f"{network}_3", x_PBI)


def _affine(parts: dict[str, Tensor], layer: str, x_PBI: Tensor) -> Tensor:
    bias_P1J = parts[f"{layer}_bias"].unsqueeze(1)
    return torch.baddbmm(bias_P1J, x_PBI, parts[f"{layer}_weight"])
