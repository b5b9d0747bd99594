"""The best that can be earned on a grid-world, by backward induction.

A state is a cell and a set of objects that are there; a step first moves (surely), then collects,
then lets objects come back, each on its own. So the worth of arriving somewhere needs one pass over
the objects, and no table of transitions between sets.

Shape legend: P tasks, C cells, A actions, B = 2^O sets of objects (object i is bit i), V = P · C.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from quickstudy.envs.tabular.tabular_tasks import Rows


def optimal_return(tasks: Rows) -> Tensor:
    """What the best policy that knows the task and the clock earns per episode, `(P,)` float64."""
    order_P = tasks["length"].argsort(descending=True, stable=True)
    ordered = {name: row[order_P] for name, row in tasks.items()}
    model = _Model(ordered)
    best_P = torch.zeros(len(order_P), dtype=torch.float64)
    value_PCB = model.nothing_left()
    for steps in range(1, int(tasks["length"].max()) + 1):
        # Tasks with shorter episodes lie behind and have been dealt with.
        alive = int((ordered["length"] >= steps).sum())
        value_PCB = model.best(model.arrival(value_PCB[:alive]))
        done_P = (ordered["length"][:alive] == steps).nonzero()[:, 0]
        start = (ordered["start"][done_P], ordered["objects"][done_P])
        best_P[order_P[done_P]] = value_PCB[done_P, *start]
    return best_P


def arrival_values(tasks: Rows, num_steps: int) -> Iterator[Tensor]:
    """For 0, 1, … steps that remain afterwards: what it is worth, from this step's reward on, to
    move to a cell while a set of objects is there, `(P, C, B)` float64.
    """
    model = _Model(tasks)
    value_PCB = model.nothing_left()
    for _ in range(num_steps):
        arrival_PCB = model.arrival(value_PCB)
        yield arrival_PCB
        value_PCB = model.best(arrival_PCB)


class _Model:
    """The tables of backward induction; all work on the first tasks only, where given fewer."""

    def __init__(self, tasks: Rows) -> None:
        self._num_cells = tasks["object"].shape[1]
        self._set_B = torch.arange(1 << tasks["respawns"].shape[1])
        found_PCB = (tasks["object"].unsqueeze(2) & self._set_B) > 0
        self._reward_PCB = tasks["reward"].double().unsqueeze(2) * found_PCB
        self._goes_on_PCB = 1.0 - tasks["ends"].double().unsqueeze(2) * found_PCB
        self._changes = list(_changes(tasks))
        self._next_AV = self._rows_of_next(tasks["next"])

    def _rows_of_next(self, next_PX: Tensor) -> list[Tensor]:
        first_P = torch.arange(len(next_PX)) * self._num_cells
        next_PCA = (next_PX + first_P.unsqueeze(1)).view(len(next_PX), self._num_cells, -1)
        return [next_PC.flatten() for next_PC in next_PCA.unbind(2)[1:]]

    def nothing_left(self) -> Tensor:
        return torch.zeros_like(self._reward_PCB)

    def arrival(self, value_PCB: Tensor) -> Tensor:
        """Worth of arriving, given that of states with one step less to go."""
        count = len(value_PCB)
        for i, chance in enumerate(self._changes):
            halves = value_PCB.view(count, self._num_cells, -1, 2, 1 << i)
            value_PCB = torch.lerp(halves, halves.flip(3), chance[:count]).flatten(2)
        return self._reward_PCB[:count] + self._goes_on_PCB[:count] * value_PCB

    def best(self, arrival_PCB: Tensor) -> Tensor:
        """Worth of states: of the best move."""
        arrival_VB = arrival_PCB.flatten(0, 1)
        best_VB = arrival_VB  # of action 0, which stays
        for next_V in self._next_AV:
            best_VB = torch.maximum(best_VB, arrival_VB[next_V[: len(arrival_VB)]])
        return best_VB.view_as(arrival_PCB)


def _changes(tasks: Rows) -> Iterator[Tensor]:
    """For each object the chance that a step which leads to a cell changes whether it is there:
    `(P, C, 1, 2, 1)` float64, of objects that are away (they come back), then of those there.
    """
    for i, respawns_P in enumerate(tasks["respawns"].double().unbind(1)):
        taken_PC = (tasks["object"] == 1 << i).double()
        back_PC = respawns_P.unsqueeze(1).expand_as(taken_PC)
        yield torch.stack([back_PC, taken_PC], dim=2)[:, :, None, :, None]
