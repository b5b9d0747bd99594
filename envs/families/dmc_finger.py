"""The control suite's finger: spin a free body, or turn its tip to a target.

Shape legend: N worlds, A actions.
"""

import torch
from torch import Tensor

from quickstudy.envs.dmc.finger import Finger, FingerTurn
from quickstudy.envs.family import unbounded_box
from quickstudy.envs.headless import mujoco

SPIN_VELOCITY = 15.0
SPIN_DAMPING = 0.03


class DMCFingerSpin(Finger):
    """A finger that must keep a body spinning about its hinge.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | angles of the finger's two joints | [−1.9, 1.9] | rad |
    | 2, 3 | tip of the body from its hinge, x and z | [−0.13, 0.13] | m |
    | 4, 5 | angular velocities of the finger's joints | ℝ | rad/s |
    | 6 | angular velocity of the body | ℝ | rad/s |
    | 7, 8 | touch above and below the fingertip, log(1 + force in N) | [0, ∞) | 1 |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | torques at the finger's joints | [−1, 1] | 30, 15 N·m |

    ## Reward

    `spin` = 1 where the body's angular velocity is at most −15 rad/s, else 0.

    ## Episode

    Starts at rest with all joints anywhere within their limits, but not in contact. Never
    terminates; 1000 steps (20 s) by default, 1 episode per trial.

    ## Physics

    The suite's model: Euler, elliptic cone, 2 × 0.01 s per step; damping of the body 0.03 N·m·s.

    ## Source

    finger-spin of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts come from NumPy's generator.
    """

    observation_space = unbounded_box(9)
    term = "spin"

    def _load_model(self) -> mujoco.MjModel:
        model = super()._load_model()
        model.joint("hinge").damping[:] = SPIN_DAMPING
        for name in ("target", "tip"):
            model.site(name).rgba[3] = 0.0
        return model

    def _reward(self, action_NA: Tensor) -> Tensor:
        del action_NA  # unused
        return (self._qvel_NV[:, 2] <= -SPIN_VELOCITY).to(torch.float64)


class DMCFingerTurnEasy(FingerTurn):
    """A finger that must turn a body until its tip is in a large target.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | angles of the finger's two joints | [−1.9, 1.9] | rad |
    | 2, 3 | tip of the body from its hinge, x and z | [−0.13, 0.13] | m |
    | 4, 5 | angular velocities of the finger's joints | ℝ | rad/s |
    | 6 | angular velocity of the body | ℝ | rad/s |
    | 7, 8 | touch above and below the fingertip, log(1 + force in N) | [0, ∞) | 1 |
    | 9, 10 | target from the hinge, x and z | [−0.13, 0.13] | m |
    | 11 | from the tip to the target's surface, negative inside | [−0.07, 0.19] | m |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | torques at the finger's joints | [−1, 1] | 30, 15 N·m |

    ## Reward

    `turn` = 1 with the body's tip in the target (0.07 m around a point 0.13 m from the hinge), else
    0.

    ## Episode

    Starts at rest with all joints anywhere within their limits, but not in contact, and the target
    at an angle U(−π, π). Never terminates; 1000 steps (20 s) by default, 1 episode per trial.

    ## Physics

    The suite's model: Euler, elliptic cone, 2 × 0.01 s per step; damping of the body 0.5 N·m·s.

    ## Source

    finger-turn_easy of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts and targets come from NumPy's
    generator.
    """

    target_size = 0.07


class DMCFingerTurnHard(FingerTurn):
    """A finger that must turn a body until its tip is in a small target.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | angles of the finger's two joints | [−1.9, 1.9] | rad |
    | 2, 3 | tip of the body from its hinge, x and z | [−0.13, 0.13] | m |
    | 4, 5 | angular velocities of the finger's joints | ℝ | rad/s |
    | 6 | angular velocity of the body | ℝ | rad/s |
    | 7, 8 | touch above and below the fingertip, log(1 + force in N) | [0, ∞) | 1 |
    | 9, 10 | target from the hinge, x and z | [−0.13, 0.13] | m |
    | 11 | from the tip to the target's surface, negative inside | [−0.03, 0.23] | m |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | torques at the finger's joints | [−1, 1] | 30, 15 N·m |

    ## Reward

    `turn` = 1 with the body's tip in the target (0.03 m around a point 0.13 m from the hinge), else
    0.

    ## Episode

    Starts at rest with all joints anywhere within their limits, but not in contact, and the target
    at an angle U(−π, π). Never terminates; 1000 steps (20 s) by default, 1 episode per trial.

    ## Physics

    The suite's model: Euler, elliptic cone, 2 × 0.01 s per step; damping of the body 0.5 N·m·s.

    ## Source

    finger-turn_hard of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts and targets come from NumPy's
    generator.
    """

    target_size = 0.03
