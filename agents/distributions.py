"""Action distributions over batches of any leading shape; noise comes in as an argument.

Shape legend: … any leading axes, A action dimensions (or the number of actions).
"""

import math
from typing import Protocol

from torch import Tensor


class Distribution(Protocol):
    """What a policy head parameterises."""

    def sample(self, noise: Tensor) -> Tensor:
        """The action that this noise selects."""

    def mode(self) -> Tensor:
        """The most likely action."""

    def log_prob(self, action: Tensor) -> Tensor:
        """Log density (or log probability) of an action, `(...)`."""

    def entropy(self) -> Tensor:
        """Entropy in nats, `(...)`."""


class DiagonalGaussian:
    """Independent normals; actions are `(..., A)` and unbounded (families clip them).

    `log_std_A` is `(A,)`, or of each agent in a population, `(P, 1, A)`.
    """

    def __init__(self, mean: Tensor, log_std_A: Tensor) -> None:
        self.mean = mean
        self.log_std_A = log_std_A

    def sample(self, noise: Tensor) -> Tensor:
        """`noise`: standard normal `(..., A)`."""
        return self.mean + self.log_std_A.exp() * noise

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        z = (action - self.mean) * (-self.log_std_A).exp()
        dimensions = self.log_std_A.shape[-1]
        constant = self.log_std_A.sum(dim=-1) + 0.5 * math.log(2.0 * math.pi) * dimensions
        return -0.5 * z.square().sum(dim=-1) - constant

    def entropy(self) -> Tensor:
        per_dimension = 0.5 + 0.5 * math.log(2.0 * math.pi) + self.log_std_A
        return per_dimension.sum(dim=-1).expand(self.mean.shape[:-1])


class Categorical:
    """A choice among A actions; actions are int64 `(...)`."""

    def __init__(self, logits: Tensor) -> None:
        self.log_probs = logits.log_softmax(dim=-1)

    def sample(self, noise: Tensor) -> Tensor:
        """`noise`: uniform in [0, 1), `(..., 1)`; inverts the cumulative distribution."""
        cumulative = self.log_probs.exp().cumsum(dim=-1)
        choice = (cumulative <= noise).sum(dim=-1)
        # Rounding can leave the last cumulative value below the noise.
        return choice.clamp(max=self.log_probs.shape[-1] - 1)

    def mode(self) -> Tensor:
        return self.log_probs.argmax(dim=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        return self.log_probs.gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(dim=-1)
