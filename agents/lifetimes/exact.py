"""Lifetimes without chance: expected updates on small MDPs, whose gradient is known exactly.

Shape legend: P agents, M parameters of a rule, S states, A actions, F time features.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quickstudy.agents.lifetimes import exact_rule
from quickstudy.agents.lifetimes.exact_mdps import (
    NUM_ACTIONS,
    NUM_STATES,
    Evaluation,
    FiniteMDPs,
    chains,
    evaluate,
    random_mdps,
)
from quickstudy.agents.lifetimes.lifetimes import DifferentiableLifetimes, Rows
from quickstudy.agents.objectives.lifetime import Lifetime, TimeFeatures, num_time_features
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive, unknown

MDPS = {"chain": chains, "random": random_mdps}


@dataclass(frozen=True)
class ExactConfig:
    """The exact oracle's lifetimes."""

    mdp: Literal["chain", "random"] = "chain"
    """The five-state chain of Strens 2000, or a random MDP of five states per life."""
    num_updates: int = 40
    """N, of every life."""
    learning_rate: float = 10.0
    """Of the logits. Under the plain policy gradient, 40 updates bring the chain from 0.121 to
    0.233 per step; 0.255 is the best."""
    discount: float = 0.9
    """γ, per step, of what is learned and of what is scored."""
    initial_spread: float = 0.0
    """Standard deviation of the first logits; with 0, all lives on the chain are the same."""
    time: TimeFeatures = "fraction"
    """What the rule sees of its lifetime."""
    hidden_size: int = 8
    """Units of the rule's network."""
    steps_per_update: int = 320
    """Environment steps that one expected update, or one exact score, is charged for: 16 copies
    times 20 steps, what a sampled update of the small tabular populations takes."""

    def build(self) -> "ExactLifetimes":
        return ExactLifetimes(self)


class ExactLifetimes(DifferentiableLifetimes):
    """Softmax policies that learn from exact advantages and visits; everything is float64.

    A score is the discounted return per step, (1 − γ) E[Σ_t γ^t r_t] from the start state over an
    endless episode: a smooth function of the rule. See `exact_rule` for the rule.
    """

    def __init__(self, config: ExactConfig) -> None:
        require_positive("num_updates", config.num_updates)
        require_positive("hidden_size", config.hidden_size)
        require_positive("steps_per_update", config.steps_per_update)
        if config.mdp not in MDPS:
            raise unknown("mdp", config.mdp, MDPS)
        if not 0.0 <= config.discount < 1.0:
            raise ValueError(f"discount must be at least 0 and below 1, got {config.discount!r}.")
        self.config = config
        self.layout = exact_rule.rule_layout(config.hidden_size, num_time_features(config.time))
        self.num_parameters = self.layout.num_parameters

    def first_rule(self, seed: int) -> Tensor:
        return exact_rule.first_rule(self.layout, seed)

    def total(self, key_P: Tensor) -> Tensor:
        return torch.full_like(key_P, self.config.num_updates)

    def begin(self, key_P: Tensor) -> Rows:
        mdps = MDPS[self.config.mdp](key_P)
        logits_PX = rng.normal(rng.fold_in(key_P, 2), NUM_STATES * NUM_ACTIONS)
        logits_PSA = logits_PX.view(-1, NUM_STATES, NUM_ACTIONS) * self.config.initial_spread
        return {
            "updates": torch.zeros_like(key_P),
            "total": self.total(key_P),
            "steps": torch.zeros_like(key_P),
            "logits": logits_PSA,
            "reward": mdps.reward_PSA,
            "transition": mdps.transition_PSAS,
            "start": mdps.start_PS,
        }

    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        parts = self.layout.parts(rule_PM.to(torch.float64))
        for _ in range(num_updates):
            age = Lifetime(rows["updates"], rows["total"])
            features_PF = age.features(self.config.time).to(torch.float64)
            move_PSA = exact_rule.direction(parts, features_PF, rows["logits"], self._worth(rows))
            rows = self._moved(rows, move_PSA) | {"updates": rows["updates"] + 1}
        return rows

    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        return self._worth(rows).return_P, self._cost(rows)

    def surrogate(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The score itself."""
        return self.score(rows)

    def improve(self, rows: Rows) -> Rows:
        """A step of the learning rate up the gradient of the return; no update of the rule's."""
        policy_PSA, worth = rows["logits"].softmax(dim=2), self._worth(rows)
        return self._moved(rows, worth.visits_PS.unsqueeze(2) * policy_PSA * worth.advantage_PSA)

    def divergence(self, target: Rows, rows: Rows) -> Tensor:
        """Σ_s d(s) KL(π_target(·|s) ‖ π(·|s)), with the visits of `rows` as constants."""
        target_PSA = target["logits"].detach().log_softmax(dim=2)
        log_ratio_PSA = target_PSA - rows["logits"].log_softmax(dim=2)
        divergence_PS = (target_PSA.exp() * log_ratio_PSA).sum(dim=2)
        return (self._worth(rows).visits_PS.detach() * divergence_PS).sum(dim=1)

    def _worth(self, rows: Rows) -> Evaluation:
        mdps = FiniteMDPs(rows["reward"], rows["transition"], rows["start"])
        return evaluate(mdps, rows["logits"].softmax(dim=2), self.config.discount)

    def _moved(self, rows: Rows, move_PSA: Tensor) -> Rows:
        return rows | {
            "logits": rows["logits"] + self.config.learning_rate * move_PSA,
            "steps": rows["steps"] + self._cost(rows),
        }

    def _cost(self, rows: Rows) -> Tensor:
        return torch.full_like(rows["total"], self.config.steps_per_update)
