"""The control suite's cart with a pole: hold it up, or swing it up first.

Shape legend: N worlds, A actions.
"""

import math
from abc import abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.dmc.tolerance import gaussian, quadratic
from quickstudy.envs.family import unbounded_box, unit_box


class Cartpole(DMCFamily):
    """What both tasks share."""

    model_file = "cartpole.xml"
    observation_space = unbounded_box(5)
    action_space = unit_box(1)
    render_fps = 100
    term = "upright"

    @abstractmethod
    def _initial_positions(self, key_N: Tensor) -> Tensor:
        """Cart (m) and pole (rad, 0 is up), `(N, 2)`."""

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        velocities_N2 = 0.01 * rng.normal(rng.fold_in(key_N, 1), 2)
        return self._initial_positions(rng.fold_in(key_N, 0)), velocities_N2

    def _observe(self) -> Tensor:
        cart_N1, angle_N1 = self._qpos_NQ[:, :1], self._qpos_NQ[:, 1:]
        return torch.cat([cart_N1, angle_N1.cos(), angle_N1.sin(), self._qvel_NV], dim=1)

    def _reward(self, action_NA: Tensor) -> Tensor:
        upright_N = (self._qpos_NQ[:, 1].cos() + 1.0) / 2.0
        centred_N = (gaussian(self._qpos_NQ[:, 0], 0.0, 0.0, margin=2.0) + 1.0) / 2.0
        gentle_N = (quadratic(action_NA[:, 0]) + 4.0) / 5.0
        slow_N = (gaussian(self._qvel_NV[:, 1], 0.0, 0.0, margin=5.0) + 1.0) / 2.0
        return upright_N * gentle_N * slow_N * centred_N


class DMCCartpoleBalance(Cartpole):
    """A cart that must keep a pole upright, from an almost upright start.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | position of the cart | [−1.8, 1.8] | m |
    | 1, 2 | cosine, sine of the pole's angle (0 is up) | [−1, 1] | 1 |
    | 3 | velocity of the cart | ℝ | m/s |
    | 4 | angular velocity of the pole | ℝ | rad/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | force on the cart | [−1, 1] | 10 N |

    ## Reward

    `upright` = (1 + cos angle)/2 · (1 + g(position / 2 m))/2 · (5 − action²)/5 ·
    (1 + g(angular velocity / 5 rad/s))/2 with the bell g(x) = 0.1^(x²): 1 when all is at rest.

    ## Episode

    Starts with the cart at U(−0.1, 0.1) m, the pole at U(−0.034, 0.034) rad, velocities
    0.01·N(0, 1). Never terminates; 1000 steps (10 s) by default, 1 episode per trial.

    ## Physics

    The suite's model: RK4, 0.01 s per step.

    ## Source

    cartpole-balance of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts come from NumPy's generator.
    """

    @cached_property
    def _half_range_2(self) -> Tensor:
        return self._constant((0.1, 0.034))

    def _initial_positions(self, key_N: Tensor) -> Tensor:
        return (2.0 * rng.uniform(key_N, 2) - 1.0) * self._half_range_2


class DMCCartpoleSwingup(Cartpole):
    """A cart that must swing a hanging pole up, and keep it upright.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | position of the cart | [−1.8, 1.8] | m |
    | 1, 2 | cosine, sine of the pole's angle (0 is up) | [−1, 1] | 1 |
    | 3 | velocity of the cart | ℝ | m/s |
    | 4 | angular velocity of the pole | ℝ | rad/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | force on the cart | [−1, 1] | 10 N |

    ## Reward

    `upright` = (1 + cos angle)/2 · (1 + g(position / 2 m))/2 · (5 − action²)/5 ·
    (1 + g(angular velocity / 5 rad/s))/2 with the bell g(x) = 0.1^(x²): 1 when all is at rest.

    ## Episode

    Starts with the pole hanging: cart 0.01·N(0, 1) m, pole π + 0.01·N(0, 1) rad, velocities
    0.01·N(0, 1). Never terminates; 1000 steps (10 s) by default, 1 episode per trial.

    ## Physics

    The suite's model: RK4, 0.01 s per step.

    ## Source

    cartpole-swingup of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts come from NumPy's generator.
    """

    @cached_property
    def _hanging_2(self) -> Tensor:
        return self._constant((0.0, math.pi))

    def _initial_positions(self, key_N: Tensor) -> Tensor:
        return self._hanging_2 + 0.01 * rng.normal(key_N, 2)
