"""AntGoal: walk to a hidden goal, with a reward at every step."""

import math

import torch
from torch import Tensor

from quickstudy.envs.families.ant import Ant
from quickstudy.envs.family import unbounded_box
from quickstudy.envs.tasks import BoxTasks, Parameter

CONTROL_COST = 0.1


class AntGoal(Ant):
    """A four-legged ant that must find out where its goal is from how the reward changes.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | angle | U[0, 2π), in disjoint cells of 2π/100 | U[0, 2π) | rad |
    | 1 | squared_radius | U[0, 9] | U[9, 16] | m² |

    The goal's polar coordinates about the origin. A uniform squared radius makes goals uniform on
    the disc of 3 m; `ood` is the ring from 3 to 4 m.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | position of the torso x, y, z | ℝ | root | m |
    | 3–6 | orientation of the torso, quaternion w x y z | [−1, 1] | root | 1 |
    | 7–14 | hip and ankle angles of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad |
    | 15–17 | velocity of the torso | ℝ | root | m/s |
    | 18–20 | angular velocity of the torso | ℝ | root | rad/s |
    | 21–28 | hip and ankle velocities of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad/s |

    Unlike the other ants', it begins with x and y: a goal is a place.

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–7 | torques | [−1, 1] | hip_4, ankle_4, hip_1, ankle_1, … ankle_3 | 150 N·m |

    ## Reward

    `distance` = −(|x − goal x| + |y − goal y|) after the step (m), minus `control` = 0.1 Σ action².

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Never terminates, not even upside down; 200 steps (10 s) by default, 2 episodes per trial.
    Standing still earns about −509 on average (200 × 8/π m).

    ## Physics

    AntDir's: Gymnasium's ant body, elliptic friction cone, implicitfast, 5 × 0.01 s per step.

    ## Source

    PEARL's and ProMP's ant with random goals (Rakelly et al. 2019; Rothfuss et al. 2019).

    ## Peers

    PEARL, VariBAD and ProMP have this reward and this disc. They also subtract 0.0005 Σ
    clip(contact force, −1, 1)² and show the 84 contact forces (113 features), which mujoco-py above
    2.0 left at zero; both are left out here. PEARL lists 150 training and 30 evaluation goals,
    other ones in each run; VariBAD and ProMP draw afresh. None holds goals out.
    """

    observation_space = unbounded_box(29)
    task_space = BoxTasks(
        Parameter("angle", 0.0, 2.0 * math.pi, "rad"),
        Parameter("squared_radius", 0.0, 9.0, "m²"),
        ood=((0.0, 2.0 * math.pi), (9.0, 16.0)),
    )

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._seen = [self._qpos_NQ, self._qvel_NV]

    def _terms(self, velocity_N2: Tensor, effort_N: Tensor) -> dict[str, Tensor]:
        del velocity_N2  # unused: what counts is where the ant is
        return {
            "distance": -self._to_goal().abs().sum(dim=1),
            "control": -CONTROL_COST * effort_N,
        }

    def _to_goal(self) -> Tensor:
        """From the torso to the goal, `(N, 2)`, m."""
        angle_N, squared_radius_N = self.task_ND.unbind(1)
        goal_2N = squared_radius_N.sqrt() * torch.stack([angle_N.cos(), angle_N.sin()])
        return goal_2N.T - self._xy_N2

    def _fallen(self) -> Tensor:
        return self._never_N
