"""A family as a single `gymnasium.Env`, and the episode seeding it shares with the vector view.

Shape legend: N worlds, D task parameters, A action dimensions, O observation features.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.errors import unknown
from quickstudy.envs.family import Family
from quickstudy.envs.registry import make_family
from quickstudy.envs.tasks import task_rows

OPTIONS = ("task", "split")
RENDER_MODES = ("rgb_array",)


class Episodes:
    """Which task and which random key each episode has, in N worlds.

    World i's episodes are a pure function of its seed and their number since that seed, and the
    same as the trials of a `TrialEnv` with one episode per trial.
    """

    def __init__(self, family: Family, split: str, task: ArrayLike | None) -> None:
        """`split` and `task` (None: draw one per episode) hold until a reset's options differ.

        Raises:
            ValueError: for an unknown split or a task of the wrong shape.
        """
        self._family = family
        self._space = family.task_space
        self._space.check_split(split)
        self._default = (split, self._choice(task))
        self._split, self._chosen_ND = self._default
        self._every_world = torch.ones(family.num_worlds, dtype=torch.bool)
        self._key_N: Tensor | None = None

    @property
    def seeded(self) -> bool:
        return self._key_N is not None

    @property
    def tasks(self) -> np.ndarray:
        """The present tasks, a fresh float64 `(N, D)`."""
        return self._family.task_ND.numpy().copy()

    def reset(self, seeds: Sequence[int] | None, options: Mapping[str, Any] | None) -> None:
        """Start an episode in every world; nothing has changed if this raises.

        Args:
            seeds: one per world, or None to go on to the next episode of the seeds given before.
                Seeds forget the options of earlier resets.
            options: `task` (`(D,)` or `(N, D)`; None draws again) and `split`.

        Raises:
            ValueError: for an unknown option or split, or a task of the wrong shape.
        """
        split, chosen_ND = self._default if seeds is not None else (self._split, self._chosen_ND)
        self._split, self._chosen_ND = self._read(options, split, chosen_ND)
        if seeds is not None:
            self._key_N = seed_keys(seeds)
            self._next_N = torch.zeros(len(seeds), dtype=torch.int64)
        self.start(self._every_world)

    def start(self, mask_N: Tensor) -> None:
        """Begin the next episode in the worlds where `mask_N` is True."""
        assert self._key_N is not None, "reset with seeds first"
        task_key_N = rng.fold_in(self._key_N, int(rng.Stream.TASK))
        drawn_ND = self._space.sample(self._split, rng.fold_in(task_key_N, self._next_N))
        task_ND = torch.where(self._chosen_ND.isnan(), drawn_ND, self._chosen_ND)
        trial_key_N = rng.fold_in(rng.fold_in(self._key_N, int(rng.Stream.EPISODE)), self._next_N)
        # The 0 is the episode's number within its trial, as in `TrialEnv`.
        self._family.reset(mask_N, task_ND, rng.fold_in(trial_key_N, 0))
        self._next_N = self._next_N + mask_N

    def choose(self, world: int, task: ArrayLike | None) -> None:
        """Play `task` `(D,)` in one world from its next episode on; None draws again."""
        row_D = task_rows(self._space, task, 1)[0]
        self._chosen_ND = self._chosen_ND.clone()
        self._chosen_ND[world] = row_D

    def _choice(self, task: ArrayLike | None) -> Tensor:
        return task_rows(self._space, task, self._family.num_worlds)

    def _read(
        self, options: Mapping[str, Any] | None, split: str, chosen_ND: Tensor
    ) -> tuple[str, Tensor]:
        """What `options` make of a split and chosen tasks."""
        options = check_options(options)
        if options.get("split") is not None:
            split, chosen_ND = options["split"], self._choice(None)
            self._space.check_split(split)
        if "task" in options:
            chosen_ND = self._choice(options["task"])
        return split, chosen_ND


class FamilyEnv(gym.Env[np.ndarray, np.ndarray | int]):
    """One world of a task family; the task is hidden from the observation.

    Every reset starts an episode on a new task. The time limit is not this class's:
    `gymnasium.make` adds it (`spec.max_episode_steps`).
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  as in the base class
        "render_modes": list(RENDER_MODES)
    }

    def __init__(
        self,
        family: str,
        *,
        split: str = "train",
        task: ArrayLike | None = None,
        episode_length: int | None = None,
        render_mode: str | None = None,
        **family_options: object,
    ) -> None:
        """Build the world; `reset` starts it.

        Args:
            family: a registered name.
            split: where tasks are drawn from: `train`, `test` or `ood`.
            task: the one task `(D,)` to play, in the units of the family's task table; drawn from
                the split at each reset if None.
            episode_length: what families with rules that depend on it play (a time limit from
                `gymnasium.make` does not reach them); the family's default if None.
            render_mode: None or `rgb_array`.
            family_options: what the family lets a user choose (see `make_family`).

        Raises:
            ValueError: for an unknown family, split, render mode or option, or a task of the wrong
                shape.
        """
        check_render_mode(render_mode)
        self._family = make_family(family, 1, episode_length=episode_length, options=family_options)
        self._episodes = Episodes(self._family, split, task)
        self.observation_space = copy.deepcopy(self._family.observation_space)
        self.action_space = cast(
            "spaces.Space[np.ndarray | int]", copy.deepcopy(self._family.action_space)
        )
        self.render_mode = render_mode
        self.metadata = type(self).metadata | {"render_fps": self._family.render_fps}

    @property
    def task(self) -> np.ndarray:
        """The hidden task of the present episode, a fresh float64 `(D,)`."""
        task_D: np.ndarray = self._episodes.tasks[0]
        return task_D

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: makes this and all later episodes reproducible, and forgets earlier options.
            options: `task`, a sequence of D numbers, is played until another is given (None draws
                again); `split` is where tasks are drawn from, and lets go of an earlier task. They
                hold for later resets too.

        Returns:
            The observation, float32 `(O,)`, and an info with `task`, float64 `(D,)`.

        Raises:
            ValueError: for an unknown option or split, or a task of the wrong shape.
        """
        check_options(options)
        super().reset(seed=seed)
        if seed is None and not self._episodes.seeded:
            seed = int(self.np_random.integers(2**63))
        self._episodes.reset(None if seed is None else [seed], options)
        self._task_D = self.task
        return self._observe(), {"task": self.task}

    def step(
        self, action: np.ndarray | int
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act once.

        Args:
            action: `(A,)` numbers in [−1, 1] (clipped to it), or an integer.

        Returns:
            The observation, float32 `(O,)`; the reward; terminated; truncated (always False); and
            an info with `task` `(D,)`, `diverged` (physics left the finite numbers, which
            terminates), one `reward_<term>` per part of the reward and, where the family reports
            it, `success`: whether the task counts as solved at this step.

        Raises:
            ValueError: for an action of the wrong shape, type or value.
        """
        one = self._family.step_one(action_array(self._family.action_space, action, ()))
        info: dict[str, Any] = {"task": self._task_D.copy(), "diverged": one.diverged}
        for name, term in one.reward_terms.items():
            info[f"reward_{name}"] = term
        if one.success is not None:
            info["success"] = one.success
        return one.observation, one.reward, one.terminated, False, info

    def render(self) -> np.ndarray | None:
        """A picture of the world, uint8 `(height, width, 3)`; None without a render mode."""
        if self.render_mode is None:
            gym.logger.warn("render() needs gymnasium.make(..., render_mode='rgb_array').")
            return None
        return self._family.render()

    def close(self) -> None:
        self._family.close()

    def _observe(self) -> np.ndarray:
        observation_O: np.ndarray = self._family.observe().numpy()[0]
        return observation_O


