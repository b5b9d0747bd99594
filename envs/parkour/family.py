"""What the parkour families share: the run along a course, what robots see of it, and how it pays.

Shape legend: N worlds, S boxes, P points of a scan, A actions, Q generalised positions,
V generalised velocities.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.engine import Capacity
from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.headless import mujoco
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.parkour.course import (
    SCAN_POINTS,
    SCAN_RANGE,
    TRACK_LENGTH,
    Course,
    Slots,
    ceiling_heights,
    floor_heights,
    scan_distances,
)
from quickstudy.envs.parkour.model import build_model
from quickstudy.envs.parkour.morphology import BODY_PLANS, Morphology

MASTERED = 0.76
"""Share of the track that makes a success: 230 on the source's scale from −150 to 350."""
FALL_REWARD = -0.1
CONTROL_REWARD = -1e-4
"""Per step and unit of mean squared action: a tenth of a fall in 100 steps at full action."""
RESET_NOISE = 0.005
"""Largest deviation of a position or velocity at an episode's start."""
SEEN_SPEED = 10.0
"""Velocities are shown up to this magnitude."""


class Parkour(MujocoFamily):
    """A planar robot of a chosen body on a course of boxes; 5 × 0.005 s per step.

    The course is a function of the task (its last parameter the seed). It is laid when an episode
    starts, by moving the boxes; where they are belongs to the state of the physics.
    """

    options_type = Morphology
    slots: ClassVar[Slots]
    action_space = unit_box(BODY_PLANS["biped"].num_controls)
    substeps = 5
    render_fps = 40
    reports_success = True
    # Controls cannot probe it: boxes are out of the way until a course is laid.
    capacity = Capacity(contacts=64, constraints=192)

    def __init__(
        self,
        num_worlds: int,
        device: torch.device | str = "cpu",
        *,
        num_threads: int | None = None,
        options: Morphology | None = None,
    ) -> None:
        """Build the worlds for the body that `options` choose, the whole biped if None.

        Raises:
            ValueError: for a body that cannot start here.
        """
        self.morphology = options or Morphology()
        self.plan = BODY_PLANS[self.morphology.body]
        if self.plan.hangs and self.slots.ceiling is None:
            raise ValueError(
                f"{type(self).__name__} has no ceiling for body {self.morphology.body!r}; "
                f"ParkourGates has."
            )
        super().__init__(num_worlds, device, num_threads=num_threads)
        num_scans = SCAN_POINTS * (1 if self.slots.ceiling is None else 2)
        self.observation_space = unbounded_box(5 + 2 * self.plan.num_joints + num_scans)
        self.action_space = unit_box(self.plan.num_controls)
        self._lay_tables()

    @abstractmethod
    def _course(self, task_ND: Tensor, key_N: Tensor) -> Course:
        """The courses of these tasks, their details drawn from the keys."""

    def _load_model(self) -> mujoco.MjModel:
        return build_model(self.morphology, self.slots)

    def _lay_tables(self) -> None:
        """What steps look up, on the device."""
        like: dict[str, Any] = {"dtype": torch.float64, "device": self.device}
        self._half_width_S = torch.tensor(self.slots.half_widths, **like)
        self._offset_S = torch.tensor(self.slots.offsets, **like)
        self._ahead_P = scan_distances(self.device)
        self._level_key = rng.root_key(0, rng.Stream.LEVEL, self.device)
        self._box_x_NS, _, self._box_z_NS = self.engine.data["mocap_pos"].unbind(2)
        self._x_N, self._z_N, self._pitch_N = self._qpos_NQ.T[:3]
        self._is_grip_A = torch.tensor(
            [False] * self.plan.num_joints + [True] * self.plan.num_grips, device=self.device
        )
        start = float(self.engine.mjmodel.qpos0[1])
        self._lowest = self.plan.lowest * (1.0 if self.plan.hangs else start)
        self._find_course()

    def _find_course(self) -> None:
        key_N = rng.fold_in(self._level_key, self.task_ND[:, -1].long())
        self.course = self._course(self.task_ND, key_N)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        """The rest pose at the start of the course, with noise."""
        super()._start_episode(mask_N, key_N)
        self._find_course()
        # Of all worlds: where no task has changed, boxes are put where they are.
        self._box_x_NS.copy_(self.course.x_NS)
        self._box_z_NS.copy_(self.course.face_NS + self._offset_S)

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        """Uniform noise around the rest pose, positions from branch 0 and velocities from 1."""
        branches_N2 = rng.fold_in(key_N.unsqueeze(1), self._branches)
        noise_N2V = RESET_NOISE * (2.0 * rng.uniform(branches_N2, len(self._qpos0_Q)) - 1.0)
        return self._qpos0_Q + noise_N2V[:, 0], noise_N2V[:, 1]

    def _advance(self, action: Tensor) -> Outcome:
        x_before_N = self._x_N.clone()
        self._simulate(self._controls(action) if self.plan.num_grips else action)
        progress_N = (self._x_N - x_before_N).to(torch.float64) / TRACK_LENGTH
        fallen_N = self._fallen()
        terms = {
            "progress": progress_N,
            "control": CONTROL_REWARD * action.square().mean(dim=1, dtype=torch.float64),
            "fall": FALL_REWARD * fallen_N.to(torch.float64),
        }
        return Outcome(
            terms,
            fallen_N | (self._x_N >= TRACK_LENGTH),
            self.engine.diverged,
            self._x_N >= MASTERED * TRACK_LENGTH,
        )

    def _controls(self, action_NA: Tensor) -> Tensor:
        """Torques as they are; a grip, from −1 (open) to 1 (full), is an adhesion in [0, 1]."""
        return torch.where(self._is_grip_A, 0.5 * (action_NA + 1.0), action_NA)

    def _fallen(self) -> Tensor:
        """`(N,)`: True where the torso is too low above the ground, or too steep."""
        low_N = self._z_N - self._ground() < self._lowest
        steep_N = self._pitch_N.abs() > self.plan.steepest
        return torch.logical_or(low_N, steep_N)

    def _ground(self) -> Tensor | float:
        """The height, m, `(N,)` or of all, that the torso's is measured from."""
        return self.slots.floor

    def _observe(self) -> Tensor:
        height_N1 = (self._z_N - self._ground()).unsqueeze(1)
        pitch_N1 = torch.remainder(self._pitch_N.unsqueeze(1) + math.pi, 2 * math.pi) - math.pi
        velocity_NV = self._qvel_NV.clamp(-SEEN_SPEED, SEEN_SPEED)
        own = [height_N1, pitch_N1, self._qpos_NQ[:, 3:], velocity_NV]
        return torch.cat([*own, *self._scans()], dim=1)

    def _scans(self) -> list[Tensor]:
        """Heights of the floor ahead, and of the ceiling if there is one, above the torso.

        The course is known, so that no rays need to be cast.
        """
        x_NP = self._x_N.unsqueeze(1) + self._ahead_P
        heights = [floor_heights(self.course, self.slots, self._half_width_S, x_NP)]
        if self.slots.ceiling is not None:
            heights += [ceiling_heights(self.course, self.slots, self._half_width_S, x_NP)]
        z_N1 = self._z_N.unsqueeze(1)
        return [(height_NP - z_N1).clamp(-SCAN_RANGE, SCAN_RANGE) for height_NP in heights]

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._find_course()
