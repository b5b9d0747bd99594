"""The control suite's point mass, with known or unknown directions of its motors.

Shape legend: N worlds, A actions.
"""

import math

import torch
from torch import Tensor
from torch.linalg import vector_norm

from quickstudy.envs import rng
from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.dmc.tolerance import gaussian, quadratic
from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.headless import mujoco

MOST_PARALLEL = 0.9
"""The largest cosine between the directions of two motors."""


class DMCPointMassEasy(DMCFamily):
    """A point on a table that must be pushed to the middle.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | position x, y | [−0.29, 0.29] | m |
    | 2, 3 | velocity x, y | ℝ | m/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | force along x, y | [−1, 1] | 0.1 N |

    ## Reward

    `reach` = near · (10 − Σ action²)/10, where near = 1 within 0.015 m of the middle and 0.1^(x²)
    at x times 0.015 m more.

    ## Episode

    Starts at rest anywhere on the table. Never terminates; 1000 steps (20 s) by default, 1 episode
    per trial.

    ## Physics

    The suite's model: Euler, 0.02 s per step; 0.3 kg, damping 1 N·s/m.

    ## Source

    point_mass-easy of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts come from NumPy's generator.
    """

    model_file = "point_mass.xml"
    observation_space = unbounded_box(4)
    action_space = unit_box(2)
    term = "reach"

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._target_size = float(self.engine.mjmodel.geom("target").size[0])

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        return self._random_joints(rng.uniform(key_N, 2)), torch.zeros_like(self._qvel_NV)

    def _observe(self) -> Tensor:
        return torch.cat([self._qpos_NQ, self._qvel_NV], dim=1)

    def _reward(self, action_NA: Tensor) -> Tensor:
        distance_N = vector_norm(self._qpos_NQ, dim=1)  # the target is in the middle
        near_N = gaussian(distance_N, 0.0, self._target_size, margin=self._target_size)
        return near_N * (quadratic(action_NA).mean(dim=1) + 4.0) / 5.0


class DMCPointMassHard(DMCPointMassEasy):
    """A point on a table that must be pushed to the middle by motors of unknown directions.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    The directions are hidden too, but drawn for each episode, not for each trial.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | position x, y | [−0.29, 0.29] | m |
    | 2, 3 | velocity x, y | ℝ | m/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | force along two directions of the episode | [−1, 1] | 0.1 N |

    ## Reward

    `reach` = near · (10 − Σ action²)/10, where near = 1 within 0.015 m of the middle and 0.1^(x²)
    at x times 0.015 m more.

    ## Episode

    Starts at rest anywhere on the table, with two directions anywhere on the circle whose cosine is
    within ±0.9. Never terminates; 1000 steps (20 s) by default, 1 episode per trial.

    ## Physics

    The suite's model: Euler, 0.02 s per step; 0.3 kg, damping 1 N·s/m.

    ## Source

    point_mass-hard of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same to the last digits (tested): it turns the model's tendons, here the
    controls are turned, and it redraws directions that are too parallel, here the angle between
    them is drawn from what that leaves.
    """

    def _load_model(self) -> mujoco.MjModel:
        model = super()._load_model()
        # Two motors may push in nearly one direction: within their own limits, not the axes'.
        model.actuator_ctrlrange[:] = (-2.0, 2.0)
        return model

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        super()._start_episode(mask_N, rng.fold_in(key_N, 0))
        self._keep("directions", mask_N, random_directions(rng.fold_in(key_N, 1)))

    def _advance(self, action: Tensor) -> Outcome:
        action = action.to(torch.float64)
        self._simulate((self._drawn["directions"] * action.unsqueeze(2)).sum(dim=1))
        return Outcome({self.term: self._reward(action)}, self._never_N, self.engine.diverged)


def random_directions(key_N: Tensor) -> Tensor:
    """Two unit vectors `(N, 2, 2)`, rows, uniform among those with |cosine| ≤ 0.9."""
    first_N, between_N, side_N = rng.uniform(key_N, 3).unbind(1)
    smallest = math.acos(MOST_PARALLEL)
    between_N = smallest + between_N * (math.pi - 2.0 * smallest)
    first_N = 2.0 * math.pi * first_N
    second_N = first_N + torch.where(side_N < 0.5, -between_N, between_N)
    angle_N2 = torch.stack([first_N, second_N], dim=1)
    return torch.stack([angle_N2.cos(), angle_N2.sin()], dim=2)
