"""The control suite's reacher, with a large or a small target."""

from quickstudy.envs.dmc.reacher import SuiteReacher


class DMCReacherEasy(SuiteReacher):
    """A two-link arm whose fingertip must reach a large target.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | angle of the shoulder | ℝ | rad |
    | 1 | angle of the wrist | [−2.8, 2.8] | rad |
    | 2, 3 | from the fingertip to the target, x and y | ℝ | m |
    | 4, 5 | angular velocities of shoulder and wrist | ℝ | rad/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | torques at shoulder and wrist | [−1, 1] | 0.05 N·m |

    ## Reward

    `reach` = 1 with the fingertip within 0.06 m of the target's centre, else 0.

    ## Episode

    Starts at rest with both joints anywhere within their limits, and the target at an angle
    U(0, 2π) and a distance U(0.05, 0.2) m. Never terminates; 1000 steps (20 s) by default, 1
    episode per trial.

    ## Physics

    The suite's model: Euler, 0.02 s per step, no contacts.

    ## Source

    reacher-easy of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts and targets come from NumPy's
    generator. Gymnasium's Reacher is another task: dense reward, 50 steps.
    """

    target_size = 0.05


class DMCReacherHard(SuiteReacher):
    """A two-link arm whose fingertip must reach a small target.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | angle of the shoulder | ℝ | rad |
    | 1 | angle of the wrist | [−2.8, 2.8] | rad |
    | 2, 3 | from the fingertip to the target, x and y | ℝ | m |
    | 4, 5 | angular velocities of shoulder and wrist | ℝ | rad/s |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | torques at shoulder and wrist | [−1, 1] | 0.05 N·m |

    ## Reward

    `reach` = 1 with the fingertip within 0.025 m of the target's centre, else 0.

    ## Episode

    Starts at rest with both joints anywhere within their limits, and the target at an angle
    U(0, 2π) and a distance U(0.05, 0.2) m. Never terminates; 1000 steps (20 s) by default, 1
    episode per trial.

    ## Physics

    The suite's model: Euler, 0.02 s per step, no contacts.

    ## Source

    reacher-hard of the DeepMind Control Suite (Tassa et al. 2018; Tunyasuvunakool et al. 2020).

    ## Peers

    dm_control's is the same, step by step (tested); its starts and targets come from NumPy's
    generator. Gymnasium's Reacher is another task: dense reward, 50 steps.
    """

    target_size = 0.015
