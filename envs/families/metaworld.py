"""Meta-World's benchmarks: ML1, ML10, ML45 with hidden goals, MT1, MT10, MT50 with visible ones."""

from quickstudy.envs.metaworld.benchmarks import (
    ML10_TEST,
    ML10_TRAIN,
    ML45_TEST,
    ML45_TRAIN,
    MT10,
    ml1_tasks,
    ml_tasks,
    mt_tasks,
)
from quickstudy.envs.metaworld.environments import ENVIRONMENTS
from quickstudy.envs.metaworld.family import MetaWorld


class MetaWorldML1Reach(MetaWorld):
    """A robot arm that must find out which hidden point in the air to reach.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | 43 (reach) | 43 (reach) | index |
    | 1 | goal | 0–49 | 50–99 | index |
    """

    goal_visible = False
    task_space = ml1_tasks("reach")


class MetaWorldML1Push(MetaWorld):
    """A robot arm that must find out to which hidden place on the table to push a puck.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | 40 (push) | 40 (push) | index |
    | 1 | goal | 0–49 | 50–99 | index |
    """

    goal_visible = False
    task_space = ml1_tasks("push")


class MetaWorldML1PickPlace(MetaWorld):
    """A robot arm that must find out to which hidden point in the air to carry a puck.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | 30 (pick-place) | 30 (pick-place) | index |
    | 1 | goal | 0–49 | 50–99 | index |
    """

    goal_visible = False
    task_space = ml1_tasks("pick-place")


class MetaWorldML10(MetaWorld):
    """Ten kinds of manipulation to train on, five others to be tested on; goals are hidden.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | 43, 40, 30, 15, 18, 4, 35, 48, 47, 1 | 19, 13, 45, 46, 27 | index |
    | 1 | goal | 0–49 | 0–49 | index |

    Train: reach, push, pick-place, door-open, drawer-close, button-press-topdown, peg-insert-side,
    window-open, sweep, basketball. Test: drawer-open, door-close, shelf-place, sweep-into,
    lever-pull.
    """

    goal_visible = False
    task_space = ml_tasks(ML10_TRAIN, ML10_TEST)


class MetaWorldML45(MetaWorld):
    """Forty-five kinds of manipulation to train on, five others to be tested on; goals are hidden.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | the other 45 | 2, 3, 17, 14, 16 | index |
    | 1 | goal | 0–49 | 0–49 | index |

    Test: bin-picking, box-close, hand-insert, door-lock, door-unlock.
    """

    goal_visible = False
    task_space = ml_tasks(ML45_TRAIN, ML45_TEST)


class MetaWorldMT1Reach(MetaWorld):
    """A robot arm that is shown the point in the air to reach.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | 43 (reach) | 43 (reach) | index |
    | 1 | goal | 0–49 | 50–99 | index |

    Meta-World's MT1 has no test goals: those of ML1 are used.
    """

    goal_visible = True
    task_space = ml1_tasks("reach")


class MetaWorldMT1Push(MetaWorld):
    """A robot arm that is shown the place on the table to push a puck to.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | 40 (push) | 40 (push) | index |
    | 1 | goal | 0–49 | 50–99 | index |

    Meta-World's MT1 has no test goals: those of ML1 are used.
    """

    goal_visible = True
    task_space = ml1_tasks("push")


class MetaWorldMT1PickPlace(MetaWorld):
    """A robot arm that is shown the point in the air to carry a puck to.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | environment | 30 (pick-place) | 30 (pick-place) | index |
    | 1 | goal | 0–49 | 50–99 | index |

    Meta-World's MT1 has no test goals: those of ML1 are used.
    """

    goal_visible = True
    task_space = ml1_tasks("pick-place")


class MetaWorldMT10(MetaWorld):
    """Ten kinds of manipulation, with visible goals; which one it is must be seen from the scene.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | environment | 43, 40, 30, 15, 19, 18, 4, 35, 48, 49 | index |
    | 1 | goal | 0–49 | index |

    Reach, push, pick-place, door-open, drawer-open, drawer-close, button-press-topdown,
    peg-insert-side, window-open, window-close. As in Meta-World what is trained is tested. Its
    option to append the environment as ten zeros and a one is left to whoever trains.
    """

    goal_visible = True
    task_space = mt_tasks(MT10)


class MetaWorldMT50(MetaWorld):
    """All fifty kinds of manipulation, with visible goals; which one it is must be seen.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | environment | 0–49 | index |
    | 1 | goal | 0–49 | index |

    As in Meta-World what is trained is tested. Its option to append the environment as zeros and a
    one is left to whoever trains.
    """

    goal_visible = True
    task_space = mt_tasks(ENVIRONMENTS)
