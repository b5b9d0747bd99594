"""Lives of agents that learn from a learned reward.

Shape legend: P agents, M parameters of a rule, T steps of a rollout, E copies, H features of the
memory.
"""

import math
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Literal

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows
from quickstudy.agents.lifetimes.rewards_learners import (
    ActorCriticConfig,
    Learner,
    QLearningConfig,
)
from quickstudy.agents.lifetimes.rewards_rule import RewardRuleConfig
from quickstudy.agents.lifetimes.tabular_rollout import (
    as_rows,
    begin_worlds,
    draws,
    evaluate,
    play,
)
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.tabular.tabular_tasks import TabularTasks

SCORES = ("lifetime", "final")


class _Branch(IntEnum):
    """What an agent's key branches into."""

    TASK = 1
    START = 2
    LEARN = 3
    SCORE = 4


@dataclass(frozen=True)
class RewardConfig:
    """Agents that learn from a learned reward."""

    tasks: str = "hidden-goal"
    """Name of a distribution of finite tasks."""
    rule: RewardRuleConfig = field(default_factory=RewardRuleConfig)
    """The reward."""
    learner: ActorCriticConfig | QLearningConfig = field(default_factory=ActorCriticConfig)
    """Who learns from it."""
    num_updates: int = 100
    """N, of every life."""
    copies: int = 1
    """E: copies of the task that an agent acts in side by side. Each has a memory of its own; one
    copy makes one life, as in Zheng et al. 2020."""
    rollout_steps: int = 20
    """T: steps of each copy per update."""
    score: Literal["lifetime", "final"] = "lifetime"
    """lifetime: the true reward per step of all its life, which Zheng et al. maximise; final: the
    mean return of new episodes by the last policy."""
    evaluation_copies: int = 16
    """Episodes of a final score."""
    evaluation_steps: int = 1000
    """An evaluation episode ends here, if its task has not ended it before."""

    def __post_init__(self) -> None:
        names = ("num_updates", "copies", "rollout_steps", "evaluation_copies", "evaluation_steps")
        for name in names:
            require_positive(name, getattr(self, name))
        if self.score not in SCORES:
            raise unknown("score", self.score, SCORES)


class RewardLifetimes(Lifetimes):
    """The rule is a reward; the agent, re-born in every life, is not learned.

    Rows: the learner's tables, `memory` (P, E, H) of the reward, `earned` (P,) float64 the true
    reward so far, and the task's and worlds' own. Not differentiable: evolution strategies are the
    way to learn it.
    """

    def __init__(self, config: RewardConfig, tasks: TabularTasks) -> None:
        self.config = config
        self.tasks = tasks
        self.rule = config.rule.build(tasks)
        self.learner: Learner = config.learner.build()
        self.num_parameters = self.rule.num_parameters

    def first_rule(self, seed: int) -> Tensor:
        return self.rule.first_rule(seed)

    def total(self, key_P: Tensor) -> Tensor:
        return torch.full_like(key_P, self.config.num_updates)

    def begin(self, key_P: Tensor) -> Rows:
        tasks, copies, num_agents = self.tasks, self.config.copies, len(key_P)
        task = tasks.sample(rng.fold_in(key_P, _Branch.TASK))
        worlds = begin_worlds(tasks, task, rng.fold_in(key_P, _Branch.START), copies)
        own: Rows = {
            "key": key_P,
            "updates": torch.zeros_like(key_P),
            "total": self.total(key_P),
            "steps": torch.zeros_like(key_P),
            "earned": torch.zeros(num_agents, dtype=torch.float64),
            "memory": self.rule.memory(num_agents, copies),
        }
        tables = self.learner.begin(num_agents, tasks.num_states, tasks.num_actions)
        return own | tables | as_rows(task, worlds)

    @torch.no_grad()
    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        assert bool((rows["updates"] + num_updates <= rows["total"]).all())
        for _ in range(num_updates):
            rows = self._update(rule_PM, rows)
        return rows

    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """As `config.score` says; NaN where an agent's tables or its reward are not finite."""
        if self.config.score == "final":
            score_P, steps_P = self._final_score(rows)
        else:
            score_P, steps_P = rows["earned"] / rows["steps"].clamp(min=1), rows["steps"] * 0
        finite_P = rows["logits"].sum(dim=(1, 2)) + rows["memory"].sum(dim=(1, 2))
        return score_P.where(finite_P.isfinite(), math.nan), steps_P

    def _update(self, rule_PM: Tensor, rows: Rows) -> Rows:
        config = self.config
        key_P = self._luck(rows, _Branch.LEARN)
        chance = draws(key_P, config.rollout_steps, config.copies, self.tasks.num_draws + 1)
        rollout, worlds = play(self.tasks, rows, chance)
        reward_PTE, memory_PEH = self.rule.read(rule_PM, rows["memory"], rollout)
        tables = self.learner.learn(rows, replace(rollout, reward=reward_PTE))
        return (
            rows
            | worlds
            | tables
            | {
                "memory": memory_PEH,
                "updates": rows["updates"] + 1,
                "steps": rows["steps"] + config.rollout_steps * config.copies,
                "earned": rows["earned"] + rollout.reward.to(torch.float64).sum(dim=(1, 2)),
            }
        )

    def _final_score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        config = self.config
        key_P = self._luck(rows, _Branch.SCORE)
        found = evaluate(self.tasks, rows, key_P, config.evaluation_copies, config.evaluation_steps)
        return found.returns.mean(dim=1), found.steps

    def _luck(self, rows: Rows, branch: _Branch) -> Tensor:
        """Keys `(P,)` that differ from update to update."""
        return rng.fold_in(rng.fold_in(rows["key"], branch), rows["updates"])
