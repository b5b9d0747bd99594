"""Lives of a few numbers each: noisy descent on a quadratic, whose best schedule is known in shape.

The model of Wu, Ren, Liao & Grosse (2018, ICLR, "Understanding short-horizon bias in stochastic
meta-optimization"): an agent is a point x, its loss is ½ Σ_d h_d x_d², and each update is a step
along a gradient with noise, of the size exp(a + b n/N). The rule is (a, b). Large steps pay at
first and small ones, which keep the noise out, at the end of life (b < 0); over a few updates only
the latter is seen. It takes milliseconds, so it is what outer loops are tried on.

Shape legend: P agents, D dimensions.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lengths import require_lengths
from quickstudy.agents.lifetimes.lifetimes import DifferentiableLifetimes, Rows
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive

_START, _NOISE, _TOTAL = 0, 1, 2
"""What an agent's key branches into."""


@dataclass(frozen=True)
class NoisyQuadraticConfig:
    """Agents and their lives."""

    dimensions: int = 8
    """D."""
    condition: float = 100.0
    """The largest curvature over the smallest; they are spaced evenly on a log scale, up to 1."""
    noise: float = 1.0
    """Standard deviation of the gradient's noise over the square root of the curvature."""
    min_updates: int = 10
    """The shortest life; lengths are uniform."""
    max_updates: int = 40
    """The longest."""
    first_size: float = 0.1
    """The step that discovery starts from, all life long."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for sizes that make no sense."""
        require_positive("dimensions", self.dimensions)
        require_lengths(self.min_updates, self.max_updates)

    def build(self) -> "NoisyQuadratic":
        return NoisyQuadratic(self)


class NoisyQuadratic(DifferentiableLifetimes):
    """Rows: `x` `(P, D)` float64 and the key. An update costs a step, and so does a score."""

    num_parameters = 2

    def __init__(self, config: NoisyQuadraticConfig) -> None:
        self.config = config
        exponent_D = torch.linspace(-1.0, 0.0, config.dimensions, dtype=torch.float64)
        self.curvature_D = torch.tensor(config.condition).double() ** exponent_D
        if config.dimensions == 1:
            self.curvature_D = torch.ones(1, dtype=torch.float64)

    def first_rule(self, seed: int) -> Tensor:
        return torch.tensor([math.log(self.config.first_size), 0.0])

    def total(self, key_P: Tensor) -> Tensor:
        low, high = self.config.min_updates, self.config.max_updates
        draw_P = rng.uniform(rng.fold_in(key_P, _TOTAL), 1)[:, 0]
        return low + (draw_P * (high + 1 - low)).long()

    def begin(self, key_P: Tensor) -> Rows:
        x_PD = rng.normal(rng.fold_in(key_P, _START), self.config.dimensions)
        zero_P = torch.zeros_like(key_P)
        return {
            "x": x_PD / self.curvature_D.sqrt(),
            "key": key_P,
            "updates": zero_P,
            "total": self.total(key_P),
            "steps": zero_P,
        }

    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        first_P, change_P = rule_PM.double().unbind(dim=1)
        for _ in range(num_updates):
            fraction_P = rows["updates"].double() / rows["total"].double()
            size_P = (first_P + change_P * fraction_P).exp()
            rows = self._moved(rows, size_P) | {"updates": rows["updates"] + 1}
        return rows

    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Minus the loss, without noise."""
        loss_P = 0.5 * (self.curvature_D * rows["x"].square()).sum(dim=1)
        return -loss_P, torch.ones_like(rows["steps"])

    def surrogate(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The score itself."""
        return self.score(rows)

    def improve(self, rows: Rows) -> Rows:
        """A gradient step of the size that discovery starts from, without noise."""
        x_PD = rows["x"] - self.config.first_size * self.curvature_D * rows["x"]
        return rows | {"x": x_PD, "steps": rows["steps"] + 1}

    def divergence(self, target: Rows, rows: Rows) -> Tensor:
        """½ |x_target − x|²: the KL divergence of normal distributions around the points."""
        return 0.5 * (target["x"].detach() - rows["x"]).square().sum(dim=1)

    def _moved(self, rows: Rows, size_P: Tensor) -> Rows:
        luck_P = rng.fold_in(rng.fold_in(rows["key"], _NOISE), rows["updates"])
        noise_PD = self.config.noise * rng.normal(luck_P, self.config.dimensions)
        gradient_PD = self.curvature_D * rows["x"] + self.curvature_D.sqrt() * noise_PD
        return rows | {"x": rows["x"] - size_P[:, None] * gradient_PD, "steps": rows["steps"] + 1}
