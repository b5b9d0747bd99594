"""AntGoalSparse: search a disc for a goal that shows only when the ant is near it."""

import torch
from torch import Tensor

from quickstudy.envs.families.ant_goal import AntGoal

GOAL_RADIUS = 0.75
"""Metres; farther away the reward says nothing."""
FAR_REWARD = -0.75
CONTROL_COST = 0.01


class AntGoalSparse(AntGoal):
    """A four-legged ant that must search for its goal, remember it, and walk straight there.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | angle | U[0, 2π), in disjoint cells of 2π/100 | U[0, 2π) | rad |
    | 1 | squared_radius | U[0, 9] | U[9, 16] | m² |

    The goal's polar coordinates about the origin, as in AntGoal: uniform on the disc of 3 m. 1 goal
    in 16 is near enough to be felt at the start, the others must be searched for.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | position of the torso x, y, z | ℝ | root | m |
    | 3–6 | orientation of the torso, quaternion w x y z | [−1, 1] | root | 1 |
    | 7–14 | hip and ankle angles of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad |
    | 15–17 | velocity of the torso | ℝ | root | m/s |
    | 18–20 | angular velocity of the torso | ℝ | root | rad/s |
    | 21–28 | hip and ankle velocities of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad/s |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–7 | torques | [−1, 1] | hip_4, ankle_4, hip_1, ankle_1, … ankle_3 | 150 N·m |

    ## Reward

    `goal` = 1 − distance (Euclidean, m, after the step) within 0.75 m of the goal, else −0.75;
    minus `control` = 0.01 Σ action².

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Never terminates, not even upside down; 200 steps (10 s) by default, 2 episodes per trial. Far
    from the goal an episode earns −150 and less, at the goal almost 200.

    ## Physics

    AntDir's: Gymnasium's ant body, elliptic friction cone, implicitfast, 5 × 0.01 s per step.

    ## Source

    HyperX's sparse AntGoal (Zintgraf et al. 2021), with its constants.

    ## Peers

    HyperX also subtracts 0.0005 Σ clip(contact force, −1, 1)² and shows the 84 contact forces and
    the torso's position a second time (116 features); both are left out here. It draws goals afresh
    in training and evaluation and holds none out.
    """

    def _terms(self, velocity_N2: Tensor, effort_N: Tensor) -> dict[str, Tensor]:
        del velocity_N2  # unused: what counts is where the ant is
        distance_N = self._to_goal().norm(dim=1)
        near_N = distance_N <= GOAL_RADIUS
        return {
            "goal": torch.where(near_N, 1.0 - distance_N, FAR_REWARD),
            "control": -CONTROL_COST * effort_N,
        }
