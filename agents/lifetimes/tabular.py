"""Populations of tabular agents that live on finite tasks, in closed form.

An agent is a table of logits, and whatever tables its rule needs. Beside it a table of values
learns what the policy earns, by TD(λ) on every rollout: A2C needs it, and so does a gradient of
what the policy earns (`surrogate`). No gradient flows through it.

Shape legend: P agents, T steps of a rollout, E copies of a task, S states, A actions, M parameters.
"""

import math
from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lengths import log_uniform, require_lengths
from quickstudy.agents.lifetimes.lifetimes import DifferentiableLifetimes, Rows
from quickstudy.agents.lifetimes.tabular_rollout import (
    TabularRollout,
    as_rows,
    at_states,
    begin_worlds,
    draws,
    evaluate,
    play,
)
from quickstudy.agents.lifetimes.tabular_rules import (
    A2CRuleConfig,
    LPGRuleConfig,
    ScheduleRuleConfig,
)
from quickstudy.agents.lifetimes.tabular_tables import (
    advantages,
    criticised,
    entropy,
    log_softmax,
)
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive
from quickstudy.envs.tabular.registry import make_tabular_tasks
from quickstudy.envs.tabular.tabular_tasks import TabularTasks

RuleConfig = LPGRuleConfig | A2CRuleConfig | ScheduleRuleConfig

LEAST_OPTIMUM = 0.05
"""Scores are divided by optimal returns above this alone."""


class _Branch(IntEnum):
    """What an agent's key branches into."""

    TASK = 1
    TOTAL = 2
    START = 3
    LEARN = 4
    SCORE = 5
    SURROGATE = 6
    IMPROVE = 7


@dataclass(frozen=True)
class CriticConfig:
    """The table of values."""

    discount: float = 0.99
    """γ of what it learns, and of advantages."""
    trace: float = 0.95
    """λ."""
    rate: float = 0.5
    """How far a value moves towards what was seen, 0 to 1."""


@dataclass(frozen=True)
class SurrogateConfig:
    """What `surrogate` and `improve` add to the policy gradient of the true return."""

    policy_entropy: float = 0.0
    """β₀ of Oh et al. (2020): weight of the policy's entropy (Jackson et al. 2023: 0.05)."""
    prediction_entropy: float = 0.0
    """β₁: weight of the entropy of LPG's prediction y (1e-3). β₂ and β₃ are the LPG rule's."""
    improvement: A2CRuleConfig = field(default_factory=lambda: A2CRuleConfig(entropy=0.0))
    """The step that `improve` takes: up the true return alone, so without an entropy bonus."""


@dataclass(frozen=True)
class TabularConfig:
    """Agents, their lives and how they learn."""

    tasks: str = "grid-small"
    """Name of a distribution of finite tasks."""
    rule: RuleConfig = field(default_factory=LPGRuleConfig)
    """What they learn by."""
    min_updates: int = 10
    """The shortest life; lengths are log-uniform."""
    max_updates: int = 50
    """The longest."""
    copies: int = 16
    """E: copies of the task that an agent acts in side by side."""
    rollout_steps: int = 20
    """T: steps of each copy per update."""
    evaluation_steps: int = 1000
    """An evaluation episode ends here, if its task has not ended it before."""
    normalise: bool = False
    """Whether scores are divided by the exact return of an optimal policy, where that is above
    0.05 (in one of 180 small grid-worlds nothing good can be reached). It costs a dynamic program
    per task."""
    critic: CriticConfig = field(default_factory=CriticConfig)
    """The table of values."""
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)
    """What gradient-based estimators climb."""

    def __post_init__(self) -> None:
        for name in ("copies", "rollout_steps", "evaluation_steps"):
            require_positive(name, getattr(self, name))
        require_lengths(self.min_updates, self.max_updates)


