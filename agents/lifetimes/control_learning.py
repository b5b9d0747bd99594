"""How a population learns from a rollout: epochs of minibatches of PPO's kind, with a drift.

Each agent maximises the mean of r·A − D(r, A) (mirror learning; Lu et al. 2022) plus an entropy
bonus, and minimises a squared value error; D is its own rule's. With PPO's drift this is PPO.

Shape legend: P agents, T steps, E copies, B = T·E steps of an agent, O observation features, A
action dimensions, W weights, M parameters of a rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.control_worlds import ControlRollout
from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.agents.lifetimes.stacked_adam import adam_step, clip_rows
from quickstudy.agents.lifetimes.stacked_moments import StackedMoments
from quickstudy.agents.lifetimes.stacked_networks import ActorCritic
from quickstudy.agents.objectives.drifts import LearnedDrift, clipped
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.returns import gae
from quickstudy.envs import rng


@dataclass(frozen=True)
class ControlLearningConfig:
    """Constants that all agents share."""

    learning_rate: float = 2.5e-3
    """Adam's step size."""
    epochs: int = 4
    """Passes over each rollout."""
    minibatches: int = 4
    """Gradient steps per pass."""
    discount: float = 0.99
    """γ, per step."""
    trace: float = 0.95
    """λ of the advantage estimates."""
    value_coefficient: float = 0.5
    """Weight of the value loss."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, unless the rule decides it."""
    max_gradient_norm: float = 0.5
    """Each agent's gradient is scaled down to this norm."""


@dataclass(frozen=True)
class Experience:
    """What gradient steps are made from, of each agent."""

    x: Tensor
    """`(P, B, O)`: normalised observations."""
    action: Tensor
    """`(P, B, A)` float32, or `(P, B)` int64."""
    log_prob: Tensor
    """`(P, B)`: of the action when it was taken."""
    advantage: Tensor
    """`(P, B)`: of mean 0 and variance 1 over each agent's B."""
    goal: Tensor
    """`(P, B)`: what the value should be."""

    def at(self, index_PC: Tensor) -> "Experience":
        """C of the steps of each agent."""
        num_agents, num_steps = self.log_prob.shape
        row_PC = index_PC + num_steps * torch.arange(num_agents).unsqueeze(1)
        picked = {
            field.name: getattr(self, field.name).flatten(0, 1)[row_PC] for field in fields(self)
        }
        return Experience(**picked)


