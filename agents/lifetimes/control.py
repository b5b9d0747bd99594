"""Populations of small actor-critic networks on any registered family.

Every agent meets one task of the family in E copies for all its life. It is blind to time and to
its past: its policy reads the observation alone, an episode is a trial of its own, and where the
time limit cuts an episode off, the value of what would have followed stands in (Pardo et al. 2018).

Shape legend: P agents, E copies, O observation features, M parameters of a rule.
"""

import math
from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.control_learning import ControlLearning, ControlLearningConfig
from quickstudy.agents.lifetimes.control_worlds import Act, ControlWorlds
from quickstudy.agents.lifetimes.lengths import log_uniform, require_lengths
from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows
from quickstudy.agents.lifetimes.mixture import MixedLifetimes
from quickstudy.agents.lifetimes.stacked_moments import StackedMoments
from quickstudy.agents.lifetimes.stacked_networks import ActorCritic, ActorCriticConfig
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive, unknown

ANCHORS = {
    "CartPole": (22.3, 500.0),
    "Pendulum": (-1249.0, -250.0),
    "PointGoal": (-15.9, -2.4),
}
"""Mean returns of an episode of the default length on training tasks: by random actions (1000
tasks; standard errors 0.4, 9 and 0.2), and the best of CartPole, what a straight walk to the known
goal has, and about what PPO had on Pendulum after 131 to 197 thousand steps (8 agents, width 32,
1024 steps per update, γ 0.9: −239 to −289)."""


class _Branch(IntEnum):
    """What an agent's key branches into."""

    TASK = 1
    TOTAL = 2
    WORLDS = 3
    WEIGHTS = 4
    ACTION = 5
    MINIBATCH = 6
    SCORE = 7


@dataclass(frozen=True)
class ControlConfig:
    """Agents, their worlds and how long they live."""

    families: tuple[str, ...] = ("CartPole",)
    """What they live in; of several, each agent's key chooses one."""
    split: str = "train"
    """The split that tasks are drawn from."""
    drift: LearnedDriftConfig = field(default_factory=LearnedDriftConfig)
    """What rules are parameters of."""
    min_updates: int = 32
    """The shortest life; lengths are log-uniform."""
    max_updates: int = 32
    """The longest."""
    copies: int = 8
    """E: copies of the task that an agent acts in side by side."""
    rollout_steps: int = 32
    """T: steps of each copy per update."""
    episode_length: int | None = None
    """Steps after which an episode is cut off; None: the family's own."""
    hidden_size: int = 32
    """Units of each of two tanh layers, in a policy and in a value network. 64 is the usual width;
    small tasks need no more than 32, and populations learn twice as fast."""
    initial_std: float = 0.6
    """Standard deviation of a Gaussian policy at birth, in units of the action box."""
    learning: ControlLearningConfig = field(default_factory=ControlLearningConfig)
    """Constants of the inner algorithm."""
    normalise: bool = False
    """Whether scores are put on a scale where random actions have 0 and a well-trained agent 1; for
    families whose anchors are known."""

    def __post_init__(self) -> None:
        for name in ("copies", "rollout_steps", "hidden_size"):
            require_positive(name, getattr(self, name))
        for name in ("epochs", "minibatches"):
            require_positive(name, getattr(self.learning, name))
        require_lengths(self.min_updates, self.max_updates)
        if not self.families:
            raise ValueError("families must name at least one family.")

    def build(self) -> Lifetimes:
        """Lives in one family, or in several mixed.

        Raises:
            ValueError: for an unknown family, split or anchor, or a length below 1.
        """
        parts = [ControlLifetimes(self, family) for family in self.families]
        return parts[0] if len(parts) == 1 else MixedLifetimes(parts)


