"""HalfCheetahVelWide: target speeds many of which are out of reach."""

from quickstudy.envs.families.half_cheetah_vel import HalfCheetahVel
from quickstudy.envs.tasks import BoxTasks, Parameter


class HalfCheetahVelWide(HalfCheetahVel):
    """A planar cheetah that must find out how fast to run, where many speeds are beyond it.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | velocity | U[−3, 10], in disjoint cells of 0.13 | m/s |

    There is no `ood` split. Few students come near the fastest of these, and standing still is a
    fair answer to the slowest: a space for curricula.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso | ℝ | rootz | m |
    | 1 | pitch of the torso | ℝ | rooty | rad |
    | 2–4 | back thigh, shin, foot angle | ℝ | bthigh, bshin, bfoot | rad |
    | 5–7 | front thigh, shin, foot angle | ℝ | fthigh, fshin, ffoot | rad |
    | 8 | forward velocity of the torso | ℝ | rootx | m/s |
    | 9 | vertical velocity of the torso | ℝ | rootz | m/s |
    | 10 | pitch velocity of the torso | ℝ | rooty | rad/s |
    | 11–13 | back thigh, shin, foot velocity | ℝ | bthigh, bshin, bfoot | rad/s |
    | 14–16 | front thigh, shin, foot velocity | ℝ | fthigh, fshin, ffoot | rad/s |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | back thigh, shin, foot torque | [−1, 1] | bthigh, bshin, bfoot | 120, 90, 60 N·m |
    | 3–5 | front thigh, shin, foot torque | [−1, 1] | fthigh, fshin, ffoot | 120, 60, 30 N·m |

    ## Reward

    `speed` = −|forward velocity − target velocity| (m/s), minus `control` = 0.05 Σ action². The
    velocity is the change of x over the step divided by 0.05 s.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Never terminates; 200 steps (10 s) by default, 2 episodes per trial.

    ## Source

    Ours, for teachers: HalfCheetahVel with a range as wide as TeachMyAgent's task spaces (Romac et
    al. 2021), most of which no student masters.

    ## Peers

    None has this range.
    """

    task_space = BoxTasks(Parameter("velocity", -3.0, 10.0, "m/s"))
