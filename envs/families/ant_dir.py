"""AntDir: walk along +x or −x."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.envs.families.ant import Ant
from quickstudy.envs.tasks import ListedTasks, Parameter, TaskSpace

CONTROL_COST = 0.5
ALIVE_REWARD = 1.0


class AntDir(Ant):
    """A four-legged ant that must find out which of two opposite ways to walk.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | heading | 0 or π, each with probability ½ | ±π/2 (sideways) | rad |

    These are true opposites.

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

    `run` = velocity in the plane · (cos heading, sin heading) (m/s), plus `alive` = 1, minus
    `control` = 0.5 Σ action².

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Terminates where the torso leaves heights 0.2–1.0 m; 200 steps (10 s) by default, 2 episodes per
    trial. Standing still earns about 200: read scores beside the anchors.

    ## Physics

    Gymnasium's ant body with an elliptic friction cone and the implicitfast integrator (much
    faster than its RK4, and the same on every engine), 5 × 0.01 s per step.

    ## Source

    The ant of Schulman et al. 2016, told to walk forwards or backwards as in ProMP (Rothfuss et al.
    2019).

    ## Peers

    Three tasks share this name. ProMP's is this one, with 111 features (contact forces). In
    VariBAD, TrMRL and Ni et al. 2022 the task ±1 is used as an angle in radians: a fixed policy
    along +x earns cos 1 = 54 % of what the oracle runs. PEARL's is two random headings, the same
    in training and evaluation. All of them charge for contact forces, which were zero in mujoco-py
    above 2.0, and so in the published results; there is no such term here. Their heights end at
    1.0 m from 0.2 m (ProMP: from 0).
    """

    task_space: ClassVar[TaskSpace] = ListedTasks(
        Parameter("heading", -math.pi, math.pi, "rad"),
        (0.0, math.pi),
        ood=(math.pi / 2, -math.pi / 2),
    )

    def _terms(self, velocity_N2: Tensor, effort_N: Tensor) -> dict[str, Tensor]:
        heading_N = self.task_ND[:, 0]
        run_N = velocity_N2[:, 0] * heading_N.cos() + velocity_N2[:, 1] * heading_N.sin()
        return {
            "run": run_N,
            "alive": torch.full_like(run_N, ALIVE_REWARD),
            "control": -CONTROL_COST * effort_N,
        }
