"""Finite tasks with episodes, by name (Two-Colours, which has none, is no such task)."""

from collections.abc import Callable
from functools import partial

from quickstudy.envs.errors import unknown
from quickstudy.envs.tabular import grid_maps
from quickstudy.envs.tabular.bandits import Bandits
from quickstudy.envs.tabular.chains_rooms import ChainConfig, RoomConfig, SlipperyTasks
from quickstudy.envs.tabular.delayed_chain import DelayedChains
from quickstudy.envs.tabular.grid_worlds import GridWorlds
from quickstudy.envs.tabular.hidden_goal import HiddenGoal, HiddenGoalConfig
from quickstudy.envs.tabular.random_mdps import RandomMDPs
from quickstudy.envs.tabular.tabular_tasks import TabularTasks

TABULAR_TASKS: dict[str, Callable[[], TabularTasks]] = {
    "grid-small": partial(GridWorlds, grid_maps.SMALL),
    "grid-all": partial(GridWorlds, grid_maps.ALL),
    "grid-dense": partial(GridWorlds, grid_maps.DENSE),
    "grid-sparse": partial(GridWorlds, grid_maps.SPARSE),
    "grid-long": partial(GridWorlds, grid_maps.LONG),
    "grid-longer": partial(GridWorlds, grid_maps.LONGER),
    "grid-long-dense": partial(GridWorlds, grid_maps.LONG_DENSE),
    "random-mdp": RandomMDPs,
    "delayed-chain": DelayedChains,
    "bandit": Bandits,
    "chain": partial(SlipperyTasks, ChainConfig(distractor=0.0).build()),
    "chain-plus": partial(SlipperyTasks, ChainConfig().build()),
    "room": partial(SlipperyTasks, RoomConfig(distractor=0.0).build()),
    "room-plus": partial(SlipperyTasks, RoomConfig().build()),
    "hidden-goal": partial(HiddenGoal, HiddenGoalConfig()),
}


def make_tabular_tasks(name: str) -> TabularTasks:
    """The tasks of a name.

    Raises:
        ValueError: there are none of this name.
    """
    if name not in TABULAR_TASKS:
        raise unknown("tabular tasks", name, TABULAR_TASKS)
    return TABULAR_TASKS[name]()
