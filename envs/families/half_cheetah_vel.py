"""HalfCheetahVel: run at a hidden target speed."""

from collections.abc import Sequence

from quickstudy.envs.families.half_cheetah import HalfCheetah, Real
from quickstudy.envs.tasks import BoxTasks, Parameter


class HalfCheetahVel(HalfCheetah):
    """A planar cheetah that must find out how fast to run, and hold that speed.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | velocity | U[0, 3], in disjoint cells of 0.03 | U[3, 4] | m/s |

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

    MAML's half-cheetah-velocity (Finn et al. 2017), with TrMRL's out-of-distribution range U[3, 4].

    ## Peers

    MAML drew from U[0, 2]; PEARL, VariBAD, TrMRL and ProMP draw from U[0, 3], as here. PEARL's
    tasks are a list of 100 for training and 30 for evaluation. PEARL, VariBAD and TrMRL add the
    torso's position to the observation (20 features), which leaks the absolute x. AMAGO plays one
    episode of 1000 steps.
    """

    task_space = BoxTasks(Parameter("velocity", 0.0, 3.0, "m/s"), ood=((3.0, 4.0),))

    def _terms(self, velocity: Real, control: Real, task: Sequence[Real]) -> dict[str, Real]:
        return {"speed": -abs(velocity - task[0]), "control": control}
