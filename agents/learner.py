"""The learner: epochs of minibatches of whole worlds, for any memory and any objective.

Shape legend: T time, B worlds, F token features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from quickstudy.agents.agent import Agent, AgentOutput
from quickstudy.agents.normalization import RewardScaler
from quickstudy.agents.objectives.objective import Batch, Loss, Objective
from quickstudy.agents.rollout import Rollout
from quickstudy.envs import rng
from quickstudy.envs.errors import unknown

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class LearnerConfig:
    """How rollouts become gradient steps."""

    learning_rate: float = 1e-3
    """Adam's step size at the start; it falls while steps carry the policy too far (see
    `stop_divergence`), and rises again, up to this, while they hardly move it."""
    slow_share: float = 0.25
    """The step size of a memory's slow parameters (an S5's dynamics), as a share of the others'."""
    epochs: int = 4
    """Passes over each rollout, at most."""
    minibatch_frames: int = 6_400
    """Frames per gradient step, in whole worlds."""
    max_gradient_norm: float = 0.5
    """Gradients are scaled down to this norm."""
    stop_divergence: float = 0.03
    """Mean KL divergence (nats) from the acting policy after which no further epoch is begun, and
    above which the step size is divided by 1.5; below a quarter of it, it is multiplied by 1.5."""
    precision: Precision = "float32"
    """What matrix products of an update are made in; bfloat16 is faster on a GPU. Gates and states
    of recurrences, norms, distributions, losses and gradients are float32 either way, and so is
    acting."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)


STEP_SIZE_FACTOR = 1.5
SMALLEST_STEP_SIZE = 0.01
"""As a share of the first one."""


class Learner:
    """Owns the optimiser, the reward scale and the minibatch order."""

    def __init__(
        self,
        agent: Agent,
        objective: Objective,
        config: LearnerConfig,
        *,
        num_worlds: int,
        discount: float,
        seed: int,
    ) -> None:
        self.agent = agent
        self.objective = objective
        self.config = config
        self.optimizer = torch.optim.Adam(_parameter_groups(agent, config), eps=1e-5)
        device = agent.moments.mean_F.device
        self.reward_scaler = RewardScaler(num_worlds, discount).to(device)
        self._order_key = rng.root_key(seed, rng.Stream.MINIBATCH, device)
        self._num_updates = 0

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Learn from a rollout, or from the steps of it that are for practice.

        Returns metrics averaged over the gradient steps; without any, their number alone.

        The normaliser's statistics move only afterwards, so that the policy being improved is, in
        the first step, exactly the policy that acted.

        Raises:
            FloatingPointError: if a gradient is not finite; no step has then been taken with it.
        """
        if rollout.practise is not None and not rollout.practise.any():
            self._update_moments(rollout)
            return {"gradient_steps": 0.0}
        token_TBF, targets = self._prepare(rollout)
        steps: list[dict[str, float]] = []
        divergence = 0.0
        for epoch in range(self.config.epochs):
            taken = [
                self._gradient_step(rollout, token_TBF, targets, worlds)
                for worlds in self._minibatches(rollout, epoch)
            ]
            steps += taken
            divergence = fmean(step["kl"] for step in taken)
            if divergence > self.config.stop_divergence:
                break
        self._num_updates += 1
        self._update_moments(rollout)
        means = {name: fmean(step[name] for step in steps) for name in steps[0]}
        return means | {
            "explained_variance": _explained_variance(rollout.value, targets["return"]),
            "gradient_steps": float(len(steps)),
            "learning_rate": self._adapt_step_size(divergence),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything but the agent's own parameters."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "objective": self.objective.state_dict(),
            "reward_scaler": self.reward_scaler.state_dict(),
            "num_updates": self._num_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.objective.load_state_dict(state["objective"])
        self.reward_scaler.load_state_dict(state["reward_scaler"])
        self._num_updates = state["num_updates"]

    @torch.no_grad()
    def _prepare(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        self.reward_scaler.update(rollout.reward, rollout.trial_start)
        scaled_TB = self.reward_scaler.scale(rollout.reward)
        return self.agent.token(rollout), self.objective.targets(rollout, scaled_TB)

    def _minibatches(self, rollout: Rollout, epoch: int) -> Iterator[Tensor]:
        """Index tensors of worlds, in an order drawn for this epoch."""
        num_steps, num_worlds = rollout.reward.shape
        size = max(1, round(self.config.minibatch_frames / num_steps))
        key = rng.fold_in(rng.fold_in(self._order_key, self._num_updates), epoch)
        order = rng.permutation(key, num_worlds)
        return iter(order.chunk(max(1, round(num_worlds / size))))

    def _gradient_step(
        self, rollout: Rollout, token_TBF: Tensor, targets: dict[str, Tensor], worlds: Tensor
    ) -> dict[str, float]:
        batch = Batch(
            action=rollout.action[:, worlds],
            log_prob=rollout.log_prob[:, worlds],
            targets={name: target[:, worlds] for name, target in targets.items()},
            practise=None if rollout.practise is None else rollout.practise[:, worlds],
        )
        first_state = tuple(rows[worlds] for rows in rollout.first_state)
        reset_TB = self.agent.resets(rollout)[:, worlds]
        with self._products(token_TBF.device):
            output = self.agent.scan(token_TBF[:, worlds], reset_TB, first_state)
        loss = self.objective.loss(batch, output)
        # Before the step, which changes a Gaussian policy's `log_std_A` in place.
        divergence = _divergence(batch, output)
        norm = self._descend(loss)
        metrics = {name: float(metric) for name, metric in loss.metrics.items()}
        return metrics | {"kl": divergence, "gradient_norm": norm}

    def _products(self, device: torch.device) -> torch.autocast:
        """A context for the products of the forward pass; the backward pass follows it by itself.

        The rest of `scan` keeps float32 by itself (see `agents/layers.py`).
        """
        half = self.config.precision == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled=half)

    def _descend(self, loss: Loss) -> float:
        self.optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        norm = nn.utils.clip_grad_norm_(self.agent.parameters(), self.config.max_gradient_norm)
        if not norm.isfinite():
            raise FloatingPointError(
                f"The gradient of update {self._num_updates} is not finite (loss "
                f"{loss.total.item()}); the last checkpoint is unharmed."
            )
        self.optimizer.step()
        return float(norm)

    def _adapt_step_size(self, divergence: float) -> float:
        """Keep the policy's pace as its standard deviation shrinks (rsl_rl's rule, per rollout).

        Returns the step size that the update just done was made with.
        """
        used: float = self.optimizer.param_groups[0]["lr"]
        first, stop = self.config.learning_rate, self.config.stop_divergence
        chosen = used
        if divergence > stop:
            chosen = max(used / STEP_SIZE_FACTOR, first * SMALLEST_STEP_SIZE)
        elif divergence < stop / 4:
            chosen = min(used * STEP_SIZE_FACTOR, first)
        for group, share in zip(self.optimizer.param_groups, self._shares(), strict=False):
            group["lr"] = chosen * share
        return used

    def _shares(self) -> tuple[float, float]:
        """Step sizes of the parameter groups, as shares of the first's."""
        return 1.0, self.config.slow_share

    def _update_moments(self, rollout: Rollout) -> None:
        seen = torch.cat([rollout.observation, rollout.previous_reward.unsqueeze(-1)], dim=-1)
        self.agent.moments.update(seen)


def _parameter_groups(agent: Agent, config: LearnerConfig) -> list[dict[str, Any]]:
    """The agent's parameters, those that learn slowly (if any) in a second group."""
    slow = agent.memory.slow_parameters()
    slow_ids = {id(parameter) for parameter in slow}
    others = [p for p in agent.parameters() if id(p) not in slow_ids]
    rate = config.learning_rate
    groups = [{"params": others, "lr": rate}, {"params": slow, "lr": rate * config.slow_share}]
    return groups if slow else groups[:1]


@torch.no_grad()
def _divergence(batch: Batch, output: AgentOutput) -> float:
    """Estimate of KL(acting policy ‖ present policy) that is never negative (Schulman 2020, k3)."""
    log_ratio_TB = output.policy.log_prob(batch.action) - batch.log_prob
    return float(batch.mean(log_ratio_TB.exp() - 1.0 - log_ratio_TB))


def _explained_variance(value_TB: Tensor, return_TB: Tensor) -> float:
    """1 − Var(return − value) / Var(return): 1 is a perfect value head, 0 a constant one."""
    return float(1.0 - (return_TB - value_TB).var() / (return_TB.var() + 1e-8))
