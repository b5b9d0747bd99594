"""ReacherGoal: bring a fingertip to a hidden goal, with a reward at every step."""

import math

from torch import Tensor

from quickstudy.envs.families.reacher import Reacher, polar
from quickstudy.envs.tasks import BoxTasks, Parameter

GOAL_DISC = 0.2
"""Metres: the radius of the disc that training goals lie in."""


class ReacherGoal(Reacher):
    """A two-joint arm on a table that must find a hidden goal from the reward alone.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | angle | U[−π, π], in disjoint cells of π/50 | U[−π, π] | rad |
    | 1 | area | U[0, 1] | U[1, 1.1] (radius 0.2–0.21 m, the end of the reach) | 1 |

    The goal lies in the direction `angle` from the shoulder, at the radius 0.2 m · √area: training
    goals are uniform over the disc of 0.2 m, as Reacher-v5's.

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

    `distance` = −(distance of the fingertip to the goal after the step, m), minus `control` =
    Σ action².

    ## Episode

    Starts stretched out along x, with noise (angles U(−0.1, 0.1) rad, velocities U(−0.005, 0.005)
    rad/s). Never terminates; 50 steps (1 s) by default, 2 episodes per trial.

    ## Physics

    Gymnasium's Reacher-v5, bit for bit: RK4, 2 × 0.01 s per step. Nothing touches.

    ## Source

    Gymnasium's Reacher-v5, with the goal hidden.

    ## Peers

    Reacher-v5 shows the goal, and the way from it to the fingertip. Its distance, like every
    position MuJoCo reports after a step, is a substep old; here it is that of the angles shown.
    Before v5, and in forks of PEARL, the reward was computed before the step it was given for.
    """

    goal_radius = 0.009
    task_space = BoxTasks(
        Parameter("angle", -math.pi, math.pi, "rad"),
        Parameter("area", 0.0, 1.0, "1"),
        ood=((-math.pi, math.pi), (1.0, 1.1)),
    )

    def _goal(self, task_ND: Tensor) -> Tensor:
        angle_N, area_N = task_ND.unbind(1)
        return polar(GOAL_DISC * area_N.sqrt(), angle_N)

    def _reward(self, distance_N: Tensor) -> dict[str, Tensor]:
        return {"distance": -distance_N}
