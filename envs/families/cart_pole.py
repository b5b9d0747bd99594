"""CartPole: balance a pole of unknown length and weight on a cart of unknown strength.

Shape legend: N worlds, D = 3 task parameters.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.drawing import draw_rod, paper
from quickstudy.envs.family import Family, Outcome, unbounded_box
from quickstudy.envs.tasks import BoxTasks, Parameter

GRAVITY = 9.8
CART_MASS = 1.0
STEP_SECONDS = 0.02
LARGEST_POSITION = 2.4
LARGEST_ANGLE = math.radians(12.0)
START = 0.05
"""Largest start of each of the four numbers."""

SIDE = 5.0
"""Metres along the picture's side."""


class CartPole(Family):
    """A cart that must keep a pole upright by pushes of full strength to either side.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | half_length | U[0.25, 0.75], in disjoint cells of 0.005 | U[0.75, 1] | m |
    | 1 | pole_mass | U[0.05, 0.15] | U[0.15, 0.2] | kg |
    | 2 | force | U[5, 15] | U[3, 5] | N |

    Half the pole's length is what its equations of motion hold.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | position of the cart | ℝ | m |
    | 1 | velocity of the cart | ℝ | m/s |
    | 2 | angle of the pole (0 is up, positive to the right) | ℝ | rad |
    | 3 | angular velocity of the pole | ℝ | rad/s |

    ## Action

    0 pushes the cart to the left with the task's force, 1 to the right.

    ## Reward

    `upright` = 1 where the pole was still upright before the push, 0 after it has fallen (which
    only who plays on beyond the end of an episode can see).

    ## Episode

    Starts with all four numbers from U(−0.05, 0.05). Terminates where the cart leaves ±2.4 m or the
    pole ±12°; 500 steps (10 s) by default, 1 episode per trial.

    ## Physics

    Explicit Euler steps of 0.02 s.

    ## Source

    Barto, Sutton & Anderson 1983, in the form of Gymnasium's CartPole-v1, which it is at the middle
    of the ranges (tested).

    ## Peers

    Gymnasium's has one task, and draws its starts from NumPy's generator.
    """

    task_space = BoxTasks(
        Parameter("half_length", 0.25, 0.75, "m"),
        Parameter("pole_mass", 0.05, 0.15, "kg"),
        Parameter("force", 5.0, 15.0, "N"),
        ood=((0.75, 1.0), (0.15, 0.2), (3.0, 5.0)),
    )
    observation_space = unbounded_box(4)
    action_space = spaces.Discrete(2)
    render_fps = 50

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._state_N4 = torch.zeros(num_worlds, 4, dtype=torch.float64, device=self.device)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        start_N4 = START * (2.0 * rng.uniform(key_N, 4) - 1.0)
        self._state_N4 = torch.where(mask_N.unsqueeze(1), start_N4, self._state_N4)

    def _advance(self, action: Tensor) -> Outcome:
        upright_N = ~self._fallen()
        _, speed_N, angle_N, turning_N = self._state_N4.unbind(1)
        cart_N, pole_N = accelerations(self.task_ND, action, angle_N, turning_N)
        change_N4 = torch.stack([speed_N, cart_N, turning_N, pole_N], dim=1)
        self._state_N4 = self._state_N4 + STEP_SECONDS * change_N4
        diverged_N = ~self._state_N4.isfinite().all(dim=1)
        return Outcome({"upright": upright_N.to(torch.float64)}, self._fallen(), diverged_N)

    def _fallen(self) -> Tensor:
        position_N, angle_N = self._state_N4[:, 0], self._state_N4[:, 2]
        return (position_N.abs() > LARGEST_POSITION) | (angle_N.abs() > LARGEST_ANGLE)

    def _observe(self) -> Tensor:
        return self._state_N4

    def state_dict(self) -> dict[str, Tensor]:
        return {"task": self.task_ND.clone(), "state": self._state_N4.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._state_N4 = self._restored(state["state"])

    def render(self, world: int = 0) -> np.ndarray:
        """The track from the side, 5 m wide; the pole as long as the task's."""
        x, _, angle, _ = self._state_N4[world].tolist()
        length = 2.0 * float(self.task_ND[world, 0])
        tip = (x + length * math.sin(angle), length * math.cos(angle))
        picture = paper()
        track = ((-LARGEST_POSITION, 0.0), (LARGEST_POSITION, 0.0))
        draw_rod(picture, track, 0.02, (170, 170, 170), SIDE)
        draw_rod(picture, ((x - 0.15, 0.0), (x + 0.15, 0.0)), 0.12, (60, 60, 60), SIDE)
        draw_rod(picture, ((x, 0.0), tip), 0.04, (200, 150, 100), SIDE)
        return picture


def accelerations(
    task_ND: Tensor, action_N: Tensor, angle_N: Tensor, turning_N: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the cart (m/s²) and of the pole (rad/s²), `(N,)` each (Florian 2007, eq. 23 and 24).

    Without friction, and with the cart's acceleration from the same force balance.
    """
    half_length_N, mass_N, force_N = task_ND.unbind(1)
    push_N = torch.where(action_N == 1, force_N, -force_N)
    sine_N, cosine_N = angle_N.sin(), angle_N.cos()
    total_N, moment_N = CART_MASS + mass_N, mass_N * half_length_N
    common_N = (push_N + moment_N * turning_N.square() * sine_N) / total_N
    inertia_N = half_length_N * (4.0 / 3.0 - mass_N * cosine_N.square() / total_N)
    pole_N = (GRAVITY * sine_N - cosine_N * common_N) / inertia_N
    return common_N - moment_N * pole_N * cosine_N / total_N, pole_N
