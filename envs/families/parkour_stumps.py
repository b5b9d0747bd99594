"""ParkourStumps: run over stumps of a given height and spacing."""

from torch import Tensor

from quickstudy.envs.family import unbounded_box
from quickstudy.envs.level_tasks import LevelTasks
from quickstudy.envs.parkour.course import Course
from quickstudy.envs.parkour.family import Parkour
from quickstudy.envs.parkour.obstacles import STUMP_SLOTS, stump_course
from quickstudy.envs.tasks import Parameter


class ParkourStumps(Parkour):
    """A robot that runs along a floor with stumps, which it sees coming.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | height | U[0, 0.62], in disjoint cells of 0.0062 | U[0.62, 0.93] | m |
    | 1 | spacing | U[0, 2.65] | U[0, 2.65] | m |
    | 2 | seed | integers from 0 to 2³² − 1 | the same | 1 |

    Mean height of the stumps, and free way from one to the next. The seed decides each stump's own
    height: the mean plus 0.02·N(0, 1) m, none below 0. Stumps are 0.2 m wide; the first begins at
    2.6 m, and there are 24 at most: below a spacing of 0.525 m they end before the track does. The
    same parameters and seed are the same course, exactly.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso above the floor | ℝ | rootz | m |
    | 1 | pitch of the torso | [−π, π) | rooty | rad |
    | 2–4 | right thigh, shin, foot angle | ℝ | thigh, shin, foot | rad |
    | 5–7 | left thigh, shin, foot angle | ℝ | thigh_left, shin_left, foot_left | rad |
    | 8 | forward velocity of the torso | [−10, 10] | rootx | m/s |
    | 9 | vertical velocity of the torso | [−10, 10] | rootz | m/s |
    | 10 | pitch velocity of the torso | [−10, 10] | rooty | rad/s |
    | 11–13 | right thigh, shin, foot velocity | [−10, 10] | thigh, shin, foot | rad/s |
    | 14–16 | the same, left | [−10, 10] | thigh_left, shin_left, foot_left | rad/s |
    | 17–26 | height of the ground ahead, above the torso's | [−2.35, 2.35] | | m |

    The scan looks 0.235, 0.47 … 2.35 m ahead. It is computed from the course, of which nothing is
    to be seen at the start.

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | right thigh, shin, foot torque | [−1, 1] | thigh, shin, foot | 100 N·m |
    | 3–5 | left thigh, shin, foot torque | [−1, 1] | thigh_left, shin_left, foot_left | 100 N·m |

    ## Bodies

    Options: `body` (biped, quadruped), `limb_scale` (0.3–1.5, the length of limb segments) and
    `torque_scale` (0.1–3). Above is the biped. The quadruped has eight joints instead of six, the
    hips and knees of its right hind, left hind, right fore and left fore leg: 31 features and 8
    actions in the same order (80 N·m at hips, 60 N·m at knees).

    ## Reward

    `progress` = metres forward over the step / 20 (the track's length, so that a full track earns
    1), minus `control` = 0.0001 times the mean squared action, minus `fall` = 0.1 where the robot
    has fallen.

    ## Episode

    Starts at rest with noise (positions and velocities U(−0.005, 0.005)). Terminates at the end of
    the track of 20 m, and where the robot has fallen: the torso is lower than 0.45 of its height at
    the start, or pitches by 1.2 rad. 500 steps (12.5 s) by default, 1 episode per trial. A step is
    a success once the robot is 15.2 m far: 0.76 of the track.

    ## Physics

    Elliptic friction cone, implicitfast, 5 × 0.005 s per step. Stumps are mocap boxes: a course is
    state, laid without compiling a model.

    ## Source

    TeachMyAgent's stump tracks (Romac et al. 2021) after Portelas et al. 2019, in which a leg is
    2.27 units long; here it is 1 m. There a task is mastered at a return of 230 on a scale from
    −150 to 350, which is 0.76 of the way.

    ## Peers

    Theirs is Box2D's walker on tracks of 41 legs in 2000 steps of 0.02 s, with lidar; stumps are
    0–3 units high, 0–6 units apart. Their returns add a cost of pitch. None holds tasks out.
    """

    task_space = LevelTasks(
        Parameter("height", 0.0, 0.62, "m"),
        Parameter("spacing", 0.0, 2.65, "m"),
        ood=((0.62, 0.93), (0.0, 2.65)),
    )
    slots = STUMP_SLOTS
    observation_space = unbounded_box(27)

    def _course(self, task_ND: Tensor, key_N: Tensor) -> Course:
        return stump_course(task_ND[:, 0], task_ND[:, 1], key_N)
