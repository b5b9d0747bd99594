"""WalkerVel: walk at a hidden target speed."""

import torch
from torch import Tensor

from quickstudy.envs.families.walker import Walker
from quickstudy.envs.tasks import BoxTasks, Parameter

ALIVE_REWARD = 4.0
"""The highest target speed of any split, so that falling never pays."""


class WalkerVel(Walker):
    """A planar biped that must find out how fast to walk, and hold that speed without falling.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | velocity | U[0, 3], in disjoint cells of 0.03 | U[3, 4] | m/s |

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso | ℝ | rootz | m |
    | 1 | pitch of the torso | ℝ | rooty | rad |
    | 2–4 | right thigh, leg, foot angle | ℝ | thigh, leg, foot | rad |
    | 5–7 | left thigh, leg, foot angle | ℝ | thigh_left, leg_left, foot_left | rad |
    | 8 | forward velocity of the torso | [−10, 10] | rootx | m/s |
    | 9 | vertical velocity of the torso | [−10, 10] | rootz | m/s |
    | 10 | pitch velocity of the torso | [−10, 10] | rooty | rad/s |
    | 11–13 | right thigh, leg, foot velocity | [−10, 10] | thigh, leg, foot | rad/s |
    | 14–16 | left thigh, leg, foot velocity | [−10, 10] | thigh_left, leg_left, foot_left | rad/s |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | right thigh, leg, foot torque | [−1, 1] | thigh, leg, foot | 100 N·m |
    | 3–5 | left thigh, leg, foot torque | [−1, 1] | thigh_left, leg_left, foot_left | 100 N·m |

    ## Reward

    `speed` = −|forward velocity − target velocity| (m/s), plus `alive` = 4 (the highest target of
    any split: else a fast target would make falling pay), minus `control` = 0.001 Σ action². The
    velocity is the change of x over the step divided by 0.016 s.

    ## Episode

    Starts at the model's rest pose with noise (positions and velocities U(−0.005, 0.005)).
    Terminates where the torso leaves heights 0.8–2.0 m or pitches by 1 rad; 200 steps (3.2 s) by
    default, 2 episodes per trial. Standing still earns 4 minus the target speed in each step: read
    scores beside the anchors.

    ## Physics

    Gymnasium's Walker2d-v5 body with an elliptic friction cone and the implicitfast integrator
    (its RK4 costs four times as much), 4 × 0.004 s per step.

    ## Source

    MAML's velocity tasks (Finn et al. 2017) for the walker, as in ProMP (Rothfuss et al. 2019),
    with the half-cheetah's ranges.

    ## Peers

    ProMP draws from U[0, 10] and pays 15 for being alive; its step of 0.016 s, observation,
    termination and control cost are these. Its left foot has more friction than the right one, as
    Gymnasium's walker had before v5.
    """

    task_space = BoxTasks(Parameter("velocity", 0.0, 3.0, "m/s"), ood=((3.0, 4.0),))

    def _terms(self, velocity_N: Tensor, control_N: Tensor) -> dict[str, Tensor]:
        return {
            "speed": -(velocity_N - self.task_ND[:, 0]).abs(),
            "alive": torch.full_like(velocity_N, ALIVE_REWARD),
            "control": control_N,
        }