class TabularLifetimes(DifferentiableLifetimes):
    """Lives of tabular agents; tables may be float32 (as born) or float64 (as cast by the caller).

    Rows: `logits` (P, S, A), `value` (P, S), `visited` (P, T, E) the states of the last rollout,
    what the rule adds, and the task's and worlds' own.
    """

    def __init__(self, config: TabularConfig, tasks: TabularTasks | None = None) -> None:
        """On the tasks of the config's name, or on these."""
        self.config = config
        self.tasks = make_tabular_tasks(config.tasks) if tasks is None else tasks
        self.rule = config.rule.build()
        self.num_parameters = self.rule.num_parameters
        self._improvement = config.surrogate.improvement.build()

    def first_rule(self, seed: int) -> Tensor:
        return self.rule.first_rule(seed)

    def total(self, key_P: Tensor) -> Tensor:
        """Log-uniform over the integers from `min_updates` to `max_updates`."""
        low, high = self.config.min_updates, self.config.max_updates
        return log_uniform(rng.fold_in(key_P, _Branch.TOTAL), low, high)

    def begin(self, key_P: Tensor) -> Rows:
        tasks, config = self.tasks, self.config
        task = tasks.sample(rng.fold_in(key_P, _Branch.TASK))
        worlds = begin_worlds(tasks, task, rng.fold_in(key_P, _Branch.START), config.copies)
        state_PE = tasks.state(task, worlds)
        own: Rows = {
            "key": key_P,
            "updates": torch.zeros_like(key_P),
            "total": self.total(key_P),
            "steps": torch.zeros_like(key_P),
            "logits": torch.zeros(len(key_P), tasks.num_states, tasks.num_actions),
            "value": torch.zeros(len(key_P), tasks.num_states),
            "visited": state_PE.unsqueeze(1).repeat(1, config.rollout_steps, 1),
        }
        if config.normalise:
            own["optimal"] = tasks.optimal_return(task)
        return own | self.rule.begin(len(key_P), tasks.num_states) | as_rows(task, worlds)

    def optimal_return(self, key_P: Tensor) -> Tensor:
        """What the best policy earns per episode on the task of each life, exactly: `(P,)`."""
        return self.tasks.optimal_return(self.tasks.sample(rng.fold_in(key_P, _Branch.TASK)))

    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        assert bool((rows["updates"] + num_updates <= rows["total"]).all())
        for _ in range(num_updates):
            rows = self._update(rule_PM, rows)
        return rows

    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The mean undiscounted return of one new episode in each copy, by the present policy.

        NaN where an agent's tables are not finite. Chance differs from update to update.
        """
        key_P = self._luck(rows, _Branch.SCORE)
        config = self.config
        found = evaluate(self.tasks, rows, key_P, config.copies, config.evaluation_steps)
        score_P = found.returns.mean(dim=1)
        if config.normalise:
            score_P = score_P / rows["optimal"].where(rows["optimal"] > LEAST_OPTIMUM, 1.0)
        finite_P = rows["logits"].sum(dim=(1, 2)).isfinite()
        return score_P.where(finite_P, math.nan), found.steps

    def surrogate(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean of log π(a|s) A over a fresh rollout, A by the critic; with it the regularisers.

        Its gradient is that of the discounted return (up to a positive factor and noise); its value
        says nothing.
        """
        rollout, advantage_PTE, _ = self._experience(rows, _Branch.SURROGATE)
        log_policy_PTEA = log_softmax(at_states(rows["logits"], rollout.state))
        chosen_PTE1 = log_policy_PTEA.gather(-1, rollout.action.unsqueeze(-1))
        climb_P = (chosen_PTE1.squeeze(-1) * advantage_PTE).mean(dim=(1, 2))
        bonus_P = self.config.surrogate.policy_entropy * entropy(log_policy_PTEA).mean(dim=(1, 2))
        return climb_P + bonus_P + self._of_prediction(rows, rollout.state), self._cost(rows)

    def improve(self, rows: Rows) -> Rows:
        """One A2C step; it costs steps, but does not count among the life's updates."""
        rollout, advantage_PTE, after = self._experience(rows, _Branch.IMPROVE)
        rule_PM = rows["logits"].new_zeros(len(rows["key"]), self._improvement.num_parameters)
        return after | self._improvement.update(rule_PM, rows, rollout, advantage_PTE)

    def divergence(self, target: Rows, rows: Rows) -> Tensor:
        """Mean of KL(π_target ‖ π) over the last rollout of `rows`; no new steps are spent."""
        visited = rows["visited"]
        log_target = log_softmax(at_states(target["logits"].detach(), visited))
        apart = log_target - log_softmax(at_states(rows["logits"], visited))
        return (log_target.exp() * apart).sum(dim=-1).mean(dim=(1, 2))

    def _update(self, rule_PM: Tensor, rows: Rows) -> Rows:
        rollout, advantage_PTE, after = self._experience(rows, _Branch.LEARN)
        new = self.rule.update(rule_PM, rows, rollout, advantage_PTE)
        return after | new | {"updates": rows["updates"] + 1}

    def _experience(self, rows: Rows, branch: _Branch) -> tuple[TabularRollout, Tensor, Rows]:
        """A rollout, its advantages, and the rows after it, whose critic has learned from it."""
        config, critic = self.config, self.config.critic
        key_P = self._luck(rows, branch)
        chance = draws(key_P, config.rollout_steps, config.copies, self.tasks.num_draws + 1)
        rollout, worlds = play(self.tasks, rows, chance)
        advantage_PTE = advantages(
            rows["value"], rollout, discount=critic.discount, trace=critic.trace
        )
        return (
            rollout,
            advantage_PTE,
            rows
            | worlds
            | {
                "value": criticised(rows["value"], rollout, advantage_PTE, rate=critic.rate),
                "visited": rollout.state,
                "steps": rows["steps"] + self._cost(rows),
            },
        )

    def _of_prediction(self, rows: Rows, state_PTE: Tensor) -> Tensor | float:
        """LPG's regularisers; what its targets cost counts for its gradient only."""
        if "prediction" not in rows:
            return 0.0
        penalty_P, weight = rows["penalty"], self.config.surrogate.prediction_entropy
        pull_P = penalty_P.detach() - penalty_P
        if not weight:
            return pull_P
        log_y_PTEY = log_softmax(at_states(rows["prediction"], state_PTE))
        return pull_P + weight * entropy(log_y_PTEY).mean(dim=(1, 2))

    def _luck(self, rows: Rows, branch: _Branch) -> Tensor:
        return rng.fold_in(rng.fold_in(rows["key"], branch), rows["updates"])

    def _cost(self, rows: Rows) -> Tensor:
        """Steps of one rollout, `(P,)`."""
        return torch.full_like(rows["steps"], self.config.copies * self.config.rollout_steps)
