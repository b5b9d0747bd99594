"""DarkRoom: search a dark room for the one cell that pays."""

import torch
from torch import Tensor

from quickstudy.envs.families.grid import GOAL, Grid, Mark, board
from quickstudy.envs.family import unbounded_box
from quickstudy.envs.tasks import ListedTasks, Parameter, hold_out

SIZE = 9
START = (4, 4)

GOALS = tuple(cell for cell in board(SIZE) if cell != START)
TRAIN_GOALS, TEST_GOALS = hold_out(GOALS)


class DarkRoom(Grid):
    """An agent on 9 × 9 cells that must search episode after episode, then go straight to its goal.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | goal_x | 0 … 8, at 64 of the 80 cells around the start | the other 16 | cell |
    | 1 | goal_y | 0 … 8 | 0 … 8 | cell |

    Test cells are chosen by a fixed hash, and in training they never pay: the best search for the
    train goals may learn to leave them out. `test` asks whether an agent searches everywhere.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–8 | x of the agent, one-hot | {0, 1} | cell |
    | 9–17 | y of the agent, one-hot | {0, 1} | cell |

    ## Action

    0 stay, 1 up (+y), 2 right (+x), 3 down, 4 left. A step into a wall is a stay.

    ## Reward

    `goal` = 1 on the goal's cell after the move, else 0.

    ## Episode

    Starts at the centre (4, 4). Never terminates; 20 steps by default, 5 episodes per trial.
    Twenty steps search a quarter of the room at best, so four episodes can search it all: that
    earns 51.75 of the Bayes-optimal trial's 53.04 at most (`quickstudy.envs.references.grids`).

    ## Source

    Dark Room of Algorithm Distillation (Laskin et al. 2022).

    ## Peers

    Algorithm Distillation starts anywhere; toy-meta-gym in the centre or anywhere, and shows the
    cell's index. Their goals are not held out.
    """

    size = SIZE
    start = START
    observation_space = unbounded_box(2 * SIZE)
    task_space = ListedTasks(
        (
            Parameter("goal_x", 0.0, SIZE - 1.0, "cell"),
            Parameter("goal_y", 0.0, SIZE - 1.0, "cell"),
        ),
        TRAIN_GOALS,
        test=TEST_GOALS,
    )

    def _arrive(self) -> tuple[dict[str, Tensor], Tensor]:
        at_goal_N = self._at(self.task_ND[:, 0], self.task_ND[:, 1])
        return {"goal": at_goal_N.to(torch.float64)}, self._never_N

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """A shortest path to the believed goal, then stay."""
        return self._move_towards(belief_ND[:, 0], belief_ND[:, 1])

    def _marks(self, world: int) -> list[Mark]:
        x, y = (int(value) for value in self.task_ND[world])
        return [Mark((x, y), GOAL)]
