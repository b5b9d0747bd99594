"""The contract of a learning objective.

An objective turns a rollout into targets, and targets with fresh outputs into a loss. It is a
module so that a learned one can have parameters; the hand-written ones have none.

Shape legend: T time, B worlds.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from quickstudy.agents.agent import AgentOutput
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.rollout import Rollout


@dataclass(frozen=True)
class Batch:
    """Some worlds of a rollout, for one gradient step; every tensor is `(T, B, ...)`."""

    action: Tensor
    log_prob: Tensor
    targets: dict[str, Tensor]
    practise: Tensor | None = None
    """`(T, B)` bool: True where the agent may learn from the step; None: from all."""

    def mean(self, value_TB: Tensor) -> Tensor:
        """The mean over the steps to learn from; 0 where there are none."""
        if self.practise is None:
            return value_TB.mean()
        return value_TB.where(self.practise, 0.0).sum() / self.practise.sum().clamp(min=1)


@dataclass(frozen=True)
class Loss:
    """What to minimise, and what to log."""

    total: Tensor
    """Scalar."""
    metrics: dict[str, Tensor]
    """Scalars without gradient."""


class Objective(nn.Module, ABC):
    """How an agent learns from a rollout."""

    def begin_update(self, lifetime: Lifetime) -> None:
        """Told, by who runs the training, where the agent is in its life; most need not know.

        Before each update, also the first after resuming, so that it is no state to be kept.
        """
        del lifetime  # unused

    @abstractmethod
    def targets(self, rollout: Rollout, scaled_reward_TB: Tensor) -> dict[str, Tensor]:
        """Tensors `(T, B)` computed once per rollout, without gradient."""

    @abstractmethod
    def loss(self, batch: Batch, output: AgentOutput) -> Loss:
        """The loss of a minibatch under the agent's present parameters."""
