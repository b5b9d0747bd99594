"""AntDir2D: walk in any direction of the plane."""

import math

from quickstudy.envs.families.ant_dir import AntDir
from quickstudy.envs.tasks import BoxTasks, Parameter


class AntDir2D(AntDir):
    """A four-legged ant that must find out which way of all to walk.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | heading | U[0, 2π), in disjoint cells of 2π/100 | rad |

    All directions are there, so there is no `ood` split.

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
    `control` = 0.5 Σ action². One step's `run` leaves two headings open, the next one tells.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Terminates where the torso leaves heights 0.2–1.0 m; 200 steps (10 s) by default, 2 episodes per
    trial. Standing still earns about 200: read scores beside the anchors.

    ## Physics

    AntDir's: Gymnasium's ant body, elliptic friction cone, implicitfast, 5 × 0.01 s per step.

    ## Source

    ProMP's ant with random two-dimensional directions (Rothfuss et al. 2019).

    ## Peers

    ProMP draws the direction as a unit vector, which is the same distribution, and shows 111
    features (contact forces among them, which its reward also charges for). PEARL draws headings
    like these under the name AntDir, but by default only two, the same in training and evaluation.
    VariBAD's AntDir2D takes the first component of its unit vector for the angle in radians, so its
    headings lie within ±1 rad. None of them holds out headings for evaluation.
    """

    task_space = BoxTasks(Parameter("heading", 0.0, 2.0 * math.pi, "rad"))
