"""Proximal policy optimisation with the clipped surrogate (Schulman et al. 2017, eq. 7 and 9)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.agent import AgentOutput
from quickstudy.agents.objectives.objective import Batch, Loss, Objective
from quickstudy.agents.returns import gae
from quickstudy.agents.rollout import Rollout


@dataclass(frozen=True)
class PPOConfig:
    """Constants of PPO."""

    discount: float = 0.99
    """γ, per step, across the episodes of a trial."""
    trace: float = 0.95
    """λ of the advantage estimates."""
    clip: float = 0.2
    """ε: how far the probability ratio may usefully move from 1."""
    value_coefficient: float = 0.5
    """Weight of the value loss."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""


class PPO(Objective):
    """The clipped surrogate, a squared value error and an entropy bonus."""

    def __init__(self, config: PPOConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def discount(self) -> float:
        """γ of the present update."""
        return self.config.discount

    @property
    def entropy_coefficient(self) -> float | Tensor:
        """Weight of the entropy bonus in the present update."""
        return self.config.entropy_coefficient

    def surrogate(self, log_ratio_TB: Tensor, advantage_TB: Tensor) -> Tensor:
        """What to maximise the mean of, step by step, `(T, B)`."""
        ratio_TB = log_ratio_TB.exp()
        clipped_TB = ratio_TB.clamp(1.0 - self.config.clip, 1.0 + self.config.clip)
        return torch.minimum(ratio_TB * advantage_TB, clipped_TB * advantage_TB)

    def targets(self, rollout: Rollout, scaled_reward_TB: Tensor) -> dict[str, Tensor]:
        """`advantage` (whitened over the rollout) and `return`."""
        advantage_TB = gae(
            scaled_reward_TB,
            rollout.value,
            rollout.next_value,
            rollout.trial_end,
            discount=self.discount,
            trace=self.config.trace,
        )
        practised = rollout.practise
        std, mean = torch.std_mean(advantage_TB if practised is None else advantage_TB[practised])
        return {
            "advantage": (advantage_TB - mean) / (std + 1e-8),
            "return": advantage_TB + rollout.value,
        }

    def loss(self, batch: Batch, output: AgentOutput) -> Loss:
        log_ratio_TB = output.policy.log_prob(batch.action) - batch.log_prob
        policy = -batch.mean(self.surrogate(log_ratio_TB, batch.targets["advantage"]))
        value = 0.5 * batch.mean((output.value - batch.targets["return"]).square())
        entropy = batch.mean(output.policy.entropy())
        total = policy + self.config.value_coefficient * value - self.entropy_coefficient * entropy
        moved_TB = (log_ratio_TB.exp() - 1.0).abs() > self.config.clip
        metrics = {
            "policy_loss": policy,
            "value_loss": value,
            "entropy": entropy,
            "clip_fraction": batch.mean(moved_TB.to(torch.float32)),
        }
        return Loss(total, {name: metric.detach() for name, metric in metrics.items()})
