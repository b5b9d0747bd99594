"""Grid-worlds: a board with walls and objects to collect, the tasks that LPG was discovered on.

Shape legend: P tasks, E copies of each, C cells (x + size · y), O objects, A actions, U draws,
K = 1 + O places.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from quickstudy.envs.families.grid import MOVES, next_cells
from quickstudy.envs.tabular.grid_planning import optimal_return
from quickstudy.envs.tabular.grid_rules import GridRules, places
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks


class GridWorlds(TabularTasks):
    """Tabular grid-worlds as in Oh et al. 2020 (LPG, App. A.1) and Jackson et al. 2023 (GROOVE).

    The state is cell + C · (sum of 2^i over the objects i that are there). Actions: 0 stay, 1 up
    (+y), 2 right (+x), 3 down, 4 left; into a wall, or beyond the board, is a stay.

    A step onto the cell of an object that is there collects it: its reward is paid, and with
    probability `ends` the episode is over. A collected object stays away for this step, and is back
    after each later one with probability `respawns`, at the same place; if the agent stands there,
    it can be collected by the next step. Otherwise an episode ends after `length` steps. Episodes
    start at the same cell with all objects there.

    Start and objects lie on different free cells, drawn once per task (LPG's public ports do so for
    the hand-made maps too). Objects that find no free cell are missing.

    Draws of a step: 0 whether a collected object ends the episode, 1 + i whether object i is back.
    """

    num_actions = len(MOVES)

    def __init__(self, rules: GridRules) -> None:
        self.rules = rules
        self.num_draws = 1 + rules.max_objects
        self.num_states = rules.max_size**2 << rules.max_objects
        self._num_cells = rules.max_size**2

    def sample(self, key_P: Tensor) -> Rows:
        """The task's tables; see `tables`."""
        drawn = self.rules.sample(key_P)
        return tables(drawn, places(drawn["blocked"], key_P, 1 + self.rules.max_objects))

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        shape = draw_PEU.shape[:2]
        return {
            "cell": tasks["start"].unsqueeze(1).repeat(1, shape[1]),
            "there": tasks["objects"].unsqueeze(1).repeat(1, shape[1]),
            "time": torch.zeros(shape, dtype=torch.int64),
        }

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return worlds["cell"] + self._num_cells * worlds["there"]

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        cell_PE = tasks["next"].gather(1, worlds["cell"] * self.num_actions + action_PE)
        found_PE = tasks["object"].gather(1, cell_PE) & worlds["there"]
        any_PE = found_PE > 0
        reward_PE = tasks["reward"].gather(1, cell_PE) * any_PE
        time_PE = worlds["time"] + 1
        ended_PE = any_PE & (draw_PEU[..., 0] < tasks["ends"].gather(1, cell_PE))
        ended_PE |= time_PE >= tasks["length"].unsqueeze(1)
        there_PE = (worlds["there"] | _back(tasks["respawns"], draw_PEU)) & ~found_PE
        after = {
            "cell": torch.where(ended_PE, tasks["start"].unsqueeze(1), cell_PE),
            "there": torch.where(ended_PE, tasks["objects"].unsqueeze(1), there_PE),
            "time": time_PE.masked_fill_(ended_PE, 0),
        }
        return TabularStep(after, reward_PE, ended_PE)

    def optimal_return(self, tasks: Rows) -> Tensor:
        """By backward induction over cells × sets of objects; the optimal policy may look at the
        clock, which the state does not show.
        """
        return optimal_return(tasks)


def tables(drawn: Rows, place_PK: Tensor) -> Rows:
    """Tasks as they are played, from rules and the cells of start and objects.

    Returns:
        `next` (P, C·A) int64: the cell that action a leads to from cell c, at c · A + a;
        `object` (P, C) int64: 2^i on the cell of object i, else 0; `reward`, `ends` (P, C) float32:
        of the object on each cell; `respawns` (P, O) float32; `start` (P,) int64; `objects` (P,)
        int64: the sum of 2^i over all objects of the task; `length` (P,) int64.
    """
    blocked_PC, place_PO = drawn["blocked"], place_PK[:, 1:]
    index_O = torch.arange(place_PO.shape[1])
    used_PO = index_O < drawn["num_objects"].unsqueeze(1)
    used_PO = used_PO & ~blocked_PC.gather(1, place_PO)
    bit_PO = used_PO * (1 << index_O)
    return {
        "next": _moves(blocked_PC),
        "object": _on_cells(blocked_PC, place_PO, bit_PO),
        "reward": _on_cells(blocked_PC, place_PO, drawn["reward"] * used_PO),
        "ends": _on_cells(blocked_PC, place_PO, drawn["ends"] * used_PO),
        "respawns": drawn["respawns"] * used_PO,
        "start": place_PK[:, 0],
        "objects": bit_PO.sum(dim=1),
        "length": drawn["length"],
    }


def _moves(blocked_PC: Tensor) -> Tensor:
    num_cells = blocked_PC.shape[1]
    next_X = next_cells(round(num_cells**0.5))
    stay_X = torch.arange(num_cells).repeat_interleave(len(MOVES))
    return torch.where(blocked_PC[:, next_X], stay_X, next_X)


def _on_cells(like_PC: Tensor, place_PO: Tensor, value_PO: Tensor) -> Tensor:
    empty_PC = torch.zeros(like_PC.shape, dtype=value_PO.dtype)
    return empty_PC.scatter(1, place_PO, value_PO)


def _back(respawns_PO: Tensor, draw_PEU: Tensor) -> Tensor:
    """Which objects come back if they are away, as bits `(P, E)`."""
    drawn_UPE: Sequence[Tensor] = draw_PEU.unbind(-1)
    back_PE = torch.zeros(draw_PEU.shape[:2], dtype=torch.int64)
    for i, respawns_P in enumerate(respawns_PO.unbind(1)):
        back_PE |= (drawn_UPE[1 + i] < respawns_P.unsqueeze(1)).long() << i
    return back_PE
