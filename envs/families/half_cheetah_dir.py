"""HalfCheetahDir: run forwards or backwards."""

from collections.abc import Sequence

from quickstudy.envs.families.half_cheetah import HalfCheetah, Real
from quickstudy.envs.tasks import ListedTasks, Parameter


class HalfCheetahDir(HalfCheetah):
    """A planar cheetah that must find out which way to run, and run as fast as it can.

    ## Task

    | index | name | values | unit |
    |---|---|---|---|
    | 0 | direction | −1 (backwards) or +1 (forwards), each with probability ½ | sign |

    The two tasks are all there is: `train` and `test` share them (held out are the seeds), and
    there is no `ood` split.

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

    `run` = direction × forward velocity (m/s), minus `control` = 0.05 Σ action². The velocity is
    the change of x over the step divided by 0.05 s.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Never terminates; 200 steps (10 s) by default, 2 episodes per trial.

    ## Source

    MAML's half-cheetah-direction (Finn et al. 2017).

    ## Peers

    PEARL, VariBAD and TrMRL add the torso's position to the observation (20 features), which
    leaks the absolute x; ProMP has these 17. ProMP plays 100 steps, the others 200. Physics is
    Gymnasium's HalfCheetah-v5, theirs that of older MuJoCo versions.
    """

    task_space = ListedTasks(Parameter("direction", -1.0, 1.0, "sign"), (-1.0, 1.0))

    def _terms(self, velocity: Real, control: Real, task: Sequence[Real]) -> dict[str, Real]:
        return {"run": task[0] * velocity, "control": control}
