"""Families whose worlds are MuJoCo simulations.

Shape legend: N worlds, Q generalised positions, V generalised velocities.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import load_model
from quickstudy.envs.engine import Capacity
from quickstudy.envs.engines import make_engine
from quickstudy.envs.family import Family
from quickstudy.envs.headless import make_renderer, mujoco
from quickstudy.envs.nested_state import nested, part

RENDER_HEIGHT = 240
RENDER_WIDTH = 320


class MujocoFamily(Family):
    """Adds an engine, Gymnasium's reset noise and a camera that follows the robot."""

    model_file: ClassVar[str]
    substeps: ClassVar[int]
    camera: ClassVar[str] = "track"
    body_fields: ClassVar[tuple[str, ...]] = ()
    """The `mjModel` fields in which worlds differ (see `BodyFamily`)."""
    capacity: ClassVar[Capacity | None] = None
    """Room for contacts on a GPU; twice what random controls need if None."""

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device)
        model = self._load_model()
        self.engine = make_engine(
            model,
            num_worlds,
            self.substeps,
            self.placement,
            fields=self.body_fields,
            capacity=self.capacity,
            num_threads=num_threads,
        )
        self.active_N: Tensor | None = None
        """The worlds that `step` moves; all if None."""
        self._qpos_NQ = self.engine.data["qpos"]
        self._qvel_NV = self.engine.data["qvel"]
        self._ctrl_NA = self.engine.data["ctrl"]
        self._qpos0_Q = torch.tensor(model.qpos0, device=self.device)
        self._branches = torch.arange(2, device=self.device)
        self._renderer: mujoco.Renderer | None = None

    def _load_model(self) -> mujoco.MjModel:
        return load_model(self.model_file)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        """Noise as in Gymnasium's v5: qpos0 + U(−0.1, 0.1), velocity 0.1·N(0, 1)."""
        self.engine.reset(mask_N)
        qpos_NQ, qvel_NV = self._initial_state(key_N)
        mask_N1 = mask_N.unsqueeze(1)
        self._qpos_NQ.copy_(torch.where(mask_N1, qpos_NQ, self._qpos_NQ))
        self._qvel_NV.copy_(torch.where(mask_N1, qvel_NV, self._qvel_NV))

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        """Positions `(N, Q)` and velocities `(N, V)`, from branches 0 and 1 of the keys."""
        num_qpos, num_qvel = self._qpos_NQ.shape[1], self._qvel_NV.shape[1]
        pairs = 2 * ((num_qvel + 1) // 2)
        branches_N2 = rng.fold_in(key_N.unsqueeze(1), self._branches)
        u_N2K = rng.uniform(branches_N2, max(num_qpos, pairs))
        qpos_NQ = self._qpos0_Q + 0.2 * u_N2K[:, 0, :num_qpos] - 0.1
        return qpos_NQ, 0.1 * rng.box_muller(u_N2K[:, 1, :pairs])[:, :num_qvel]

    def _simulate(self, action_NA: Tensor) -> None:
        self._ctrl_NA.copy_(action_NA)
        self.engine.step(self.active_N)

    def state_dict(self) -> dict[str, Tensor]:
        own = {"task": self.task_ND.clone(), "diverged": self._diverged_N.clone()}
        return own | nested("engine", self.engine.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._diverged_N = self._restored(state["diverged"])
        self.engine.load_state_dict(part("engine", state))

    def check_capacity(self) -> None:
        self.engine.check_capacity()

    def render(self, world: int = 0) -> np.ndarray:
        if self._renderer is None:
            model = self.engine.world_model(world)
            self._renderer = make_renderer(model, RENDER_HEIGHT, RENDER_WIDTH)
        data = self.engine.mjdata(world)
        self._place_markers(data, world)
        self._renderer.update_scene(data, camera=self.camera)
        picture: np.ndarray = self._renderer.render()
        return picture

    def _place_markers(self, data: mujoco.MjData, world: int) -> None:
        """Move what is drawn but is no part of the physics (a target) to where it is."""

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
