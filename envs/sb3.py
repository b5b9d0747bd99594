"""A family as a Stable-Baselines3 `VecEnv`, so that its PPO, SAC, … train on any family.

Shape legend: N worlds, D task parameters, A action dimensions, O observation features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Wrapper, spaces
from numpy.typing import ArrayLike
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from quickstudy.envs.vector_env import FamilyVectorEnv, Transition


class World:
    """One world as `get_attr`, `set_attr` and `env_method` see it."""

    def __init__(self, envs: FamilyVectorEnv, index: int) -> None:
        self._envs = envs
        self._index = index
        self.render_mode: str | None = envs.render_mode
        self.observation_space: spaces.Space[Any] = envs.single_observation_space
        self.action_space: spaces.Space[Any] = envs.single_action_space

    @property
    def task(self) -> np.ndarray:
        """The hidden task of the present episode, float64 `(D,)`."""
        task_D: np.ndarray = self._envs.task[self._index]
        return task_D

    def set_task(self, task: ArrayLike | None) -> None:
        """Play `task` `(D,)` from the next episode on; None draws again."""
        self._envs.set_task(self._index, task)


class FamilyVecEnv(VecEnv):
    """N worlds of a task family behind Stable-Baselines3's own interface.

    Infos hold the keys of the single environment, `TimeLimit.truncated`, and at an episode's end
    `terminal_observation`; wrap it in `VecMonitor` for episode statistics. A curriculum sets the
    task of world i with `env_method("set_task", task, indices=i)`.
    """

    def __init__(
        self,
        family: str,
        num_envs: int = 1,
        *,
        split: str = "train",
        task: ArrayLike | None = None,
        episode_length: int | None = None,
        seed: int | None = None,
        render_mode: str | None = None,
        **family_options: object,
    ) -> None:
        """Build the worlds; `reset` starts them.

        Args:
            family: a registered name.
            num_envs: how many worlds.
            split: where tasks are drawn from: `train`, `test` or `ood`.
            task: one task `(D,)` for all worlds or one per world `(N, D)`; drawn if None.
            episode_length: steps per episode; the family's default if None.
            seed: world i starts from seed + i, unless `seed` is called before the first reset.
            render_mode: None or `rgb_array`.
            family_options: what the family lets a user choose (see `make_family`).

        Raises:
            ValueError: for an unknown family, split, render mode or option, a task of the wrong
                shape, or a count below 1.
        """
        self._envs = FamilyVectorEnv(
            family,
            num_envs,
            max_episode_steps=episode_length,
            split=split,
            task=task,
            episode_length=episode_length,
            render_mode=render_mode,
            **family_options,
        )
        self._worlds = [World(self._envs, index) for index in range(num_envs)]
        self._actions: np.ndarray | None = None
        super().__init__(
            num_envs, self._envs.single_observation_space, self._envs.single_action_space
        )
        if seed is not None:
            self.seed(seed)

    def reset(self) -> VecEnvObs:
        """Start an episode in every world with the seeds and options set since the last reset.

        Returns:
            Float32 observations `(N, O)`.

        Raises:
            ValueError: for bad options, or options that differ in more than their tasks.
        """
        seeds = [seed for seed in self._seeds if seed is not None] or None
        observation, info = self._envs.reset(seed=seeds, options=_joined(self._options))
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [{"task": task_D.copy()} for task_D in info["task"]]
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Float32 observations and rewards, ended flags, and one info per world."""
        assert self._actions is not None, "call step_async first"
        t = self._envs.advance(self._actions)
        for world in np.flatnonzero(t.ended):
            self.reset_infos[world] = {"task": t.task[world].copy()}
        return t.observation, t.reward.astype(np.float32), t.ended, _infos(t)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """World i starts from `seed` + i at the next reset; None draws a seed."""
        # The base class would draw from NumPy's global generator.
        return super().seed(int(self._envs.np_random.integers(2**32)) if seed is None else seed)

    def close(self) -> None:
        self._envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(world, attr_name) for world in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        for world in self._chosen(indices):
            setattr(world, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        return [
            getattr(world, method_name)(*method_args, **method_kwargs)
            for world in self._chosen(indices)
        ]

    def env_is_wrapped(
        self, wrapper_class: type[Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """False for each world: nothing is wrapped inside the batch."""
        return [False for _ in self._chosen(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        return self._envs.render() or [None] * self.num_envs

    def _chosen(self, indices: VecEnvIndices) -> list[World]:
        return [self._worlds[index] for index in self._get_indices(indices)]


def _joined(options: list[dict[str, Any]]) -> dict[str, Any] | None:
    """One dict of options for all worlds; tasks may differ between them."""
    first = options[0]
    if any(o.keys() != first.keys() or o.get("split") != first.get("split") for o in options):
        raise ValueError(
            f"All worlds must be given the same options (but for `task`): {options!r}."
        )
    tasks = [option.get("task") for option in options]
    if all(task is None for task in tasks):
        return dict(first)
    return first | {"task": tasks}


def _infos(t: Transition) -> list[dict[str, Any]]:
    """The step's info of each world, in plain Python numbers but for the task."""
    scalars = {key: value.tolist() for key, value in t.info.items() if key != "task"}
    infos: list[dict[str, Any]] = [
        dict(zip(scalars, values, strict=True)) for values in zip(*scalars.values(), strict=True)
    ]
    timed_out = (t.truncated & ~t.terminated).tolist()
    for info, task_D, out in zip(infos, t.info["task"], timed_out, strict=True):
        info |= {"task": task_D, "TimeLimit.truncated": out}
    for world in np.flatnonzero(t.ended):
        infos[world]["terminal_observation"] = t.final_observation[world]
    return infos
