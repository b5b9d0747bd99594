"""What tabular agents can learn by, all in closed form: a learned network, A2C, A2C on a schedule.

Shape legend: P agents, M parameters of a rule, T steps, E copies, S states, A actions, F features,
H hidden, Y prediction.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout, at_states
from quickstudy.agents.lifetimes.tabular_tables import (
    ascend,
    entropy_direction,
    log_softmax,
    policy_direction,
    prediction_direction,
)
from quickstudy.agents.objectives.layout import Layout
from quickstudy.agents.objectives.lifetime import Lifetime, TimeFeatures, num_time_features
from quickstudy.agents.objectives.lpg import LPG, Experience, LPGConfig
from quickstudy.envs.errors import require_positive


class TabularRule(ABC):
    """How tables change after a rollout."""

    num_parameters: int
    """M."""

    @abstractmethod
    def first_rule(self, seed: int) -> Tensor:
        """`(M,)` float32."""

    def begin(self, num_agents: int, num_states: int) -> Rows:
        """What new-born agents need beside logits and values."""
        return {}

    @abstractmethod
    def update(
        self, rule_PM: Tensor, rows: Rows, rollout: TabularRollout, advantage_PTE: Tensor
    ) -> Rows:
        """Those rows that change."""


# --- LPG --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LPGRuleConfig:
    """LPG, and with time features TA-LPG; step sizes of Jackson et al. (2023), released."""

    network: LPGConfig = field(default_factory=LPGConfig)
    """The network that makes the targets."""
    policy_rate: float = 40.0
    """Step size of the logits, for means over a rollout's samples."""
    prediction_rate: float = 4.0
    """Step size of the prediction's logits."""
    prediction_weight: float = 0.5
    """α_y."""
    discount: float = 0.99
    """γ, which the network is shown."""
    policy_target_penalty: float = 0.0
    """β₂: weight of π̂² in what `surrogate` maximises (Oh et al. 2020; theirs 5e-3)."""
    prediction_target_penalty: float = 0.0
    """β₃: weight of ‖ŷ‖² there (1e-3)."""

    def build(self) -> "LPGRule":
        return LPGRule(self)


class LPGRule(TabularRule):
    """Δθ ∝ π̂ (e_a − π), and the same of the prediction's distance to ŷ (Oh et al. 2020).

    Within an agent's update π̂ and ŷ are constants; gradients with respect to the rule flow through
    everything the network is shown.
    """

    def __init__(self, config: LPGRuleConfig) -> None:
        self.config = config
        self.network = LPG(config.network)
        self.num_parameters = self.network.layout.num_parameters

    def first_rule(self, seed: int) -> Tensor:
        return self.network.first_rule(seed)

    def begin(self, num_agents: int, num_states: int) -> Rows:
        """Logits of y, uniform, and what targets have cost so far (see `penalty`)."""
        size = self.config.network.prediction_size
        return {
            "prediction": torch.zeros(num_agents, num_states, size),
            "penalty": torch.zeros(num_agents),
        }

    def update(
        self, rule_PM: Tensor, rows: Rows, rollout: TabularRollout, advantage_PTE: Tensor
    ) -> Rows:
        config, state_PTE = self.config, rollout.state
        log_policy_PTEA = log_softmax(at_states(rows["logits"], state_PTE))
        log_y_PUEY = log_softmax(at_states(rows["prediction"], rollout.states))
        weight_PTE, log_target_PTEY = self.network.targets(
            rule_PM, self.experience(rollout, log_policy_PTEA, log_y_PUEY), _lifetime(rows)
        )
        policy = policy_direction(log_policy_PTEA, rollout.action, weight_PTE)
        prediction = prediction_direction(log_y_PUEY[:, :-1], log_target_PTEY)
        return {
            "logits": ascend(rows["logits"], state_PTE, policy, config.policy_rate),
            "prediction": ascend(
                rows["prediction"],
                state_PTE,
                config.prediction_weight * prediction,
                config.prediction_rate,
            ),
            "penalty": rows["penalty"] + self._penalty(weight_PTE, log_target_PTEY),
        }

    def experience(
        self, rollout: TabularRollout, log_policy_PTEA: Tensor, log_y_PUEY: Tensor
    ) -> Experience:
        """What the network is shown of a rollout, under this policy and these predictions."""
        chosen_PTE1 = log_policy_PTEA.gather(-1, rollout.action.unsqueeze(-1))
        discount_P = rollout.reward.new_full((len(rollout.reward),), self.config.discount)
        return Experience(
            reward=rollout.reward,
            ended=rollout.ended,
            prob=chosen_PTE1.squeeze(-1).exp(),
            prediction=log_y_PUEY.exp(),
            discount=discount_P,
        )

    def _penalty(self, weight_PTE: Tensor, log_target_PTEY: Tensor) -> Tensor | float:
        """β₂ π̂² + β₃ ‖ŷ‖², means over a rollout, `(P,)`; 0 without work where nobody asks."""
        of_policy, of_y = self.config.policy_target_penalty, self.config.prediction_target_penalty
        if not (of_policy or of_y):
            return 0.0
        norm_PTE = log_target_PTEY.exp().square().sum(dim=-1)
        return (of_policy * weight_PTE.square() + of_y * norm_PTE).mean(dim=(1, 2))


