"""The grids by name: the five hand-made maps of LPG, and distributions of random boards.

Objects and lengths of the maps are those of Oh et al. 2020 (App. A.1, by way of GROOVE, Jackson et
al. 2023, App. C), walls those of EmptyJackson/groove@0c091c0; LongerHorizon has all of its seven
objects (groove has room for five). Start and objects are drawn once per task.
"""

from quickstudy.envs.tabular.grid_rules import GridMap, GridObject, RandomGrids

SMALL = RandomGrids(size=(5, 5), length=(20, 50), num_objects=(1, 3), num_walls=3)
"""For discovery on a CPU: 25 cells, at most 3 objects, 200 states."""

ALL = RandomGrids()

DENSE = GridMap(
    11,
    500,
    (
        *2 * (GridObject(1.0, 0.0, 0.05),),
        GridObject(-1.0, 0.5, 0.1),
        GridObject(-1.0, 0.0, 0.5),
    ),
)

SPARSE = GridMap(13, 50, (GridObject(1.0, 1.0, 0.0), GridObject(-1.0, 1.0, 0.0)))

LONG = GridMap(11, 1000, (*2 * (GridObject(1.0, 0.0, 0.01),), *2 * (GridObject(-1.0, 0.5, 1.0),)))

LONGER = GridMap(
    9,
    2000,
    (*2 * (GridObject(1.0, 0.1, 0.01),), *5 * (GridObject(-1.0, 0.8, 1.0),)),
    walls=tuple((4, y) for y in range(9) if y not in (1, 7)),
)

LONG_DENSE = GridMap(
    11,
    2000,
    4 * (GridObject(1.0, 0.0, 0.005),),
    walls=(
        *((5, y) for y in range(11) if y not in (0, 7)),
        *((x, 4) for x in range(11) if x not in (2, 5, 8)),
    ),
)
