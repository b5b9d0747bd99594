"""A family as a `gymnasium.vector.VectorEnv`: N worlds in one batch, reset in the same step.

Shape legend: N worlds, D task parameters, A action dimensions, O observation features.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike

from quickstudy.envs.errors import require_positive
from quickstudy.envs.gymnasium_env import (
    RENDER_MODES,
    Episodes,
    action_array,
    check_options,
    check_render_mode,
)
from quickstudy.envs.registry import family_entry, make_family

NO_LIMIT = -1
"""`max_episode_steps` without a time limit, as in `gymnasium.make`."""


@dataclass(frozen=True)
class Transition:
    """What one step brought in every world, as arrays that nothing else holds."""

    observation: np.ndarray
    """`(N, O)` float32; where an episode ended, the first of the next one."""
    final_observation: np.ndarray
    """`(N, O)` float32: what the step led to, before any reset."""
    reward: np.ndarray
    """`(N,)` float64."""
    terminated: np.ndarray
    """`(N,)` bool: True where the task's own rule, or divergence, ended the episode."""
    truncated: np.ndarray
    """`(N,)` bool: True where the time limit was reached, also if the step terminated."""
    ended: np.ndarray
    """`(N,)` bool: terminated or truncated."""
    info: dict[str, np.ndarray]
    """`task` `(N, D)`, `diverged` `(N,)` and `reward_<term>` `(N,)` of the step; `success` `(N,)`
    where the family reports it."""
    task: np.ndarray
    """`(N, D)` float64: the tasks to be acted on next; differs from `info` where episodes ended."""


