"""The control suite's pendulum.

Shape legend: N worlds, A actions.
"""

import math

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.dmc.tolerance import within
from quickstudy.envs.family import unbounded_box, unit_box

UPRIGHT = math.cos(math.radians(8.0))


class DMCPendulumSwingup(DMCFamily):
    """A pendulum with a weak motor that must be swung up and held.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | cosine, sine of the angle (0 is up) | [−1, 1] | 1 |
    | 2 | angular velocity | ℝ | rad/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | torque | [−1, 1] | N·m |

    ## Reward

    `upright` = 1 within 8° of upright, else 0.

    ## Episode

    Starts at rest at an angle U(−π, π). Never terminates; 1000 steps (20 s) by default, 1 episode
    per trial.

    ## Physics

    The suite's model: Euler, 0.02 s per step. Gravity's torque is up to 4.9 N·m.

    ## Source

    pendulum-swingup of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts come from NumPy's generator.
    Gymnasium's Pendulum is another task: dense reward, torque up to 2 N·m, 200 steps.
    """

    model_file = "pendulum.xml"
    observation_space = unbounded_box(3)
    action_space = unit_box(1)
    term = "upright"

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        return self._random_joints(rng.uniform(key_N, 1)), torch.zeros_like(self._qvel_NV)

    def _observe(self) -> Tensor:
        return torch.cat([self._qpos_NQ.cos(), self._qpos_NQ.sin(), self._qvel_NV], dim=1)

    def _reward(self, action_NA: Tensor) -> Tensor:
        del action_NA  # unused
        return within(self._qpos_NQ[:, 0].cos(), UPRIGHT, 1.0)
