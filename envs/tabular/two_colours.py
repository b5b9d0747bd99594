"""Two-Colours: a stream in which good and bad change places again and again.

Shape legend: P tasks, E copies of each, U draws, F features.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from quickstudy.envs.errors import require_positive
from quickstudy.envs.families.grid import MOVES, next_cells, one_hot_cells
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks

SIZE = 5
NUM_CELLS = SIZE**2
NUM_FREE = NUM_CELLS - 2
"""Places for an item that is put back: not on the agent, not on the other item."""
NOTHING, BLUE, RED = range(3)
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
        self._boards = _all_boards()
        self._reward_XS = torch.tensor([[STEP_REWARD, STEP_REWARD], [1.0, -1.0], [-1.0, 1.0]])

    def sample(self, key_P: Tensor) -> Rows:
        """All tasks are the same; `period` (P,) int64."""
        return {"period": torch.full((len(key_P),), self.period)}

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        agent_draw, blue_draw, red_draw = draw_PEU.unbind(-1)
        agent_PE = _free_cell(agent_draw)
        blue_PE = _free_cell(blue_draw, agent_PE)
        red_PE = _free_cell(red_draw, agent_PE, blue_PE)
        return {"board": _board(agent_PE, blue_PE, red_PE), "time": torch.zeros_like(agent_PE)}

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return worlds["board"]

    def features(self, worlds: Rows) -> Tensor:
        """What networks see, `(P, E, F)` float32: x and y of agent, blue and red, one-hot each."""
        return self._boards.seen_SF[worlds["board"]]

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        move_PE = worlds["board"] * self.num_actions + action_PE
        found_PE = self._boards.found_X[move_PE]
        swapped_PE = worlds["time"] // tasks["period"].unsqueeze(1) % 2
        after = {
            "board": self._boards.after_XC[move_PE, _place(draw_PEU[..., 0], NUM_FREE)],
            "time": worlds["time"] + 1,
        }
        ended_PE = torch.zeros_like(found_PE, dtype=torch.bool)
        return TabularStep(after, self._reward_XS[found_PE, swapped_PE], ended_PE)

    def optimal_return(self, tasks: Rows) -> Tensor:
        raise ValueError("Two-Colours is a stream without episodes: no episode has a return.")


@dataclass(frozen=True)
class _Boards:
    """What every move on every board leads to, so that a step is a look into tables.

    Shape legend: S boards, X = S · A moves (board · A + action), C places of an item put back.
    """

    seen_SF: Tensor
    found_X: Tensor
    """What the move collects: `NOTHING`, `BLUE` or `RED`."""
    after_XC: Tensor
    """The next board; all places are alike where nothing was collected."""


@cache
def _all_boards() -> _Boards:
    board_S = torch.arange(TwoColours.num_states)
    seen_CF = one_hot_cells(SIZE)
    seen_SF = torch.cat([seen_CF[cell_S] for cell_S in _cells(board_S)], dim=-1)
    move_X = torch.arange(TwoColours.num_states * TwoColours.num_actions)
    agent_X, blue_X, red_X = _cells(move_X // TwoColours.num_actions)
    # The first of the suite's moves is to stay.
    action_X = 1 + move_X % TwoColours.num_actions
    agent_X = next_cells(SIZE)[agent_X * len(MOVES) + action_X]
    on_blue_X, on_red_X = agent_X == blue_X, agent_X == red_X
    other_X = torch.where(on_blue_X, red_X, blue_X)
    place_XC = _passing(
        torch.arange(NUM_FREE).expand(len(move_X), -1), agent_X[:, None], other_X[:, None]
    )
    after_XC = _board(
        agent_X[:, None],
        torch.where(on_blue_X[:, None], place_XC, blue_X[:, None]),
        torch.where(on_red_X[:, None], place_XC, red_X[:, None]),
    )
    return _Boards(seen_SF, on_blue_X * BLUE + on_red_X * RED, after_XC)


def _board(agent: Tensor, blue: Tensor, red: Tensor) -> Tensor:
    return agent + NUM_CELLS * (blue + NUM_CELLS * red)


def _cells(board: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of agent, blue and red."""
    return board % NUM_CELLS, board // NUM_CELLS % NUM_CELLS, board // NUM_CELLS**2


def _free_cell(draw_PE: Tensor, *taken: Tensor) -> Tensor:
    """One of the cells that are not taken, all as likely; at most two may be, not the same one."""
    return _passing(_place(draw_PE, NUM_CELLS - len(taken)), *taken)


def _place(draw_PE: Tensor, count: int) -> Tensor:
    """Which of so many places; a draw rounded to float32 may be 1."""
    return (draw_PE * count).long().clamp(max=count - 1)


def _passing(place: Tensor, *taken: Tensor) -> Tensor:
    """The cell of a place among those that are not taken."""
    for cell in _ascending(taken):
        place = place + (place >= cell)
    return place


def _ascending(cells: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if len(cells) < 2:
        return cells
    first_PE, second_PE = cells
    return torch.minimum(first_PE, second_PE), torch.maximum(first_PE, second_PE)