class FamilyVectorEnv(gym.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N worlds of a task family, each episode on a new hidden task.

    World i with seed s is the single environment with seed s, number for number. Worlds reset in
    the step that ends their episode (`AutoresetMode.SAME_STEP`), with infos in the format of
    Gymnasium's own `SyncVectorEnv` in that mode.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  as in the base class
        "render_modes": list(RENDER_MODES),
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    unlimited: ClassVar[int] = np.iinfo(np.int64).max

    def __init__(
        self,
        family: str,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        split: str = "train",
        task: ArrayLike | None = None,
        episode_length: int | None = None,
        render_mode: str | None = None,
        **family_options: object,
    ) -> None:
        """Build the worlds; `reset` starts them.

        Args:
            family: a registered name.
            num_envs: how many worlds.
            max_episode_steps: the time limit; the family's default if None, none if −1.
            split: where tasks are drawn from: `train`, `test` or `ood`.
            task: one task `(D,)` for all worlds or one per world `(N, D)`; drawn if None.
            episode_length: what families with rules that depend on it play; the family's default
                if None, whatever the time limit.
            render_mode: None or `rgb_array`.
            family_options: what the family lets a user choose (see `make_family`).

        Raises:
            ValueError: for an unknown family, split, render mode or option, a task of the wrong
                shape, or a count below 1.
        """
        check_render_mode(render_mode)
        default_steps = family_entry(family).episode_length
        steps = default_steps if max_episode_steps is None else max_episode_steps
        if steps != NO_LIMIT:
            require_positive("max_episode_steps", steps)
        require_positive("num_envs", num_envs)
        self._max_steps = self.unlimited if steps == NO_LIMIT else steps
        self._family = make_family(
            family, num_envs, episode_length=episode_length, options=family_options
        )
        self._episodes = Episodes(self._family, split, task)
        self._steps_N = np.zeros(num_envs, np.int64)
        self.num_envs = num_envs
        self.single_observation_space = copy.deepcopy(self._family.observation_space)
        self.single_action_space = copy.deepcopy(self._family.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = render_mode
        self.metadata = type(self).metadata | {"render_fps": self._family.render_fps}

    @property
    def task(self) -> np.ndarray:
        """The hidden tasks of the present episodes, a fresh float64 `(N, D)`."""
        return self._episodes.tasks

    def set_task(self, world: int, task: ArrayLike | None) -> None:
        """Play `task` `(D,)` in one world from its next episode on; None draws again.

        Raises:
            ValueError: for a task of the wrong shape.
        """
        self._episodes.choose(world, task)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every world.

        Args:
            seed: one per world, or an integer s for s, s + 1, …; None goes on with the seeds given
                before.
            options: `task`, `(D,)` for all worlds or `(N, D)`, is played until another is given
                (None draws again); `split` is where tasks are drawn from, and lets go of earlier
                tasks. They hold until a reset with a seed or with other options.

        Returns:
            The observations, float32 `(N, O)`, and an info with `task`, float64 `(N, D)`.

        Raises:
            ValueError: for an unknown option or split, or a wrong number of seeds, worlds or
                parameters.
        """
        check_options(options)
        self._episodes.reset(self._seeds(seed), options)
        self._steps_N[:] = 0
        return self._family.observe().numpy(), _everywhere({"task": self.task})

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act once in every world.

        Args:
            actions: `(N, A)` numbers in [−1, 1] (clipped to it), or `(N,)` integers.

        Returns:
            Observations, float32 `(N, O)`; rewards, float64 `(N,)`; terminated and truncated, bool
            `(N,)` (both where a time limit and the task's rule coincide, as with `gymnasium.make`);
            and an info with the keys of the single environment, each beside a mask `_<key>`. Where
            an episode ended, `final_obs` and `final_info` hold its last observation and info.

        Raises:
            ValueError: for actions of the wrong shape, type or value.
        """
        t = self.advance(actions)
        return t.observation, t.reward, t.terminated, t.truncated, _same_step_info(t)

    def advance(self, actions: np.ndarray) -> Transition:
        """`step`, with everything it brought under a name instead of in an info."""
        checked = action_array(self._family.action_space, actions, (self.num_envs,))
        outcome = self._family.step(torch.from_numpy(checked))
        final_observation = observation = self._family.observe().numpy()
        terms = {f"reward_{name}": term.numpy() for name, term in outcome.reward_terms.items()}
        # The engine may go on holding its own flags.
        info = {"task": self.task, "diverged": outcome.diverged.numpy().copy()} | terms
        if outcome.success is not None:
            info["success"] = outcome.success.numpy()
        terminated = outcome.terminated.numpy()
        self._steps_N += 1
        truncated = self._steps_N >= self._max_steps
        ended = terminated | truncated
        if ended.any():
            self._episodes.start(torch.from_numpy(ended))
            self._steps_N[ended] = 0
            observation = self._family.observe().numpy()
        return Transition(
            observation=observation,
            final_observation=final_observation,
            reward=outcome.reward.numpy(),
            terminated=terminated,
            truncated=truncated,
            ended=ended,
            info=info,
            task=self.task,
        )

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of each world, uint8 `(height, width, 3)`; None without a render mode."""
        if self.render_mode is None:
            gym.logger.warn("render() needs gymnasium.make_vec(..., render_mode='rgb_array').")
            return None
        return tuple(self._family.render(world) for world in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free what `render` opened."""
        self._family.close()

    def _seeds(self, seed: int | Sequence[int] | None) -> list[int] | None:
        """One seed per world; drawn at the first reset if none was ever given."""
        if seed is None and self._episodes.seeded:
            return None
        if seed is None:
            seed = int(self.np_random.integers(2**63))
        elif isinstance(seed, int):
            super().reset(seed=seed)
        if isinstance(seed, int):
            return [seed + world for world in range(self.num_envs)]
        return _checked_seeds(seed, self.num_envs)


def _checked_seeds(seeds: Sequence[int], num_envs: int) -> list[int]:
    if len(seeds) != num_envs or not all(isinstance(s, int) and s >= 0 for s in seeds):
        raise ValueError(f"seed must be {num_envs} integers of at least 0, got {seeds!r}.")
    return list(seeds)


def _same_step_info(t: Transition) -> dict[str, Any]:
    """The info `SyncVectorEnv` would put together; arrays that no world fills are left out."""
    info: dict[str, Any] = {}
    going = ~t.ended
    if going.any():
        info |= _where(going, t.info)
    if t.ended.any():
        info |= {"final_obs": _objects(t.ended, t.final_observation), "_final_obs": t.ended.copy()}
        info |= {"final_info": _where(t.ended, t.info), "_final_info": t.ended.copy()}
    return info | _everywhere({"task": t.task})


def _where(mask: np.ndarray, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each value, zero where the mask is False, and beside it the mask under `_<key>`."""
    info = {}
    for key, value in values.items():
        info[key] = value.copy()
        info[key][~mask] = 0
        info[f"_{key}"] = mask.copy()
    return info


def _everywhere(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each value beside an all-True mask."""
    masks = {f"_{key}": np.ones(len(value), np.bool_) for key, value in values.items()}
    return values | masks


def _objects(mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """An object array: copies of the rows where the mask is True, None elsewhere."""
    array = np.full(len(mask), None, dtype=object)
    for world in np.flatnonzero(mask):
        array[world] = rows[world].copy()
    return array
