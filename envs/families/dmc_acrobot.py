"""The control suite's acrobot.

Shape legend: N worlds, A actions.
"""

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.dmc.tolerance import gaussian
from quickstudy.envs.family import unbounded_box, unit_box


class DMCAcrobotSwingup(DMCFamily):
    """Two links with a motor between them alone, whose tip must be swung to the top and held.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | sines of the upper and lower arm's angles (0 is up) | [−1, 1] | 1 |
    | 2, 3 | their cosines | [−1, 1] | 1 |
    | 4, 5 | angular velocities of shoulder and elbow | ℝ | rad/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | torque at the elbow | [−1, 1] | 2 N·m |

    ## Reward

    `reach` = 1 with the tip within 0.2 m of the top (4 m up), farther off 0.1^(d²) at d m more.

    ## Episode

    Starts at rest with both angles U(−π, π). Never terminates; 1000 steps (10 s) by default, 1
    episode per trial.

    ## Physics

    The suite's model: RK4, 0.01 s per step, no contacts.

    ## Source

    acrobot-swingup of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).
    Lu et al. 2023 leave it out, though it fits their 12 features and 2 actions.

    ## Peers

    dm_control's is the same, step by step (tested); its starts come from NumPy's generator.
    Gymnasium's Acrobot is another task: three actions, −1 per step.
    """

    model_file = "acrobot.xml"
    observation_space = unbounded_box(6)
    action_space = unit_box(1)
    render_fps = 100
    term = "reach"

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        model = self.engine.mjmodel
        target, upper_arm = model.site("target"), model.body("upper_arm")
        self._target_height = float(target.pos[2] - upper_arm.pos[2])
        self._target_size = float(target.size[0])
        lengths = (model.body("lower_arm").pos[2], model.site("tip").pos[2])
        self._lengths_2 = self._constant(lengths)

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        return self._random_joints(rng.uniform(key_N, 2)), torch.zeros_like(self._qvel_NV)

    def _observe(self) -> Tensor:
        angle_N2 = self._qpos_NQ.cumsum(dim=1)
        return torch.cat([angle_N2.sin(), angle_N2.cos(), self._qvel_NV], dim=1)

    def _reward(self, action_NA: Tensor) -> Tensor:
        del action_NA  # unused
        angle_N2 = self._qpos_NQ.cumsum(dim=1)
        x_N = (self._lengths_2 * angle_N2.sin()).sum(dim=1)
        z_N = (self._lengths_2 * angle_N2.cos()).sum(dim=1)
        distance_N = torch.hypot(x_N, self._target_height - z_N)
        return gaussian(distance_N, 0.0, self._target_size, margin=1.0)