class ControlLearning:
    """The inner algorithm; holds no agent's state."""

    def __init__(
        self, config: ControlLearningConfig, networks: ActorCritic, drift: LearnedDrift
    ) -> None:
        self.config, self.networks, self.drift = config, networks, drift

    def begin(self, key_P: Tensor, copies: int) -> Rows:
        """Weights, Adam's memory and moments of new-born agents with `copies` worlds each."""
        weight_PW = self.networks.initial(key_P)
        num_agents = len(key_P)
        seen = StackedMoments.blank(num_agents, self.networks.config.observation_size)
        return {
            "weight": weight_PW,
            "adam_mean": torch.zeros_like(weight_PW),
            "adam_square": torch.zeros_like(weight_PW),
            "adam_steps": torch.zeros_like(key_P),
            "running_return": torch.zeros(num_agents, copies, dtype=torch.float64),
            **seen.rows("seen"),
            **StackedMoments.blank(num_agents, 1).rows("earned"),
        }

    def update(self, rule_PM: Tensor, rows: Rows, rollout: ControlRollout, key_P: Tensor) -> Rows:
        """What `begin` returned, after learning from a rollout; chance comes from the keys.

        Observations' moments move only afterwards, so that in the first gradient step the policy
        is exactly the one that acted.
        """
        earned, running_PE = self._earned(rows, rollout)
        seen = StackedMoments.of(rows, "seen")
        learned = self._descend(rule_PM, rows, self._experience(rows, rollout, earned), key_P)
        return {
            **learned,
            "running_return": running_PE,
            **seen.merged(rollout.observation.flatten(1, 2)).rows("seen"),
            **earned.rows("earned"),
        }

    def loss(
        self, rule_PM: Tensor, weight_PW: Tensor, batch: Experience, lifetime: Lifetime
    ) -> Tensor:
        """What each agent minimises, `(P,)`."""
        policy = self.networks.policy(weight_PW, batch.x)
        log_ratio_PB = policy.log_prob(batch.action) - batch.log_prob
        praise_PB = clipped(log_ratio_PB).exp() * batch.advantage
        drift_PB = self.drift(rule_PM, log_ratio_PB, batch.advantage, lifetime)
        error_PB = self.networks.value(weight_PW, batch.x) - batch.goal
        bonus_P = self._entropy_coefficient(rule_PM) * policy.entropy().mean(dim=1)
        value_P = 0.5 * error_PB.square().mean(dim=1)
        policy_P = (praise_PB - drift_PB).mean(dim=1)
        return self.config.value_coefficient * value_P - policy_P - bonus_P

    def _entropy_coefficient(self, rule_PM: Tensor) -> Tensor | float:
        decided = self.drift.entropy_coefficient(rule_PM)
        return self.config.entropy_coefficient if decided is None else decided

    def _earned(self, rows: Rows, rollout: ControlRollout) -> tuple[StackedMoments, Tensor]:
        """Moments of the discounted return so far, and that return `(P, E)` to go on from."""
        return_PE, returns = rows["running_return"], []
        for t in range(rollout.reward.shape[1]):
            return_PE = self.config.discount * return_PE + rollout.reward[:, t]
            returns.append(return_PE)
            return_PE = return_PE.masked_fill(rollout.ended[:, t], 0.0)
        returns_PB1 = torch.cat(returns, dim=1).unsqueeze(2)
        return StackedMoments.of(rows, "earned").merged(returns_PB1), return_PE

    @torch.no_grad()
    def _experience(
        self, rows: Rows, rollout: ControlRollout, earned: StackedMoments
    ) -> Experience:
        seen, weight_PW = StackedMoments.of(rows, "seen"), rows["weight"]
        x_PBO = seen.normalized(rollout.observation.flatten(1, 2))
        next_PBO = seen.normalized(rollout.next_observation.flatten(1, 2))
        value_PB = self.networks.value(weight_PW, x_PBO)
        next_PB = self.networks.value(weight_PW, next_PBO)
        action = rollout.action.flatten(1, 2)
        advantage_PB = self._advantage(rollout, earned.scaled(rollout.reward), value_PB, next_PB)
        return Experience(
            x=x_PBO,
            action=action,
            log_prob=self.networks.policy(weight_PW, x_PBO).log_prob(action),
            advantage=whitened(advantage_PB),
            goal=advantage_PB + value_PB,
        )

    def _advantage(
        self, rollout: ControlRollout, reward_PTE: Tensor, value_PB: Tensor, next_PB: Tensor
    ) -> Tensor:
        """`(P, B)`. What follows a time limit has its value, what was terminated has none."""
        value_PTE, next_PTE = value_PB.view_as(reward_PTE), next_PB.view_as(reward_PTE)
        parts = (
            reward_PTE,
            value_PTE,
            next_PTE.masked_fill(rollout.terminated, 0.0),
            rollout.ended,
        )
        reward_TPE, value_TPE, next_TPE, ended_TPE = (part.transpose(0, 1) for part in parts)
        advantage_TPE = gae(
            reward_TPE,
            value_TPE,
            next_TPE,
            ended_TPE,
            discount=self.config.discount,
            trace=self.config.trace,
        )
        return advantage_TPE.transpose(0, 1).flatten(1, 2)

    def _descend(self, rule_PM: Tensor, rows: Rows, experience: Experience, key_P: Tensor) -> Rows:
        names = ("weight", "adam_mean", "adam_square", "adam_steps")
        weight_PW, mean_PW, square_PW, steps_P = (rows[name].clone() for name in names)
        rate_P = torch.full((len(key_P),), self.config.learning_rate)
        lifetime = Lifetime(rows["updates"], rows["total"])
        for index_PC in self._minibatches(key_P, experience.log_prob.shape[1]):
            batch = experience.at(index_PC)
            gradient_PW = self.gradient(rule_PM, weight_PW, batch, lifetime)
            adam_step(weight_PW, gradient_PW, mean_PW, square_PW, steps_P, rate_P)
        return dict(zip(names, (weight_PW, mean_PW, square_PW, steps_P), strict=True))

    @torch.enable_grad()
    def gradient(
        self, rule_PM: Tensor, weight_PW: Tensor, batch: Experience, lifetime: Lifetime
    ) -> Tensor:
        """Each agent's own, clipped, `(P, W)`: the sum of all losses mixes none of them."""
        leaf_PW = weight_PW.detach().requires_grad_()
        loss_P = self.loss(rule_PM.detach(), leaf_PW, batch, lifetime)
        (gradient_PW,) = torch.autograd.grad(loss_P.sum(), leaf_PW)
        return clip_rows(gradient_PW, self.config.max_gradient_norm)

    def _minibatches(self, key_P: Tensor, num_steps: int) -> Iterator[Tensor]:
        """Indices `(P, C)` of each agent's steps, in an order of its own in each epoch."""
        for epoch in range(self.config.epochs):
            key_P1 = rng.fold_in(key_P, epoch).unsqueeze(1)
            order_PB = torch.argsort(rng.fold_in(key_P1, torch.arange(num_steps)), dim=1)
            yield from order_PB.chunk(self.config.minibatches, dim=1)


def whitened(value_PB: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over each agent's steps."""
    std_P1, mean_P1 = torch.std_mean(value_PB, dim=1, keepdim=True, correction=0)
    return (value_PB - mean_P1) / (std_P1 + 1e-8)
