"""Delayed chains: the first action decides what the last step pays.

Shape legend: P tasks, E copies of each.
"""

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks

SHORTEST, LONGEST = 5, 30
"""Steps of an episode: Oh et al. 2020 (LPG, App. A.3, `short`), as its public ports have it."""


class DelayedChains(TabularTasks):
    """Two actions, of which the first of an episode alone matters.

    The last step pays +1 if the first action was the good one, else −1; all others pay nothing.
    Which one is good, and how many steps an episode has (uniform), is drawn once per task. The
    state is 2 · (steps done) + first action (0 before it), so that the choice can be seen and the
    chain is an MDP.

    No step needs a draw.
    """

    num_actions = 2
    num_draws = 0

    def __init__(self, shortest: int = SHORTEST, longest: int = LONGEST) -> None:
        if not 1 <= shortest <= longest:
            raise ValueError(
                f"Lengths must be 1 <= shortest <= longest, got {shortest!r} and {longest!r}."
            )
        self.shortest = shortest
        self.longest = longest
        self.num_states = 2 * longest

    def sample(self, key_P: Tensor) -> Rows:
        """`length` (P,) int64 and `good` (P,) int64, an action."""
        u_P2 = rng.uniform(key_P, 2)
        lengths = self.longest - self.shortest + 1
        return {
            "length": self.shortest + (u_P2[:, 0] * lengths).long(),
            "good": (2 * u_P2[:, 1]).long(),
        }

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        zero_PE = torch.zeros(draw_PEU.shape[:2], dtype=torch.int64)
        return {"time": zero_PE, "first": zero_PE}

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return 2 * worlds["time"] + worlds["first"]

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        first_PE = torch.where(worlds["time"] == 0, action_PE, worlds["first"])
        time_PE = worlds["time"] + 1
        ended_PE = time_PE >= tasks["length"].unsqueeze(1)
        sign_PE = torch.where(first_PE == tasks["good"].unsqueeze(1), 1.0, -1.0)
        after = {"time": time_PE, "first": first_PE}
        after = {name: row.masked_fill(ended_PE, 0) for name, row in after.items()}
        return TabularStep(after, sign_PE * ended_PE, ended_PE)

    def optimal_return(self, tasks: Rows) -> Tensor:
        return torch.ones(len(tasks["length"]), dtype=torch.float64)
