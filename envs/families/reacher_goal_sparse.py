"""ReacherGoalSparse: sweep a half circle for a goal that shows only when it is near."""

import math

import torch
from torch import Tensor

from quickstudy.envs.families.reacher import Reacher, polar
from quickstudy.envs.tasks import BoxTasks, Parameter

GOAL_RADIUS = 0.09
"""Metres; nothing is earned farther away."""
BEST_REWARD = 0.2
"""Per step with the fingertip on the goal."""


class ReacherGoalSparse(Reacher):
    """A two-joint arm that must search for its goal once, and remember where it was.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | angle | U[0, π], in disjoint cells of π/100 | U[π, 2π] (never searched) | rad |
    | 1 | radius | U[0.2, 0.25] | U[0.2, 0.25] | m |

    The goal lies in the direction `angle` from the shoulder. The arm is 0.21 m long: goals farther
    out cannot be touched, but come as near as 0.04 m, within the radius that pays.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0, 1 | cosine of the angle | [−1, 1] | shoulder, elbow | 1 |
    | 2, 3 | sine of the angle | [−1, 1] | shoulder, elbow | 1 |
    | 4, 5 | angular velocity | ℝ | shoulder, elbow | rad/s |
    | 6, 7 | position x, y of the fingertip | [−0.21, 0.21] | | m |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0, 1 | torque | [−1, 1] | shoulder, elbow | 200 N·m |

    ## Reward

    `goal` = 0.2 − distance (m) where the fingertip is within 0.09 m of the goal after the step,
    else 0; minus `control` = Σ action². Nothing pays for coming nearer from afar.

    ## Episode

    Starts stretched out along x, with noise (angles U(−0.1, 0.1) rad, velocities U(−0.005, 0.005)
    rad/s). Never terminates; 50 steps (1 s) by default, 3 episodes per trial: one to sweep the
    half circle, two to profit from it.

    ## Physics

    Gymnasium's Reacher-v5, bit for bit: RK4, 2 × 0.01 s per step. Nothing touches.

    ## Source

    The sparse reacher of several forks of PEARL's code (`reacher-goal-sparse`); no paper defines
    it.

    ## Peers

    Angles, radii, goal radius and costs are the forks'. Some of them list angles at equal
    distances on one radius drawn for all. They compute the reward before the step it is given for,
    so an action is paid for where the last one led; and they keep Gymnasium's observation, with a
    target in it that has nothing to do with the goal.
    """

    goal_radius = GOAL_RADIUS
    task_space = BoxTasks(
        Parameter("angle", 0.0, math.pi, "rad"),
        Parameter("radius", 0.2, 0.25, "m"),
        ood=((math.pi, 2.0 * math.pi), (0.2, 0.25)),
    )

    def _goal(self, task_ND: Tensor) -> Tensor:
        angle_N, radius_N = task_ND.unbind(1)
        return polar(radius_N, angle_N)

    def _reward(self, distance_N: Tensor) -> dict[str, Tensor]:
        near_N = distance_N <= GOAL_RADIUS
        return {"goal": torch.where(near_N, BEST_REWARD - distance_N, 0.0)}