# --- A2C --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class A2CRuleConfig:
    """A2C (Mnih et al. 2016): no network; the rule is two multipliers, to tune by the same loop."""

    policy_rate: float = 40.0
    """Step size of the logits where the rule's first number is 0."""
    entropy: float = 0.01
    """Weight of the policy's entropy where its second number is 0."""

    def build(self) -> "A2CRule":
        return A2CRule(self)


class A2CRule(TabularRule):
    """The rule's two numbers are the logarithms of multipliers of step size and entropy weight."""

    num_parameters = 2

    def __init__(self, config: A2CRuleConfig) -> None:
        self.config = config

    def first_rule(self, seed: int) -> Tensor:
        return torch.zeros(self.num_parameters)

    def update(
        self, rule_PM: Tensor, rows: Rows, rollout: TabularRollout, advantage_PTE: Tensor
    ) -> Rows:
        rate_P, entropy_P = rule_PM.exp().unbind(dim=-1)
        config = self.config
        return a2c_step(
            rows, rollout, advantage_PTE, config.policy_rate * rate_P, config.entropy * entropy_P
        )


def a2c_step(
    rows: Rows, rollout: TabularRollout, advantage_PTE: Tensor, rate_P: Tensor, entropy_P: Tensor
) -> Rows:
    """New logits: one step along A ∇ log π(a) + entropy weight × ∇H(π)."""
    log_policy_PTEA = log_softmax(at_states(rows["logits"], rollout.state))
    direction_PTEA = policy_direction(log_policy_PTEA, rollout.action, advantage_PTE)
    bonus_PTEA = entropy_P[:, None, None, None] * entropy_direction(log_policy_PTEA)
    direction = direction_PTEA + bonus_PTEA
    return {"logits": ascend(rows["logits"], rollout.state, direction, rate_P)}


# --- A2C on a schedule ------------------------------------------------------------------------


@dataclass(frozen=True)
class ScheduleRuleConfig:
    """A2C whose entropy weight is a learned function of the lifetime, and of recent reward."""

    time: TimeFeatures = "fraction-log"
    """How the lifetime is shown."""
    sees_reward: bool = False
    """Whether the mean reward per step of late is shown, too."""
    width: int = 8
    """H."""
    policy_rate: float = 40.0
    """Step size of the logits."""
    entropy: float = 0.01
    """Weight of the entropy at generation 0, all life long."""
    memory: float = 0.9
    """How much of the recent reward is kept at an update."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a width below 1."""
        require_positive("width", self.width)

    def build(self) -> "ScheduleRule":
        return ScheduleRule(self)


class ScheduleRule(TabularRule):
    """Entropy weight = that of generation 0 × exp(v · tanh(W x + b) + c), v and c zero at first."""

    def __init__(self, config: ScheduleRuleConfig) -> None:
        self.config = config
        features, width = num_time_features(config.time) + config.sees_reward, config.width
        self.layout = Layout(
            {"in": (features, width), "bias": (width,), "out": (width,), "c": (1,)}
        )
        self.num_parameters = self.layout.num_parameters

    def first_rule(self, seed: int) -> Tensor:
        return self.layout.random_row(seed)

    def begin(self, num_agents: int, num_states: int) -> Rows:
        """Mean reward per step of late."""
        return {"recent_reward": torch.zeros(num_agents)}

    def update(
        self, rule_PM: Tensor, rows: Rows, rollout: TabularRollout, advantage_PTE: Tensor
    ) -> Rows:
        rate_P = rule_PM.new_full((len(rule_PM),), self.config.policy_rate)
        entropy_P = self.entropy(rule_PM, _lifetime(rows), rows["recent_reward"])
        reward_P = rollout.reward.mean(dim=(1, 2))
        recent_P = torch.lerp(reward_P, rows["recent_reward"], self.config.memory)
        new = a2c_step(rows, rollout, advantage_PTE, rate_P, entropy_P)
        return new | {"recent_reward": recent_P}

    def entropy(self, rule_PM: Tensor, lifetime: Lifetime, recent_reward_P: Tensor) -> Tensor:
        """The weight of the entropy, `(P,)`."""
        parts = self.layout.parts(rule_PM)
        features = [lifetime.features(self.config.time).to(rule_PM.dtype)]
        if self.config.sees_reward:
            features.append(recent_reward_P.unsqueeze(1))
        x_P1F = torch.cat(features, dim=1).unsqueeze(1)
        hidden_PH = torch.baddbmm(parts["bias"].unsqueeze(1), x_P1F, parts["in"])[:, 0].tanh()
        return (
            self.config.entropy * ((hidden_PH * parts["out"]).sum(dim=1) + parts["c"][:, 0]).exp()
        )


def _lifetime(rows: Rows) -> Lifetime:
    return Lifetime(rows["updates"], rows["total"])
