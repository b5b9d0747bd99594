"""What tests of tabular lifetimes share (tests import nothing from each other)."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.tabular.tabular_tasks import TabularStep, TabularTasks


class Corridor(TabularTasks):
    """Five places; the right end pays a prize (one per task) and ends the episode, as does time.

    Actions: 0 left (costs 0.05), 1 stay, 2 right; a slip turns left and right around. Episodes
    start at place 0 or 1.
    """

    num_states = 5
    num_actions = 3
    num_draws = 2

    def __init__(self, slip=0.1, limit=12):
        self.slip = slip
        self.limit = limit

    def sample(self, key_P):
        return {"prize": 0.5 + rng.uniform(key_P, 1)[:, 0]}

    def begin(self, tasks, draw_PEU):
        return {"place": start(draw_PEU), "time": torch.zeros(draw_PEU.shape[:2]).long()}

    def state(self, tasks, worlds):
        return worlds["place"]

    def step(self, tasks, worlds, action_PE, draw_PEU):
        move_PE = action_PE - 1
        move_PE = torch.where(draw_PEU[..., 0] < self.slip, -move_PE, move_PE)
        place_PE = (worlds["place"] + move_PE).clamp(0, 4)
        time_PE = worlds["time"] + 1
        won_PE = place_PE == 4
        reward_PE = won_PE * tasks["prize"].unsqueeze(1) - 0.05 * (action_PE == 0)
        ended_PE = won_PE | (time_PE >= self.limit)
        after = {
            "place": torch.where(ended_PE, start(draw_PEU), place_PE),
            "time": time_PE.where(~ended_PE, 0),
        }
        return TabularStep(after, reward_PE.float(), ended_PE)

    def optimal_return(self, tasks):
        """Without slips, always right."""
        assert self.slip == 0.0
        assert self.limit >= 4
        return tasks["prize"]


def start(draw_PEU):
    return (draw_PEU[..., 1] >= 0.5).long()


@pytest.fixture(name="corridor", scope="session")
def _corridor():
    return Corridor
