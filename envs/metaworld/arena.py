"""One Meta-World environment, in which any number of worlds take turns.

A Meta-World environment is a Python object around a compiled model of 19 MB and one simulation.
Instead of one object per world there is one per environment, and a world is what distinguishes it:
the simulation's state, the object's attributes and the goal. Taking turns costs microseconds, so
64 worlds of 50 environments need 50 models instead of up to 3200.

What a reset leads to depends on environment and goal alone, and takes Meta-World 500 steps of
physics (it closes its hand for 50 actions, twice). So it is computed once, and then copied.

Shape legend: S numbers of a simulation's state.
"""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from quickstudy.envs.headless import make_renderer, mujoco
from quickstudy.envs.metaworld.goals import environment_class, goals

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
"""Everything the next step depends on, warm start and mocap pose included."""

CAMERA = "corner2"
RENDER_HEIGHT = 240
RENDER_WIDTH = 320
GOAL_RADIUS = 0.02
GOAL_RGBA = (1.0, 0.0, 1.0, 1.0)
"""A magenta ball: in seven environments no site of Meta-World's own stands at the goal."""

_BAD_STATE = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
]

# Diverged worlds are counted; MuJoCo would also log each in the working directory.
_log_config = mujoco.MjLogConfig.get()
_log_config.logto_file = False
_log_config.set()


@dataclass
class World:
    """One world between its turns."""

    goal: int
    state_S: np.ndarray
    attributes: dict[str, Any]
    """The environment object's; its model, its simulation and views of them are shared."""

    def copy(self) -> "World":
        return World(self.goal, self.state_S.copy(), self.attributes.copy())


@dataclass(frozen=True)
class Start:
    """How an episode on one goal begins."""

    world: World
    observation: np.ndarray
    """`(39,)` float64."""
    body_pos: np.ndarray
    site_pos: np.ndarray
    """With `body_pos`, all that Meta-World writes to the model."""


@dataclass(frozen=True)
class Step:
    """What one action brought to one world."""

    observation: np.ndarray
    """`(39,)` float64."""
    reward: float
    success: bool
    diverged: bool
    """True where MuJoCo met a bad state, from which it starts anew by itself."""


class Arena:
    """One of the fifty environments, its goal shown in the observation or zeroed."""

    def __init__(self, environment: int, goal_visible: bool) -> None:
        self._goals = goals(environment)
        self._env = environment_class(environment)()
        self._env._partially_observable = not goal_visible
        self._env._set_task_called = True
        # Time limits are the caller's; beyond its own the environment would raise.
        self._env.max_path_length = sys.maxsize
        del self._env.sawyer_observation_space  # cached, for a hidden goal
        self._env.sawyer_observation_space  # noqa: B018  cached anew, once for all worlds
        self._model, self._data = self._env.model, self._env.data
        # Views, live: asking the bindings for them at each step costs more than using them.
        self._body_pos, self._site_pos = self._model.body_pos, self._model.site_pos
        self._warnings = self._data.warning.number
        self._state_size: int = mujoco.mj_stateSize(self._model, STATE)
        self._new = self._take(0, np.zeros(0))
        self._starts: dict[int, Start] = {}
        self._renderer: mujoco.Renderer | None = None

    def start(self, goal: int) -> Start:
        """The beginning of an episode on a goal; copy its world before acting in it."""
        if goal not in self._starts:
            self._enter(self._new.world.copy(), self._new)
            self._env._last_rand_vec = self._goals[goal]
            observation, _ = self._env.reset()
            self._starts[goal] = self._take(goal, observation)
        return self._starts[goal]

    def step(self, world: World, action: np.ndarray) -> Step:
        """Act in a world, which is changed; `action` is float32 `(4,)` in [−1, 1]."""
        self._enter(world, self.start(world.goal))
        observation, reward, _, _, info = self._env.step(action)
        mujoco.mj_getState(self._model, self._data, world.state_S, STATE)
        return Step(observation, float(reward), bool(info["success"]), self._has_diverged())

    def picture(self, world: World) -> np.ndarray:
        """An RGB picture with the goal in magenta, uint8 `(height, width, 3)`."""
        if self._renderer is None:
            self._renderer = make_renderer(self._model, RENDER_HEIGHT, RENDER_WIDTH)
        self._enter(world, self.start(world.goal))
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, camera=CAMERA)
        _mark(self._renderer.scene, world.attributes["_target_pos"])
        # The camera hangs upside down.
        return np.ascontiguousarray(self._renderer.render()[::-1, ::-1])

    def close(self) -> None:
        """Free what `picture` opened."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _enter(self, world: World, start: Start) -> None:
        """Make the object and its simulation those of `world`, whose goal is that of `start`."""
        self._body_pos[:] = start.body_pos
        self._site_pos[:] = start.site_pos
        self._env.__dict__ = world.attributes
        mujoco.mj_setState(self._model, self._data, world.state_S, STATE)

    def _take(self, goal: int, observation: np.ndarray) -> Start:
        state_S = np.empty(self._state_size)
        mujoco.mj_getState(self._model, self._data, state_S, STATE)
        world = World(goal, state_S, self._env.__dict__.copy())
        return Start(world, observation, self._body_pos.copy(), self._site_pos.copy())

    def _has_diverged(self) -> bool:
        if not self._warnings.any():
            return False
        diverged = bool(self._warnings[_BAD_STATE].any())
        self._warnings[:] = 0
        return diverged


def _mark(scene: mujoco.MjvScene, place: np.ndarray) -> None:
    """Add the ball that shows where the goal is."""
    ball, size, upright = mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, GOAL_RADIUS), np.eye(3).ravel()
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom], ball, size, place, upright, np.array(GOAL_RGBA, np.float32)
    )
    scene.ngeom += 1


@cache
def arena_of(environment: int, goal_visible: bool) -> Arena:
    """This process's arena: it remembers its starts, and no world depends on who else is in it."""
    return Arena(environment, goal_visible)
