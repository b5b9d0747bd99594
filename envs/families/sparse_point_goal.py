"""SparsePointGoal: search a half circle for a goal that shows only when it is reached."""

import math

import torch
from torch import Tensor

from quickstudy.envs.families.point import Point
from quickstudy.envs.tasks import BoxTasks, Parameter

GOAL_RADIUS = 0.2
"""Metres; nothing is earned farther away."""


class SparsePointGoal(Point):
    """A point that must search for its goal once, remember it, and go straight there afterwards.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | angle | U[0, π], in disjoint cells of π/100 | U[π, 2π] (never searched) | rad |

    The goal lies on the unit circle at that angle.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | position x, y | ℝ | m |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | move along x, y | [−1, 1] | 0.1 m |

    ## Reward

    `goal` = 1 − distance (m) within 0.2 m of the goal, else 0.

    ## Episode

    Starts at the origin and never terminates; 20 steps by default, 5 episodes per trial. Twenty
    steps do not suffice to search the half circle, so exploring must go on across episodes.

    ## Source

    The sparse semi-circle of PEARL and VariBAD (Rakelly et al. 2019; Zintgraf et al. 2020).

    ## Peers

    VariBAD plays 3 episodes of 100 steps, Ni et al. 2022 2 of 60; at 100 the half circle is nearly
    searched in the first. PEARL plays 20 steps, as here, but trains on the dense distance.
    """

    task_space = BoxTasks(Parameter("angle", 0.0, math.pi, "rad"), ood=((math.pi, 2.0 * math.pi),))

    def _goal(self, task_ND: Tensor) -> Tensor:
        angle_N = task_ND[:, 0]
        return torch.stack([angle_N.cos(), angle_N.sin()], dim=1)

    def _reward(self, distance_N: Tensor) -> dict[str, Tensor]:
        near = distance_N <= GOAL_RADIUS
        return {"goal": torch.where(near, 1.0 - distance_N, 0.0)}
