"""N Meta-World worlds in one process.

Shape legend: N worlds, O observation features, A action dimensions, P numbers of a saved world.
"""

from dataclasses import dataclass

import numpy as np

from quickstudy.envs.metaworld.arena import Arena, World, arena_of

OBSERVATION_SIZE = 39
ACTION_SIZE = 4
FRAME_SIZE = 18
"""Of an observation's 39 numbers 18 are of this step, 18 of the one before, 3 the goal."""

STATE_SIZE = 320
"""Room for the simulation's state of any environment (310 is the most on MuJoCo 4.0.0)."""

SAVED_SIZE = STATE_SIZE + FRAME_SIZE + 1

STAYS = -1
"""In place of an environment's number: this world is not reset."""

UNSET = -1.0


@dataclass
class Result:
    """What the last call brought to each world."""

    observation_NO: np.ndarray
    """float64."""
    reward_N: np.ndarray
    """float64."""
    success_N: np.ndarray
    """bool: True where Meta-World calls the step's state a success."""
    diverged_N: np.ndarray
    """bool: True where physics met a bad state."""

    @staticmethod
    def blank(num_worlds: int) -> "Result":
        return Result(
            np.zeros((num_worlds, OBSERVATION_SIZE)),
            np.zeros(num_worlds),
            np.zeros(num_worlds, np.bool_),
            np.zeros(num_worlds, np.bool_),
        )

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.observation_NO, self.reward_N, self.success_N, self.diverged_N


class Worlds:
    """N worlds that take turns in the arenas of this process."""

    def __init__(self, num_worlds: int, *, goal_visible: bool) -> None:
        self.result = Result.blank(num_worlds)
        self._goal_visible = goal_visible
        self._worlds: list[tuple[Arena, World] | None] = [None] * num_worlds

    def reset(self, task_N2: np.ndarray) -> None:
        """Start episodes on tasks (int64 environment and goal); where `STAYS`, go on."""
        for index, (environment, goal) in enumerate(task_N2.tolist()):
            if environment != STAYS:
                arena = arena_of(environment, self._goal_visible)
                start = arena.start(goal)
                self._worlds[index] = arena, start.world.copy()
                self.result.observation_NO[index] = start.observation

    def step(self, action_NA: np.ndarray) -> None:
        """Act once in every world; float32 in [−1, 1]."""
        result = self.result
        for index, place in enumerate(self._worlds):
            assert place is not None, "reset first"
            arena, world = place
            step = arena.step(world, action_NA[index])
            result.observation_NO[index] = step.observation
            result.reward_N[index] = step.reward
            result.success_N[index] = step.success
            result.diverged_N[index] = step.diverged

    def save(self) -> np.ndarray:
        """Everything that later steps depend on but the tasks, float64 `(N, P)`."""
        saved_NP = np.zeros((len(self._worlds), SAVED_SIZE))
        for row_P, place in zip(saved_NP, self._worlds, strict=True):
            if place is not None:
                _, world = place
                row_P[: len(world.state_S)] = world.state_S
                row_P[STATE_SIZE:-1] = world.attributes["_prev_obs"]
                distance = world.attributes.get("_target_to_obj_init")
                row_P[-1] = UNSET if distance is None else distance
        return saved_NP

    def load(self, task_N2: np.ndarray, saved_NP: np.ndarray) -> None:
        """Go on where `save` was called, on the tasks of then."""
        for index, (environment, goal) in enumerate(task_N2.tolist()):
            row_P = saved_NP[index]
            arena = arena_of(environment, self._goal_visible)
            world = arena.start(goal).world.copy()
            world.state_S[:] = row_P[: len(world.state_S)]
            world.attributes["_prev_obs"] = row_P[STATE_SIZE:-1].copy()
            # Bin-picking keeps the distance at its first step; nothing else is kept in attributes.
            if row_P[-1] != UNSET:
                world.attributes["_target_to_obj_init"] = float(row_P[-1])
            self._worlds[index] = arena, world

    def picture(self, index: int) -> np.ndarray:
        """An RGB picture of one world, uint8 `(height, width, 3)`."""
        place = self._worlds[index]
        assert place is not None, "reset first"
        arena, world = place
        return arena.picture(world)

    def close(self) -> None:
        """Free what `picture` opened."""
        for place in self._worlds:
            if place is not None:
                place[0].close()
