"""Which environments and goals each Meta-World benchmark trains and tests on.

Nothing here needs the package itself: families are listed, and their tasks drawn, without it.
"""

from quickstudy.envs.metaworld.environments import ENVIRONMENTS, GOALS
from quickstudy.envs.tasks import ListedTasks, Parameter

ML10_TRAIN = (
    "reach",
    "push",
    "pick-place",
    "door-open",
    "drawer-close",
    "button-press-topdown",
    "peg-insert-side",
    "window-open",
    "sweep",
    "basketball",
)
ML10_TEST = ("drawer-open", "door-close", "shelf-place", "sweep-into", "lever-pull")
ML45_TEST = ("bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock")
ML45_TRAIN = tuple(name for name in ENVIRONMENTS if name not in ML45_TEST)
MT10 = (
    "reach",
    "push",
    "pick-place",
    "door-open",
    "drawer-open",
    "drawer-close",
    "button-press-topdown",
    "peg-insert-side",
    "window-open",
    "window-close",
)

TRAIN_GOALS = range(GOALS)
TEST_GOALS = range(GOALS, 2 * GOALS)

PARAMETERS = (
    Parameter("environment", 0.0, len(ENVIRONMENTS) - 1.0, "index"),
    Parameter("goal", 0.0, 2 * GOALS - 1.0, "index"),
)


def ml1_tasks(environment: str) -> ListedTasks:
    """ML1 and MT1: one environment, 50 goals to train on and 50 others to be tested on."""
    names = (environment,)
    return ListedTasks(PARAMETERS, _tasks(names, TRAIN_GOALS), test=_tasks(names, TEST_GOALS))


def ml_tasks(train: tuple[str, ...], test: tuple[str, ...]) -> ListedTasks:
    """ML10 and ML45: other environments are tested than those trained on, each on 50 goals."""
    return ListedTasks(PARAMETERS, _tasks(train, TRAIN_GOALS), test=_tasks(test, TRAIN_GOALS))


def mt_tasks(names: tuple[str, ...]) -> ListedTasks:
    """MT10 and MT50: what is trained is tested."""
    return ListedTasks(PARAMETERS, _tasks(names, TRAIN_GOALS))


def _tasks(names: tuple[str, ...], goals: range) -> tuple[tuple[float, float], ...]:
    """Goal by goal, so that the first tasks of a listing are of different environments."""
    numbers = [float(ENVIRONMENTS.index(name)) for name in names]
    return tuple((number, float(goal)) for goal in goals for number in numbers)
