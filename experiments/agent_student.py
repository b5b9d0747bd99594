"""A quickstudy agent as a student of the classrooms: a black box that plays what it is given.

Shape legend: n levels, N worlds, T steps, P test points, d dimensions of the space taught in.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.objectives.ppo import PPO
from quickstudy.agents.rollout import Actor
from quickstudy.curricula.curriculum import exam_tasks, level_tasks, teaching_dim
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.student import Student
from quickstudy.envs import rng
from quickstudy.envs.registry import family_class
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.policies import AgentPolicy
from quickstudy.experiments.scores import VALUE_SIGNALS, Signal, outcome_scores
from quickstudy.experiments.training import build_agent

TEST_SEED = 0
"""Of the tests' noise: the same for every student."""


@dataclass(frozen=True)
class AgentStudentConfig:
    """An agent on a family, under the suite's one learner."""

    family: str = "ParkourStumps"
    """What it practises."""
    family_options: tuple[tuple[str, str], ...] = ()
    """What the family lets one choose: who the student is, for a teacher who cannot see it."""
    agent: str = "rl2"
    """Its memory, by name."""
    signal: Signal = "return"
    """What its teacher is told of each trial."""
    worlds: int = 64
    """Trials side by side; levels come in multiples of it, or some are played twice."""
    minibatch_frames: int = LearnerConfig().minibatch_frames
    """Frames per gradient step, in whole worlds."""
    epochs: int = LearnerConfig().epochs
    """Passes over each batch of levels, at most."""
    episode_length: int | None = None
    """Steps per episode; the family's default if None."""
    episodes_per_trial: int | None = None
    """Episodes per trial; the family's default if None."""

    @property
    def dim(self) -> int:
        return teaching_dim(family_class(self.family).task_space)

    @property
    def space(self) -> dict[str, Any]:
        config = self._training(0)
        return {
            "name": self.family,
            "trial": [config.episode_length, config.episodes_per_trial],
            "signal": self.signal,
            "split": family_class(self.family).task_space.digest("train"),
        }

    def build(self, seed: int) -> "AgentStudent":
        """An agent with fresh weights.

        Raises:
            ValueError: for an unknown family, option or agent, or a signal that is not an outcome.
        """
        if self.signal in VALUE_SIGNALS:
            raise ValueError(
                f"signal {self.signal}: a test has only outcomes. Use return, last-return, gain or "
                "success."
            )
        return AgentStudent(self._training(seed), self.signal)

    def _training(self, seed: int) -> TrainConfig:
        config = TrainConfig(
            family=self.family,
            family_options=dict(self.family_options),
            agent=self.agent,
            worlds=self.worlds,
            episode_length=self.episode_length,
            episodes_per_trial=self.episodes_per_trial,
            signal=self.signal,
            learner=LearnerConfig(minibatch_frames=self.minibatch_frames, epochs=self.epochs),
            seed=seed,
            device="cpu",
        )
        return resolve(config)


class _Given:
    """A task source: world i plays task i, until it is given another."""

    def __init__(self, num_worlds: int, dim: int) -> None:
        self.task_ND = torch.zeros(num_worlds, dim, dtype=torch.float64)

    def tasks(self, key_N: Tensor, trial_N: Tensor, switched_N: Tensor) -> Tensor:
        del key_N, trial_N, switched_N  # unused
        return self.task_ND


class AgentStudent(Student):
    """Plays each batch of levels from the start of a trial on, and learns from it."""

    def __init__(self, config: TrainConfig, signal: Signal) -> None:
        assert config.worlds is not None
        self._config, self._signal, self._num_worlds = config, signal, config.worlds
        self._space = family_class(config.family).task_space
        self._given = _Given(self._num_worlds, self._space.dim)
        self._env = config.setup.env(self._num_worlds, self._given)
        self._agent = build_agent(config, self._env)
        self._learner = Learner(
            self._agent,
            PPO(config.ppo),
            config.learner,
            num_worlds=self._num_worlds,
            discount=config.ppo.discount,
            seed=config.seed,
        )
        self._num_batches = 0

    @property
    def steps(self) -> int:
        return self._num_batches * self._config.frames_per_update

    def train(self, levels: Levels) -> Tensor:
        """Batches of as many levels as there are worlds; the last is filled up with its first.

        A level whose episodes end early is played again until its batch is over; its score is that
        of its first trial.
        """
        scores = []
        for start in range(0, len(levels), self._num_worlds):
            count = min(self._num_worlds, len(levels) - start)
            index_N = start + torch.arange(self._num_worlds) % count
            scores.append(self._practise(levels.rows(index_N))[:count])
        return torch.cat(scores) if scores else torch.zeros(0, dtype=torch.float64)

    @torch.no_grad()
    def test(self, point_Pd: Tensor) -> Tensor:
        task_PD = exam_tasks(self._space, point_Pd)
        trials = evaluate(AgentPolicy(self._agent), self._config.setup, task_PD, TEST_SEED)
        return outcome_scores(self._signal, trials)

    def _practise(self, levels: Levels) -> Tensor:
        """One batch: play, learn, and return each world's score."""
        self._given.task_ND = level_tasks(self._space, "train", levels)
        key = rng.root_key(self._config.seed, rng.Stream.STUDENT)
        seed = int(rng.fold_in(key, self._num_batches))
        actor = Actor.start(self._agent, self._env, seed, open_ended=self._config.open_ended)
        rollout = actor.collect(self._config.trial_length)
        if not levels.practise.all():
            practise_TN = levels.practise.expand(self._config.trial_length, -1)
            rollout = replace(rollout, practise=practise_TN)
        self._learner.update(rollout)
        self._num_batches += 1
        trials = self._env.finished()
        _, first_N = np.unique(trials.worlds.numpy(), return_index=True)
        return outcome_scores(self._signal, trials.rows(torch.from_numpy(first_N)))
