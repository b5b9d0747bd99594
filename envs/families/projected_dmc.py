"""The control suite behind random maps: the paper's tasks, and held-out bodies."""

from quickstudy.envs.dmc.projected import ProjectedSuite, tasks


class ProjectedDMC(ProjectedSuite):
    """Six tasks of the control suite, whose sensors and motors are mixed anew in every trial.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | environment | 0–5 | 6–10 | index |
    | 1 | projection | even (train), odd (test) seeds below 2⁴⁰ | odd seeds | 1 |

    Environments: 0 reacher-easy, 1 point_mass-easy, 2 finger-turn_hard, 3 finger-spin,
    4 cartpole-swingup, 5 ball_in_cup-catch; held out 6 cartpole-balance, 7 finger-turn_easy,
    8 pendulum-swingup, 9 point_mass-hard, 10 reacher-hard. The manuals of `DMCReacherEasy` and so
    on describe them. Four of the five held out share a body with training:
    `ProjectedDMCBodies` holds out bodies.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–11 | M_o · observation, M_o with orthonormal columns, 12 × its features | ℝ | mixed |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | the motors are given M_a · action, M_a with orthonormal rows | [−1, 1] | mixed |

    M_a is motors × 2; what it makes of an action is clipped to the box. Both maps are drawn
    uniformly among all of their kind, for a trial.

    ## Reward

    That of the environment, under its own name, the others 0: `reach` = reacher's and point_mass's,
    `turn` = finger-turn's, `spin` = finger-spin's, `upright` = cartpole's and pendulum's,
    `catch` = ball_in_cup's. Each is in [0, 1].

    ## Episode

    Starts as its environment does. Never terminates; 1000 steps by default, 1 episode per trial:
    the agent must learn the maps, and which task it is, while it is paid.

    ## Source

    Lu et al. 2023, sections 3.2 and 4.4; their code was not released, and the distribution of their
    maps is not stated. Orthogonal maps are what their released projected CartPole uses, and leave
    every task solvable; `ProjectedDMCGaussian` has Gaussian ones.

    ## Peers

    The paper trains with Muesli, 1024 environments and 2·10⁹ frames. Read off its figures, S5 then
    earns about 808 of 1000 in training (LSTM 670, no memory 240) and 507 held out (400, 182).
    Agents here are also shown their last action, which the paper does not mention.
    """

    task_space = tasks(train=(0, 1, 2, 3, 4, 5), ood=(6, 7, 8, 9, 10))


class ProjectedDMCGaussian(ProjectedDMC):
    """As ProjectedDMC, with Gaussian maps.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | environment | 0–5 | 6–10 | index |
    | 1 | projection | even (train), odd (test) seeds below 2⁴⁰ | odd seeds | 1 |

    The numbers are those of `ProjectedDMC`.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–11 | M_o · observation, the entries of M_o N(0, 1/n) for n features | ℝ | mixed |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | the motors are given M_a · action, the entries of M_a N(0, 1/2) | [−1, 1] | mixed |

    What M_a makes of an action is clipped to the box.

    ## Reward

    That of the environment, under its own name, the others 0: `reach` = reacher's and point_mass's,
    `turn` = finger-turn's, `spin` = finger-spin's, `upright` = cartpole's and pendulum's,
    `catch` = ball_in_cup's. Each is in [0, 1].

    ## Episode

    Starts as its environment does. Never terminates; 1000 steps by default, 1 episode per trial. In
    some trials the motors cannot be driven to their limits, or hardly apart from each other, so
    that not everything can be earned.

    ## Source

    Lu et al. 2023, sections 3.2 and 4.4, which do not state the distribution of the maps.

    ## Peers

    See `ProjectedDMC`.
    """

    distribution = "gaussian"


class ProjectedDMCBodies(ProjectedSuite):
    """Seven tasks on three bodies for training, behind random maps; four other bodies held out.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | environment | 1–4, 6, 7, 9 | 0, 5, 8, 10, 11 | index |
    | 1 | projection | even (train), odd (test) seeds below 2⁴⁰ | odd seeds | 1 |

    Environments: 1 point_mass-easy, 2 finger-turn_hard, 3 finger-spin, 4 cartpole-swingup,
    6 cartpole-balance, 7 finger-turn_easy, 9 point_mass-hard; held out 0 reacher-easy,
    5 ball_in_cup-catch, 8 pendulum-swingup, 10 reacher-hard, 11 acrobot-swingup.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–11 | M_o · observation, M_o with orthonormal columns, 12 × its features | ℝ | mixed |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | the motors are given M_a · action, M_a with orthonormal rows | [−1, 1] | mixed |

    M_a is motors × 2; what it makes of an action is clipped to the box.

    ## Reward

    That of the environment, under its own name, the others 0: `reach` = reacher's, point_mass's and
    acrobot's, `turn` = finger-turn's, `spin` = finger-spin's, `upright` = cartpole's and
    pendulum's, `catch` = ball_in_cup's. Each is in [0, 1].

    ## Episode

    Starts as its environment does. Never terminates; 1000 steps by default, 1 episode per trial.

    ## Source

    Ours: the paper's held-out tasks (see `ProjectedDMC`) mostly have bodies met in training.

    ## Peers

    None.
    """

    task_space = tasks(train=(1, 2, 3, 4, 6, 7, 9), ood=(0, 5, 8, 10, 11))
