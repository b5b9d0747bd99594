"""The control suite's ball in cup.

Shape legend: N worlds, A actions.
"""

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.family import unbounded_box, unit_box


class DMCBallInCupCatch(DMCFamily):
    """A cup that must catch the ball hanging from it by a string.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | position of the cup, x and z, from its rest | ℝ | m |
    | 2, 3 | position of the ball, x and z, from 0.2 m above the ground | ℝ | m |
    | 4, 5 | velocity of the cup, x and z | ℝ | m/s |
    | 6, 7 | velocity of the ball, x and z | ℝ | m/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | force on the cup, x and z | [−1, 1] | 5 N |

    ## Reward

    `catch` = 1 with the ball in the cup (nearer than 0.025 m to its middle in x and z), else 0.

    ## Episode

    Starts at rest, the ball at x U(−0.2, 0.2) and z U(0.2, 0.5) m, where it touches nothing. Never
    terminates; 1000 steps (20 s) by default, 1 episode per trial.

    ## Physics

    The suite's model: Euler, 10 × 0.002 s per step.

    ## Source

    ball_in_cup-catch of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al.
    2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts come from NumPy's generator.
    """

    model_file = "ball_in_cup.xml"
    substeps = 10
    camera = "cam0"
    observation_space = unbounded_box(8)
    action_space = unit_box(2)
    term = "catch"

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        model = self.engine.mjmodel
        target = model.site("target")
        self._cup_from_ball_2 = self._constant(
            (model.body("cup").pos + target.pos - model.body("ball").pos)[[0, 2]]
        )
        self._room_2 = self._constant(target.size[[0, 2]] - model.geom("ball").size[0])

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        u_N2 = rng.uniform(key_N, 2)
        cup_N2 = torch.zeros_like(u_N2)
        ball_N2 = torch.stack([0.4 * u_N2[:, 0] - 0.2, 0.2 + 0.3 * u_N2[:, 1]], dim=1)
        return torch.cat([cup_N2, ball_N2], dim=1), torch.zeros_like(self._qvel_NV)

    def _observe(self) -> Tensor:
        return torch.cat([self._qpos_NQ, self._qvel_NV], dim=1)

    def _reward(self, action_NA: Tensor) -> Tensor:
        del action_NA  # unused
        offset_N2 = self._cup_from_ball_2 + self._qpos_NQ[:, :2] - self._qpos_NQ[:, 2:]
        return (offset_N2.abs() < self._room_2).all(dim=1).to(torch.float64)