def seed_keys(seeds: Sequence[int]) -> Tensor:
    """One int64 key per seed, `(N,)`; a seed of any size counts modulo 2⁶⁴."""
    words = np.array([seed % 2**64 for seed in seeds], np.uint64)
    return rng.mix(torch.from_numpy(words.view(np.int64)))


def action_array(
    space: spaces.Box | spaces.Discrete, action: ArrayLike, batch: tuple[int, ...]
) -> np.ndarray:
    """Actions as an array of their own, `batch` + `(A,)` float32 or `batch` int64.

    Raises:
        ValueError: for a wrong shape, or integers outside the space.
    """
    if isinstance(space, spaces.Box):
        array = np.array(action, np.float32)
        if array.shape != batch + space.shape:
            raise _bad_action(space, action)
        return array
    array = np.array(action)
    if array.shape != batch or array.dtype.kind not in "iu":
        raise _bad_action(space, action)
    if array.min() < 0 or array.max() >= space.n:
        raise _bad_action(space, action)
    return array.astype(np.int64)


def check_options(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """`options` of a reset (None: none), or `ValueError` for a name that is not one of them."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(f"options must be a dict or None, got {options!r}.")
    for name in options:
        if name not in OPTIONS:
            raise unknown("option", name, OPTIONS)
    return options


def check_render_mode(render_mode: str | None) -> None:
    """Raise `ValueError` unless the mode is None or one of `RENDER_MODES`."""
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise unknown("render mode", render_mode, RENDER_MODES)


def _bad_action(space: spaces.Space[Any], action: ArrayLike) -> ValueError:
    return ValueError(f"Each world's action must be in {space}, got {action!r}.")
