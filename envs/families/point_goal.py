"""PointGoal: walk to a hidden goal, with a reward at every step."""

from torch import Tensor

from quickstudy.envs.families.point import Point
from quickstudy.envs.tasks import BoxTasks, Parameter


class PointGoal(Point):
    """A point that must find a hidden goal from the reward alone.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | goal_x | U[−1, 1], in disjoint cells of 0.02 | U[1, 1.5] | m |
    | 1 | goal_y | U[−1, 1] | U[−1, 1] | m |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | position x, y | ℝ | m |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | move along x, y | [−1, 1] | 0.1 m |

    ## Reward

    `distance` = −(Euclidean distance to the goal after the move, m).

    ## Episode

    Starts at the origin and never terminates; 20 steps by default, 2 episodes per trial.

    ## Source

    PEARL's point robot (Rakelly et al. 2019).

    ## Peers

    PEARL starts anywhere in the square and has 80 listed training and 20 test goals.
    """

    task_space = BoxTasks(
        Parameter("goal_x", -1.0, 1.0, "m"),
        Parameter("goal_y", -1.0, 1.0, "m"),
        ood=((1.0, 1.5), (-1.0, 1.0)),
    )

    def _goal(self, task_ND: Tensor) -> Tensor:
        return task_ND

    def _reward(self, distance_N: Tensor) -> dict[str, Tensor]:
        return {"distance": -distance_N}
