"""A learner of Stable-Baselines3 (PPO, SAC) as a student, on any family's task space.

Shape legend: n levels, P test points, D task parameters, N test worlds.
"""

import threading
import weakref
from queue import SimpleQueue
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from quickstudy.curricula.curriculum import exam_tasks, level_tasks
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.student import Student
from quickstudy.curricula.students.sb3 import SB3Config
from quickstudy.envs.gymnasium_env import FamilyEnv
from quickstudy.envs.registry import family_class
from quickstudy.envs.vector_env import FamilyVectorEnv

TEST_WORLDS = 64
"""Test tasks played side by side."""
_FOREVER = 2**62


class SB3Student(Student):
    """Learns in one world, episode after episode, each on the level that was asked for.

    The package's `learn` runs in a thread of its own, which waits whenever all levels of a lesson
    have been played; so its updates come when they are due, amid a lesson or not. Only one of the
    two threads ever runs. The package draws from global generators, which are seeded when a student
    is built: build the next one when this one is done.

    Tests, and levels that are only to be scored, are played with the most likely action.
    """

    def __init__(self, config: SB3Config, seed: int) -> None:
        self._config = config
        self._space = family_class(config.family).task_space
        self._lessons: SimpleQueue[list[np.ndarray] | None] = SimpleQueue()
        self._returns: SimpleQueue[list[float] | BaseException] = SimpleQueue()
        self._desk = _Desk(config, self._lessons, self._returns)
        self._model = _model(config, self._desk, seed)
        self._played: FamilyVectorEnv | None = None
        thread = threading.Thread(
            target=_learn, args=(self._model, self._returns, torch.get_num_threads()), daemon=True
        )
        # The thread holds the model and the world, but not the student: it ends with it.
        weakref.finalize(self, self._lessons.put, None)
        thread.start()

    @property
    def steps(self) -> int:
        return self._desk.steps

    def train(self, levels: Levels) -> Tensor:
        task_nD = level_tasks(self._space, "train", levels)
        return_n = torch.empty(len(levels), dtype=torch.float64)
        learnt_n = levels.practise
        if learnt_n.any():
            self._lessons.put(list(task_nD[learnt_n].numpy()))
            returns = self._returns.get()
            if isinstance(returns, BaseException):
                raise returns
            return_n[learnt_n] = torch.tensor(returns, dtype=torch.float64)
        if not learnt_n.all():
            return_n[~learnt_n] = self._play(task_nD[~learnt_n])
        return self._scores(return_n)

    def test(self, point_Pd: Tensor) -> Tensor:
        task_PD = exam_tasks(self._space, point_Pd).repeat(self._config.evaluations, 1)
        return_P = self._play(task_PD).view(self._config.evaluations, -1).mean(dim=0)
        return self._scores(return_P)

    def _scores(self, return_n: Tensor) -> Tensor:
        low, high = self._config.low, self._config.high
        return ((return_n - low) / (high - low)).clamp(0.0, 1.0)

    def _play(self, task_nD: Tensor) -> Tensor:
        """The return of one episode of each task, float64 `(n,)`."""
        starts = range(0, len(task_nD), TEST_WORLDS)
        return torch.cat([self._play_together(task_nD[i : i + TEST_WORLDS], i) for i in starts])

    def _play_together(self, task_nD: Tensor, seed: int) -> Tensor:
        """World i plays under seed + i."""
        worlds = self._test_worlds()
        padding = TEST_WORLDS - len(task_nD)
        task_ND = torch.cat([task_nD, task_nD[:1].expand(padding, -1)])
        observation, _ = worlds.reset(seed=seed, options={"task": task_ND.numpy()})
        return_N, going_N = np.zeros(TEST_WORLDS), np.arange(TEST_WORLDS) < len(task_nD)
        while going_N.any():
            action, _ = self._model.predict(observation, deterministic=True)
            step = worlds.advance(action)
            return_N += np.where(going_N, step.reward, 0.0)
            going_N &= ~step.ended
            observation = step.observation
        return torch.from_numpy(return_N[: len(task_nD)])

    def _test_worlds(self) -> FamilyVectorEnv:
        if self._played is None:
            self._played = FamilyVectorEnv(
                self._config.family,
                TEST_WORLDS,
                max_episode_steps=self._config.length,
                episode_length=self._config.length,
                **dict(self._config.family_options),
            )
        return self._played


class _LastLessonError(Exception):
    """There will be no other lesson."""


class _Desk(gym.Env[np.ndarray, np.ndarray | int]):
    """The world of a student: each episode is the next level of the lesson.

    When the last one has ended, the lesson's returns are handed in and the next lesson is waited
    for. An episode that ends before any of its steps (the learner begins anew) plays its level
    again.
    """

    def __init__(
        self,
        config: SB3Config,
        lessons: "SimpleQueue[list[np.ndarray] | None]",
        returns: "SimpleQueue[list[float] | BaseException]",
    ) -> None:
        self._world = FamilyEnv(
            config.family, episode_length=config.length, **dict(config.family_options)
        )
        self.observation_space = self._world.observation_space
        self.action_space = self._world.action_space
        self._length = config.length
        self._lessons, self._handed_in = lessons, returns
        self._waiting: list[np.ndarray] = []
        self._returns: list[float] = []
        self._return, self._step = 0.0, 0
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        del options  # unused
        if not self._waiting:
            if self._returns:
                self._handed_in.put(self._returns)
            lesson = self._lessons.get()
            if lesson is None:
                raise _LastLessonError
            self._waiting, self._returns = lesson[::-1], []
        self._return, self._step = 0.0, 0
        return self._world.reset(seed=seed, options={"task": self._waiting[-1]})

    def step(
        self, action: np.ndarray | int
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, _, info = self._world.step(action)
        self.steps += 1
        self._step += 1
        self._return += reward
        truncated = self._step >= self._length
        if terminated or truncated:
            self._returns.append(self._return)
            self._waiting.pop()
        return observation, reward, terminated, truncated, info


def _model(config: SB3Config, desk: _Desk, seed: int) -> BaseAlgorithm:
    common: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "policy_kwargs": {"net_arch": [config.hidden_size] * 2},
        "device": "cpu",
        "seed": seed % 2**32,
    }
    if config.algorithm == "ppo":
        batch_size = min(64, config.rollout_steps)
        return PPO("MlpPolicy", desk, n_steps=config.rollout_steps, batch_size=batch_size, **common)
    return SAC("MlpPolicy", desk, learning_starts=config.learning_starts, **common)


def _learn(
    model: BaseAlgorithm,
    returns: "SimpleQueue[list[float] | BaseException]",
    num_threads: int,
) -> None:
    """The learner's thread."""
    torch.set_num_threads(num_threads)
    try:
        model.learn(_FOREVER, log_interval=_FOREVER)
    except _LastLessonError:
        pass
    except BaseException as error:  # handed to whoever waits for the lesson
        returns.put(error)
