"""Two-Colours: a stream in which good and bad change places again and again.

Shape legend: P tasks, E copies of each, U draws, F features.
"""

import torch
from torch import Tensor

from quickstudy.envs.errors import require_positive
from quickstudy.envs.families.grid import MOVES, next_cells, one_hot_cells
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks

SIZE = 5
NUM_CELLS = SIZE**2
STEP_REWARD = -0.04
"""Of a step that collects nothing."""
PERIOD = 100_000
"""Steps between two swaps in Flennerhag et al. 2022. Published agents learn nothing if it is 10 000
and gain nothing from meta-gradients if it is 25 000 (Luketina et al. 2022): don't shrink it."""


class TwoColours(TabularTasks):
    """A board of 5 × 5 cells with an agent, a blue item and a red one (Flennerhag et al. 2022).

    Stepping on an item pays +1 for one colour and −1 for the other, and puts this item on a random
    free cell; the agent and the other item stay where they are. Every other step pays −0.04. Blue
    is the good colour of the first `period` steps, red of the next, and so on. There are no
    episodes: `ended` is never True.

    Actions: 0 up (+y), 1 right (+x), 2 down, 3 left; off the board is a stay. The state is
    agent + 25 · blue + 625 · red, each a cell x + 5 · y; it does not tell which colour is good.

    Sources differ in what a contact moves: in the two public replications only the item, as here;
    in the text of Luketina et al. 2022 (App. A) the agent too.

    Draws: 0–2 the first places of agent, blue and red; 0 a collected item's next place.
    """

    num_states = NUM_CELLS**3
    num_actions = len(MOVES) - 1
    num_draws = 3
    num_features = 6 * SIZE
    """F."""

    def __init__(self, period: int = PERIOD) -> None:
        require_positive("period", period)
        self.period = period
        self._next_X = next_cells(SIZE)
        self._seen_CF = one_hot_cells(SIZE)

    def sample(self, key_P: Tensor) -> Rows:
        """All tasks are the same; `period` (P,) int64."""
        return {"period": torch.full((len(key_P),), self.period)}

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        agent_draw, blue_draw, red_draw = draw_PEU.unbind(-1)
        agent_PE = _free_cell(agent_draw)
        blue_PE = _free_cell(blue_draw, agent_PE)
        red_PE = _free_cell(red_draw, agent_PE, blue_PE)
        time_PE = torch.zeros_like(agent_PE)
        return {"agent": agent_PE, "blue": blue_PE, "red": red_PE, "time": time_PE}

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return worlds["agent"] + NUM_CELLS * (worlds["blue"] + NUM_CELLS * worlds["red"])

    def features(self, worlds: Rows) -> Tensor:
        """What networks see, `(P, E, F)` float32: x and y of agent, blue and red, one-hot each."""
        return torch.cat([self._seen_CF[worlds[who]] for who in ("agent", "blue", "red")], dim=-1)

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        blue_PE, red_PE = worlds["blue"], worlds["red"]
        # The first of the suite's moves is to stay.
        agent_PE = self._next_X[worlds["agent"] * len(MOVES) + 1 + action_PE]
        on_blue_PE, on_red_PE = agent_PE == blue_PE, agent_PE == red_PE
        swapped_PE = (worlds["time"] // tasks["period"].unsqueeze(1)) % 2 == 1
        found_PE = on_blue_PE | on_red_PE
        reward_PE = torch.where(on_red_PE == swapped_PE, 1.0, -1.0)
        place_PE = _free_cell(draw_PEU[..., 0], agent_PE, torch.where(on_blue_PE, red_PE, blue_PE))
        after = {
            "agent": agent_PE,
            "blue": torch.where(on_blue_PE, place_PE, blue_PE),
            "red": torch.where(on_red_PE, place_PE, red_PE),
            "time": worlds["time"] + 1,
        }
        reward_PE = reward_PE.masked_fill(~found_PE, STEP_REWARD)
        return TabularStep(after, reward_PE, torch.zeros_like(found_PE))

    def optimal_return(self, tasks: Rows) -> Tensor:
        raise ValueError("Two-Colours is a stream without episodes: no episode has a return.")


def _free_cell(draw_PE: Tensor, *taken: Tensor) -> Tensor:
    """One of the cells that are not taken, all as likely; at most two may be, not the same one."""
    num_free = NUM_CELLS - len(taken)
    # A draw rounded to float32 may be 1.
    cell_PE = (draw_PE * num_free).long().clamp(max=num_free - 1)
    for taken_PE in _ascending(taken):
        cell_PE = cell_PE + (cell_PE >= taken_PE)
    return cell_PE


def _ascending(cells: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if len(cells) < 2:
        return cells
    first_PE, second_PE = cells
    return torch.minimum(first_PE, second_PE), torch.maximum(first_PE, second_PE)
