"""GridNavi: search a small board for a goal that shows only in the reward."""

import torch
from torch import Tensor

from quickstudy.envs.families.grid import GOAL, Grid, Mark, board
from quickstudy.envs.family import unbounded_box
from quickstudy.envs.tasks import ListedTasks, Parameter

SIZE = 5
START_BLOCK = 2
"""No goal lies in the first 2 × 2 cells."""
GOAL_REWARD, STEP_REWARD = 1.0, -0.1

GOALS = tuple(cell for cell in board(SIZE) if max(cell) >= START_BLOCK)


class GridNavi(Grid):
    """An agent on 5 × 5 cells that must search once for its goal and remember it.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | goal_x | 0 … 4 | cell |
    | 1 | goal_y | 0 … 4, not both below 2 | cell |

    Each of the 21 goals outside the first 2 × 2 cells is as likely as the others, in `train` and in
    `test`: nothing is held out, as in the source.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–4 | x of the agent, one-hot | {0, 1} | cell |
    | 5–9 | y of the agent, one-hot | {0, 1} | cell |

    The source shows x and y as two numbers, which say the same.

    ## Action

    0 stay, 1 up (+y), 2 right (+x), 3 down, 4 left. A step into a wall is a stay.

    ## Reward

    `goal` = 1 on the goal's cell after the move, else −0.1.

    ## Episode

    Starts at (0, 0). Never terminates; 15 steps by default, 4 episodes per trial. The
    Bayes-optimal trial earns 37.2143 = 4 + 3 · 11.0714 (`quickstudy.envs.references.grids`).

    ## Source

    GridNavi of VariBAD (Zintgraf et al. 2020, section 5.1).

    ## Peers

    VariBAD observes x and y as numbers; the rules and the trial are the same.
    """

    size = SIZE
    start = (0, 0)
    observation_space = unbounded_box(2 * SIZE)
    task_space = ListedTasks(
        (
            Parameter("goal_x", 0.0, SIZE - 1.0, "cell"),
            Parameter("goal_y", 0.0, SIZE - 1.0, "cell"),
        ),
        GOALS,
    )

    def _arrive(self) -> tuple[dict[str, Tensor], Tensor]:
        at_goal_N = self._at(self.task_ND[:, 0], self.task_ND[:, 1])
        # Filled in float64: `torch.where` of two plain numbers would round −0.1 to float32.
        reward_N = torch.full_like(self.task_ND[:, 0], STEP_REWARD)
        return {"goal": reward_N.masked_fill(at_goal_N, GOAL_REWARD)}, self._never_N

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """A shortest path to the believed goal, then stay."""
        return self._move_towards(belief_ND[:, 0], belief_ND[:, 1])

    def _marks(self, world: int) -> list[Mark]:
        x, y = (int(value) for value in self.task_ND[world])
        return [Mark((x, y), GOAL)]
