"""Four empty rooms with a goal that nobody sees, where it pays to explore first and remember later.

Shape legend: P tasks, E copies, S states, A actions, U draws, C coordinates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive
from quickstudy.envs.tabular.chains_rooms import four_rooms, grid_coordinates
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks


@dataclass(frozen=True)
class HiddenGoalConfig:
    """After the Empty Rooms of Zheng et al. 2020 (arXiv 1912.05500), smaller; sizes are ours."""

    size: int = 5
    """Cells along a side, at least 4."""
    horizon: int = 20
    """Steps per episode."""

    def build(self) -> "HiddenGoal":
        return HiddenGoal(self)


class HiddenGoal(TabularTasks):
    """Episodes start at (0, 0) and end on the goal, which pays 1; all else pays 0.

    The goal is one cell for the whole of a task, drawn evenly from all others. The state is the
    cell y · size + x and doesn't show it. Actions: up (+y), left, down, right.
    """

    num_actions = 4
    num_draws = 1
    """No chance is in it, but a copy needs a draw to begin."""

    def __init__(self, config: HiddenGoalConfig) -> None:
        require_positive("horizon", config.horizon)
        self.config = config
        self._next_SA = four_rooms(config.size)
        self._coordinates_SC = grid_coordinates(config.size)
        self.num_states = len(self._next_SA)

    def sample(self, key_P: Tensor) -> Rows:
        draw_P = rng.uniform(key_P, 1)[:, 0]
        return {"goal": 1 + (draw_P * (self.num_states - 1)).to(torch.int64)}

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        cell_PE = torch.zeros(draw_PEU.shape[:2], dtype=torch.int64, device=draw_PEU.device)
        return {"cell": cell_PE, "time": cell_PE.clone()}

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return worlds["cell"]

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        next_PE = self._next_SA[worlds["cell"], action_PE]
        time_PE = worlds["time"] + 1
        found_PE = next_PE == tasks["goal"].unsqueeze(1)
        going_PE = ~(found_PE | (time_PE == self.config.horizon))
        worlds = {"cell": next_PE * going_PE, "time": time_PE * going_PE}
        return TabularStep(worlds, found_PE.to(torch.float32), ~going_PE)

    def coordinates(self) -> Tensor:
        return self._coordinates_SC

    def optimal_return(self, tasks: Rows) -> Tensor:
        """1 where the goal can be reached in time, else 0."""
        reached_S = torch.zeros(self.num_states, dtype=torch.bool)
        reached_S[0] = True
        for _ in range(self.config.horizon):
            reached_S[self._next_SA[reached_S]] = True
        return reached_S[tasks["goal"]].to(torch.float64)
