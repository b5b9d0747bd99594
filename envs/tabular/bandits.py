"""Bernoulli bandits: one state, one pull per episode.

Shape legend: P tasks, E copies of each, A arms.
"""

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks


class Bandits(TabularTasks):
    """Each pull pays 1 with its arm's probability, else 0; the probabilities are U[0, 1] (as in the
    family Bandit).

    Draws of a step: 0 whether the arm pays.
    """

    num_states = 1
    num_draws = 1

    def __init__(self, num_arms: int = 10) -> None:
        require_positive("num_arms", num_arms)
        self.num_actions = num_arms

    def sample(self, key_P: Tensor) -> Rows:
        """`pays` (P, A) float32: how often."""
        return {"pays": rng.uniform(key_P, self.num_actions).float()}

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        return {"state": torch.zeros(draw_PEU.shape[:2], dtype=torch.int64)}

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return worlds["state"]

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        paid_PE = draw_PEU[..., 0] < tasks["pays"].gather(1, action_PE)
        return TabularStep(worlds, paid_PE.float(), torch.ones_like(paid_PE))

    def optimal_return(self, tasks: Rows) -> Tensor:
        return tasks["pays"].double().amax(dim=1)
