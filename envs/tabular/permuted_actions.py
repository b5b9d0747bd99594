"""The same tasks under other buttons: what was learned about actions no longer holds.

Shape legend: P tasks, E copies, U draws.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks


class PermutedActions(TabularTasks):
    """Action a does what action `order[a]` does in the tasks within; all else is theirs.

    The test of Zheng et al. 2020 (arXiv 1912.05500): a learned reward says what is worth reaching,
    so it should outlive this; a learned policy does not.
    """

    def __init__(self, tasks: TabularTasks, order: Sequence[int]) -> None:
        """Raises: `ValueError` if `order` is no permutation of the actions."""
        if sorted(order) != list(range(tasks.num_actions)):
            raise ValueError(
                f"order must hold each of the {tasks.num_actions} actions once, got {order!r}."
            )
        self.tasks = tasks
        self.num_states = tasks.num_states
        self.num_actions = tasks.num_actions
        self.num_draws = tasks.num_draws
        self._order_A = torch.tensor(order)

    def sample(self, key_P: Tensor) -> Rows:
        return self.tasks.sample(key_P)

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        return self.tasks.begin(tasks, draw_PEU)

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return self.tasks.state(tasks, worlds)

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        return self.tasks.step(tasks, worlds, self._order_A[action_PE], draw_PEU)

    def coordinates(self) -> Tensor | None:
        return self.tasks.coordinates()

    def optimal_return(self, tasks: Rows) -> Tensor:
        return self.tasks.optimal_return(tasks)
