"""Pendulum: swing up a rod of unknown weight and length under unknown gravity.

Shape legend: N worlds, D = 3 task parameters.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.drawing import draw_rod, paper
from quickstudy.envs.family import Family, Outcome, unbounded_box, unit_box
from quickstudy.envs.tasks import BoxTasks, Parameter

STEP_SECONDS = 0.05
LARGEST_TORQUE = 2.0
LARGEST_SPEED = 8.0
"""rad/s; faster is cut off."""

SIDE = 3.2
"""Metres along the picture's side."""


class Pendulum(Family):
    """A rod that a motor too weak to lift it must swing up, and then hold.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | gravity | U[8, 12], in disjoint cells of 0.04 | U[12, 14] | m/s² |
    | 1 | mass | U[0.8, 1.2] | U[1.2, 1.4] | kg |
    | 2 | length | U[0.8, 1.2] | U[1.2, 1.4] | m |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | cosine, sine of the angle (0 is up) | [−1, 1] | 1 |
    | 2 | angular velocity | [−8, 8] | rad/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | torque of the motor | [−1, 1] | 2 N·m |

    ## Reward

    `angle` = −(angle in [−π, π), rad)², plus `speed` = −0.1 (angular velocity, rad/s)², plus
    `torque` = −0.001 (torque, N·m)²; all of what was before the step.

    ## Episode

    Starts at an angle from U(−π, π) with an angular velocity from U(−1, 1) rad/s. Never terminates;
    200 steps (10 s) by default, 1 episode per trial.

    ## Physics

    Semi-implicit Euler steps of 0.05 s; angular velocity is cut off at ±8 rad/s. At that speed the
    heaviest and longest rod, with the motor's help, still swings up.

    ## Source

    Gymnasium's Pendulum-v1, which it is at the middle of the ranges (tested).

    ## Peers

    Gymnasium's has one task, takes torques in N·m, and draws its starts from NumPy's generator.
    """

    task_space = BoxTasks(
        Parameter("gravity", 8.0, 12.0, "m/s²"),
        Parameter("mass", 0.8, 1.2, "kg"),
        Parameter("length", 0.8, 1.2, "m"),
        ood=((12.0, 14.0), (1.2, 1.4), (1.2, 1.4)),
    )
    observation_space = unbounded_box(3)
    action_space = unit_box(1)
    render_fps = 20

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._angle_N = torch.zeros(num_worlds, dtype=torch.float64, device=self.device)
        self._speed_N = torch.zeros_like(self._angle_N)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        angle_N, speed_N = (2.0 * rng.uniform(key_N, 2) - 1.0).unbind(1)
        self._angle_N = torch.where(mask_N, math.pi * angle_N, self._angle_N)
        self._speed_N = torch.where(mask_N, speed_N, self._speed_N)

    def _advance(self, action: Tensor) -> Outcome:
        torque_N = LARGEST_TORQUE * action[:, 0].to(torch.float64)
        from_up_N = torch.remainder(self._angle_N + math.pi, 2.0 * math.pi) - math.pi
        terms = {
            "angle": -from_up_N.square(),
            "speed": -0.1 * self._speed_N.square(),
            "torque": -0.001 * torque_N.square(),
        }
        faster_N = self._speed_N + STEP_SECONDS * self._acceleration(torque_N)
        self._speed_N = faster_N.clamp(-LARGEST_SPEED, LARGEST_SPEED)
        self._angle_N = self._angle_N + STEP_SECONDS * self._speed_N
        return Outcome(terms, self._never_N, ~self._angle_N.isfinite())

    def _acceleration(self, torque_N: Tensor) -> Tensor:
        """Of a rod about its end, whose moment of inertia is m l²/3, in rad/s²."""
        gravity_N, mass_N, length_N = self.task_ND.unbind(1)
        falling_N = 3.0 * gravity_N / (2.0 * length_N) * self._angle_N.sin()
        return falling_N + 3.0 / (mass_N * length_N.square()) * torque_N

    def _observe(self) -> Tensor:
        return torch.stack([self._angle_N.cos(), self._angle_N.sin(), self._speed_N], dim=1)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "task": self.task_ND.clone(),
            "angle": self._angle_N.clone(),
            "speed": self._speed_N.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._angle_N = self._restored(state["angle"])
        self._speed_N = self._restored(state["speed"])

    def render(self, world: int = 0) -> np.ndarray:
        """The rod from the side, as long as the task's, up at angle 0; its hinge is the dot."""
        angle, length = float(self._angle_N[world]), float(self.task_ND[world, 2])
        # As Gymnasium draws it, the angle grows counterclockwise.
        tip = (-length * math.sin(angle), length * math.cos(angle))
        picture = paper()
        draw_rod(picture, ((0.0, 0.0), tip), 0.1, (205, 90, 90), SIDE)
        draw_rod(picture, ((0.0, 0.0), (0.0, 0.0)), 0.04, (40, 40, 40), SIDE)
        return picture
