"""ParkourRough: run over rough ground with pits, stumps and stairs."""

from torch import Tensor

from quickstudy.envs.family import unbounded_box
from quickstudy.envs.level_tasks import LevelTasks
from quickstudy.envs.parkour.course import Course
from quickstudy.envs.parkour.family import Parkour
from quickstudy.envs.parkour.rough import GROUND, ROUGH_SLOTS, rough_course
from quickstudy.envs.tasks import Parameter

STEPS = ((0.0, 10.0), (0.0, 10.0), (0.0, 5.0), (0.0, 5.0), (0.0, 5.0), (0.0, 5.0), (1.0, 9.0))
"""Ranges of all parameters but the roughness."""


class ParkourRough(Parkour):
    """A robot that runs over slabs at uneven heights, pits between them, stumps, and stairs.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | roughness | U[0, 10], in disjoint cells of 0.1 | U[10, 15] | 3 cm |
    | 1 | pit_low | U[0, 10] | U[0, 10] | 0.206 m |
    | 2 | pit_high | U[0, 10] | U[0, 10] | 0.206 m |
    | 3 | stump_low | U[0, 5] | U[0, 5] | 0.206 m |
    | 4 | stump_high | U[0, 5] | U[0, 5] | 0.206 m |
    | 5 | stair_low | U[0, 5] | U[0, 5] | 0.206 m |
    | 6 | stair_high | U[0, 5] | U[0, 5] | 0.206 m |
    | 7 | stair_steps | U[1, 9], rounded | U[1, 9], rounded | 1 |
    | 8 | seed | integers from 0 to 2³² − 1 | the same | 1 |

    The floor is made of slabs: one up to 2.6 m, where nothing happens; 14 of 1 m; and one of 8 m,
    at least to 24 m. They make up blocks, each a pit, a stump or a flight of stairs with equal
    chances, until there are no slabs left. A pit (the first slab lies that much farther away; then
    a second one) is as wide, a stump (0.3 m wide, in the middle of the first of two slabs) and each
    step of the stairs (one slab each, and one more) as high as a draw that is uniform between `low`
    and `high`, whichever is larger. Stairs rise or fall with equal chances. Besides, each of the 14
    slabs lies up to `roughness` times 3 cm above or below the last one, uniformly. All draws come
    from the seed; the same parameters and seed are the same course, exactly.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso above the slab below it, or last left behind | ℝ | rootz | m |
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
    to be seen at the start. A pit shows as −2.35.

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
    the track of 20 m, and where the robot has fallen: the torso is lower (above the slab below it,
    or last left behind) than 0.45 of its height at the start, or pitches by 1.2 rad; so does one
    that drops into a pit. 500 steps (12.5 s) by default, 1 episode per trial. A step is a success
    once the robot is 15.2 m far: 0.76 of the track.

    ## Physics

    Elliptic friction cone, implicitfast, 5 × 0.005 s per step. Slabs and stumps are mocap boxes: a
    course is state, laid without compiling a model. Below them is nothing for 40 m.

    ## Source

    The eight parameters of ACCEL's bipedal walker (Parker-Holder et al. 2022, after POET, Wang et
    al. 2019), in its units: 0.206 m is a terrain step of 14/30 units, for legs of 2.27 units; here
    a leg is 1 m.

    ## Peers

    Theirs is Box2D's walker, on ground whose slope changes at each terrain step, with stairs of
    four to five of them. A slab takes their place: here roughness is made of small edges, three
    centimetres per unit at most. They call a course solved at a return of 230, where about 300 can
    be earned.
    """

    task_space = LevelTasks(
        Parameter("roughness", 0.0, 10.0, "3 cm"),
        Parameter("pit_low", *STEPS[0], "0.206 m"),
        Parameter("pit_high", *STEPS[1], "0.206 m"),
        Parameter("stump_low", *STEPS[2], "0.206 m"),
        Parameter("stump_high", *STEPS[3], "0.206 m"),
        Parameter("stair_low", *STEPS[4], "0.206 m"),
        Parameter("stair_high", *STEPS[5], "0.206 m"),
        Parameter("stair_steps", *STEPS[6], "1"),
        ood=((10.0, 15.0), *STEPS),
    )
    slots = ROUGH_SLOTS
    observation_space = unbounded_box(27)

    def _course(self, task_ND: Tensor, key_N: Tensor) -> Course:
        return rough_course(task_ND, key_N)

    def _ground(self) -> Tensor:
        """The top of the slab below the torso, or last left behind, `(N,)`."""
        left_NS = self.course.x_NS[:, GROUND] - self._half_width_S[GROUND]
        passed_NS = self._x_N.unsqueeze(1) >= left_NS[:, 1:]
        slab_N1 = passed_NS.sum(dim=1, keepdim=True)
        return self.course.face_NS[:, GROUND].gather(1, slab_N1)[:, 0]
