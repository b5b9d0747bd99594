"""AntDir1Rad-legacy: what VariBAD and TrMRL call AntDir, to compare with their curves."""

from quickstudy.envs.families.ant_dir import AntDir
from quickstudy.envs.tasks import ListedTasks, Parameter


class AntDir1RadLegacy(AntDir):
    """A four-legged ant that must find out whether to walk to the front left or the front right.

    Published scores under the name AntDir are of this task; `AntDir` is what the name says.

    ## Task

    | index | name | values | unit |
    |---|---|---|---|
    | 0 | heading | −1 or +1 (57.3° to either side of +x), each with probability ½ | rad |

    The two tasks are all there is: `train` and `test` share them (held out are the seeds), and
    there is no `ood` split.

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
    `control` = 0.5 Σ action². Walking straight along +x earns cos 1 = 54 % of the oracle's `run`
    under either task, without adapting.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Terminates where the torso leaves heights 0.2–1.0 m; 200 steps (10 s) by default, 2 episodes per
    trial. Standing still earns about 200: read scores beside the anchors.

    ## Physics

    AntDir's: Gymnasium's ant body, elliptic friction cone, implicitfast, 5 × 0.01 s per step.

    ## Source

    VariBAD's AntDir (Zintgraf et al. 2020), as TrMRL (Melo 2022) and Ni et al. 2022 play it.

    ## Peers

    VariBAD, TrMRL and Ni et al. take the task ±1 for an angle in radians. Theirs also subtract
    0.0005 Σ clip(contact force, −1, 1)², which mujoco-py above 2.0 left at zero, and so it was in
    the published results; there is no such term here. Their physics is that of older MuJoCo
    versions, with RK4 and the pyramidal friction cone.
    """

    task_space = ListedTasks(Parameter("heading", -1.0, 1.0, "rad"), (-1.0, 1.0))
