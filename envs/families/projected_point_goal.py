"""ProjectedPointGoal: PointGoal behind random maps."""

from quickstudy.envs.families.point_goal import PointGoal
from quickstudy.envs.projection import Projected


class ProjectedPointGoal(Projected, base=PointGoal):
    """A point that must find a hidden goal, seen and moved through random linear maps.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | goal_x | U[−1, 1], in disjoint cells of 0.02 | U[1, 1.5] | m |
    | 1 | goal_y | U[−1, 1] | U[−1, 1] | m |
    | 2 | projection | even (train), odd (test) seeds below 2⁴⁰ | odd seeds | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–11 | M_o · position, M_o a random 12 × 2 matrix with orthonormal columns | ℝ | m |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | the point moves by M_a · action | [−1, 1] | 0.1 m |

    M_a is a random orthogonal 2 × 2 matrix; what it makes of an action is clipped to the box.

    ## Reward

    `distance` = −(Euclidean distance to the goal after the move, m).

    ## Episode

    Starts at the origin and never terminates; 20 steps by default, 2 episodes per trial. The maps
    are those of the trial.

    ## Source

    PEARL's point robot (Rakelly et al. 2019) behind the maps of Lu et al. 2023 (section 3.2): the
    smallest family on which to try a method for them.

    ## Peers

    None known.
    """
