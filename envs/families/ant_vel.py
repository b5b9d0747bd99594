"""AntVel: walk at a hidden target speed."""

import torch
from torch import Tensor

from quickstudy.envs.families.ant import Ant
from quickstudy.envs.tasks import BoxTasks, Parameter

CONTROL_COST = 0.005
ALIVE_REWARD = 3.0
"""The fastest training target: standing still is never worth less than an ended episode."""


class AntVel(Ant):
    """A four-legged ant that must find out how fast to walk along +x, and hold that speed.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | velocity | U[0, 3], in disjoint cells of 0.03 | U[3, 4] | m/s |

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso | ℝ | root | m |
    | 1–4 | orientation of the torso, quaternion w x y z | [−1, 1] | root | 1 |
    | 5–12 | hip and ankle angles of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad |
    | 13–15 | velocity of the torso | ℝ | root | m/s |
    | 16–18 | angular velocity of the torso | ℝ | root | rad/s |
    | 19–26 | hip and ankle velocities of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad/s |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–7 | torques | [−1, 1] | hip_4, ankle_4, hip_1, ankle_1, … ankle_3 | 150 N·m |

    ## Reward

    `speed` = −|velocity along x − target velocity| (m/s), plus `alive` = 3, minus `control` = 0.005
    Σ action². The velocity is the change of x over the step divided by 0.05 s.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Terminates where the torso leaves heights 0.2–1.0 m; 200 steps (10 s) by default, 2 episodes per
    trial. Standing still earns 600 − 200 × the target velocity, on average 300; the right speed
    nearly 600.

    ## Physics

    AntDir's: Gymnasium's ant body, elliptic friction cone, implicitfast, 5 × 0.01 s per step.

    ## Source

    MAML's ant with target velocities (Finn et al. 2017), with TrMRL's out-of-distribution range of
    the half-cheetah, U[3, 4].

    ## Peers

    MAML pays 1.05 for being alive. There, under every target above 1.05 m/s, falling over at once
    beats standing still, and an ant that cannot walk yet learns to fall; so 3 here. The two rewards
    differ by 1.95 a step and in nothing else but MAML's charge for contact forces. It also shows
    contact forces and the torso's position and rotation (27 + 84 + 12 features). PEARL, VariBAD and
    TrMRL have no such family.
    """

    task_space = BoxTasks(Parameter("velocity", 0.0, 3.0, "m/s"), ood=((3.0, 4.0),))

    def _terms(self, velocity_N2: Tensor, effort_N: Tensor) -> dict[str, Tensor]:
        speed_N = -(velocity_N2[:, 0] - self.task_ND[:, 0]).abs()
        return {
            "speed": speed_N,
            "alive": torch.full_like(speed_N, ALIVE_REWARD),
            "control": -CONTROL_COST * effort_N,
        }
