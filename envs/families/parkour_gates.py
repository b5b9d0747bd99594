"""ParkourGates: pass through gates between a floor and a ceiling, on foot or hanging."""

from torch import Tensor

from quickstudy.envs.family import unbounded_box
from quickstudy.envs.level_tasks import LevelTasks
from quickstudy.envs.parkour.course import Course
from quickstudy.envs.parkour.family import Parkour
from quickstudy.envs.parkour.obstacles import GATE_SLOTS, gate_course
from quickstudy.envs.tasks import Parameter


class ParkourGates(Parkour):
    """A robot that passes gates: low ones are for those who walk, high ones for those who climb.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | centre | U[1.1, 3.3], in disjoint cells of 0.022 | U[3.3, 3.85] | m |
    | 1 | spacing | U[0, 2.65] | U[0, 2.65] | m |
    | 2 | seed | integers from 0 to 2³² − 1 | the same | 1 |

    Height of the gates' centres below a ceiling at 4.4 m, and free way from one to the next. A gate
    is open for 2.2 m: below stands a stump up to centre − 1.1 m, above hangs one down to centre +
    1.1 m. The seed decides each one's own length: noise of 0.022·N(0, 1) m below, 0.088·N(0, 1) m
    above, none shorter than 0. Gates are 0.165 m wide; the first begins at 2.6 m, and there are 12
    at most: below a spacing of 1.285 m they end before the track does. The same parameters and seed
    are the same course, exactly. `ood` gates are narrower, too: the ceiling cuts them.

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
    | 27–36 | height of what hangs at the same places, above the torso's | [−2.35, 2.35] | | m |

    Both scans look 0.235, 0.47 … 2.35 m ahead. They are computed from the course, of which nothing
    is to be seen at the start.

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | right thigh, shin, foot torque | [−1, 1] | thigh, shin, foot | 100 N·m |
    | 3–5 | left thigh, shin, foot torque | [−1, 1] | thigh_left, shin_left, foot_left | 100 N·m |

    ## Bodies

    Options: `body` (biped, climber, quadruped), `limb_scale` (0.3–1.5, the length of limb segments)
    and `torque_scale` (0.1–3). Above is the biped. The quadruped has eight joints instead of six,
    the hips and knees of its right hind, left hind, right fore and left fore leg: 41 features and 8
    actions in the same order (80 N·m at hips, 60 N·m at knees). The climber has four, shoulder and
    elbow of its right and of its left arm: 33 features; 6 actions, the torques in the same order
    (100 and 60 N·m) and the grips of its right and left hand, from −1 (open) to 1. A hand sticks to
    whatever it touches, or comes as near as 2 cm, with up to six times the robot's weight.

    ## Reward

    `progress` = metres forward over the step / 20 (the track's length, so that a full track earns
    1), minus `control` = 0.0001 times the mean squared action, minus `fall` = 0.1 where the robot
    has fallen.

    ## Episode

    Starts at rest on the floor (the climber: below the ceiling, with both hands at it), with noise
    (positions and velocities U(−0.005, 0.005)). Terminates at the end of the track of 20 m, and
    where the robot has fallen: the torso is lower than 0.45 of its height at the start, or pitches
    by 1.2 rad; of the climber, whose pitch is its own affair, the shoulders are lower than 0.7 m.
    500 steps (12.5 s) by default, 1 episode per trial. A step is a success once the robot is 15.2 m
    far: 0.76 of the track.

    ## Physics

    Elliptic friction cone, implicitfast, 5 × 0.005 s per step. Gates are mocap boxes: a course is
    state, laid without compiling a model. Grips are MuJoCo's adhesion actuators.

    ## Source

    The walker-climber parkour of Meta-ACL (Portelas, Romac, Hofmann & Oudeyer 2020): gates of 5
    units, centred at 2.5–7.5 of 10 units' height, 0–6 units apart, for legs of 2.27 units; here a
    leg is 1 m. There a task is mastered at a return of 230 on a scale from −150 to 350, which is
    0.76 of the way.

    ## Peers

    Theirs is Box2D, on tracks of 41 legs in 2000 steps of 0.02 s, with lidar; its climber has legs,
    too, and grips ceiling and hanging stumps alone. Their returns add a cost of pitch. They hold no
    tasks out.
    """

    task_space = LevelTasks(
        Parameter("centre", 1.1, 3.3, "m"),
        Parameter("spacing", 0.0, 2.65, "m"),
        ood=((3.3, 3.85), (0.0, 2.65)),
    )
    slots = GATE_SLOTS
    observation_space = unbounded_box(37)

    def _course(self, task_ND: Tensor, key_N: Tensor) -> Course:
        return gate_course(task_ND[:, 0], task_ND[:, 1], key_N)