class ControlLifetimes(Lifetimes):
    """Lives in one family. Not differentiable: its worlds are not.

    With one torch thread, and layers and minibatches of a multiple of 16, agents of the same key
    and rule are the same bit for bit. Otherwise, or in populations of another size, float32 may
    round differently.

    Rows: `key`, `updates`, `total`, `steps`; `task` (P, D), `shown` (P, E, O) and `world.…` of the
    worlds; and what `ControlLearning.begin` names.
    """

    def __init__(self, config: ControlConfig, family: str) -> None:
        self.config = config
        self._worlds = ControlWorlds(
            family, config.copies, episode_length=config.episode_length, split=config.split
        )
        sizes = ActorCriticConfig(
            observation_size=self._worlds.observation_size,
            action_size=self._worlds.action_size,
            continuous=self._worlds.continuous,
            hidden_size=config.hidden_size,
            initial_std=config.initial_std,
        )
        drift = LearnedDrift(config.drift)
        self.learning = ControlLearning(config.learning, ActorCritic(sizes), drift)
        self.num_parameters = drift.layout.num_parameters
        self._low, self._high = _anchors(family) if config.normalise else (0.0, 1.0)

    def first_rule(self, seed: int) -> Tensor:
        """PPO's drift."""
        return self.learning.drift.first_rule(seed)

    def total(self, key_P: Tensor) -> Tensor:
        """Log-uniform over the integers from `min_updates` to `max_updates`."""
        low, high = self.config.min_updates, self.config.max_updates
        return log_uniform(rng.fold_in(key_P, _Branch.TOTAL), low, high)

    def begin(self, key_P: Tensor) -> Rows:
        task_PD = self._worlds.sample(rng.fold_in(key_P, _Branch.TASK))
        return {
            "key": key_P,
            "updates": torch.zeros_like(key_P),
            "total": self.total(key_P),
            "steps": torch.zeros_like(key_P),
            **self.learning.begin(rng.fold_in(key_P, _Branch.WEIGHTS), self.config.copies),
            **self._worlds.begin(task_PD, rng.fold_in(key_P, _Branch.WORLDS)),
        }

    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        assert bool((rows["updates"] + num_updates <= rows["total"]).all())
        for _ in range(num_updates):
            rows = self._update(rule_PM, rows)
        return rows

    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The mean undiscounted return of one new episode in each copy, with sampled actions.

        NaN where an agent's weights are not finite. Chance differs from update to update.
        """
        luck_P = _luck(rows, _Branch.SCORE)
        act = self._acting(rows, rng.fold_in(luck_P, _Branch.ACTION))
        found = self._worlds.evaluate(rows["task"], rng.fold_in(luck_P, _Branch.WORLDS), act)
        score_P = (found.returns.mean(dim=1) - self._low) / (self._high - self._low)
        finite_P = rows["weight"].sum(dim=1).isfinite()
        return score_P.where(finite_P, math.nan), found.steps

    def _update(self, rule_PM: Tensor, rows: Rows) -> Rows:
        act = self._acting(rows, _luck(rows, _Branch.ACTION))
        rollout, worlds = self._worlds.play(rows, act, self.config.rollout_steps)
        learned = self.learning.update(rule_PM, rows, rollout, _luck(rows, _Branch.MINIBATCH))
        spent = self.config.rollout_steps * self.config.copies
        counts = {"updates": rows["updates"] + 1, "steps": rows["steps"] + spent}
        return rows | worlds | learned | counts

    def _acting(self, rows: Rows, key_P: Tensor) -> Act:
        """The present policies, with noise from these keys."""
        seen, networks = StackedMoments.of(rows, "seen"), self.learning.networks
        key_PE = rng.fold_in(key_P.unsqueeze(1), torch.arange(self.config.copies))

        def act(observation_PEO: Tensor, step: int) -> Tensor:
            policy = networks.policy(rows["weight"], seen.normalized(observation_PEO))
            return policy.sample(self._noise(rng.fold_in(key_PE, step)))

        return act

    def _noise(self, key_PE: Tensor) -> Tensor:
        continuous, size = self._worlds.continuous, self._worlds.action_size
        noise = rng.normal(key_PE, size) if continuous else rng.uniform(key_PE, 1)
        return noise.to(torch.float32)


def _luck(rows: Rows, branch: _Branch) -> Tensor:
    """The keys of one kind of chance in the present update."""
    return rng.fold_in(rng.fold_in(rows["key"], branch), rows["updates"])


def _anchors(family: str) -> tuple[float, float]:
    if family not in ANCHORS:
        raise unknown("family with anchors for normalise=True", family, ANCHORS)
    return ANCHORS[family]
