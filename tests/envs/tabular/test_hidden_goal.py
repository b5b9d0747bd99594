"""Rooms with a hidden goal, and tasks under permuted actions."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.tabular.chains_rooms import ChainConfig, SlipperyTasks
from quickstudy.envs.tabular.hidden_goal import HiddenGoal, HiddenGoalConfig
from quickstudy.envs.tabular.permuted_actions import PermutedActions

UP, LEFT, DOWN, RIGHT = range(4)


def walked(tasks, goal, actions):
    """Cells, rewards and ends of one copy; no chance is in it."""
    rows = {"goal": torch.tensor([goal])}
    worlds = tasks.begin(rows, torch.zeros(1, 1, 1))
    cells, rewards, ends = [], [], []
    for action in actions:
        step = tasks.step(rows, worlds, torch.tensor([[action]]), torch.zeros(1, 1, 1))
        worlds = step.worlds
        cells.append(int(tasks.state(rows, worlds)))
        rewards.append(float(step.reward_PE))
        ends.append(bool(step.ended_PE))
    return cells, rewards, ends


def test_the_goal_pays_once_and_ends_the_episode():
    """5 × 5 cells, goal (1, 2) = 11: the wall below row 2 is open at column 0 only. Up to (0, 2),
    right onto the goal, and again from (0, 0).
    """
    tasks = HiddenGoalConfig().build()
    cells, rewards, ends = walked(tasks, 11, [UP, UP, RIGHT, RIGHT, UP, UP])
    assert cells == [5, 10, 0, 1, 6, 6]
    assert rewards == [0, 0, 1, 0, 0, 0]
    assert ends == [False, False, True, False, False, False]


def test_time_ends_an_episode_without_pay():
    tasks = HiddenGoal(HiddenGoalConfig(horizon=3))
    cells, rewards, ends = walked(tasks, 24, [UP, LEFT, LEFT, UP])
    assert cells == [5, 5, 0, 5]
    assert rewards == [0, 0, 0, 0]
    assert ends == [False, False, True, False]


def test_goals_are_any_cell_but_the_start():
    tasks = HiddenGoal(HiddenGoalConfig(size=4))
    goals = tasks.sample(rng.world_keys(0, rng.Stream.TASK, 600))["goal"]
    assert sorted(set(goals.tolist())) == list(range(1, 16))


def test_the_optimum_is_1_where_the_goal_is_in_reach():
    """Two steps from (0, 0): cells (1, 0), (2, 0), (0, 1), (1, 1), (0, 2), by the doors at 0."""
    tasks = HiddenGoal(HiddenGoalConfig(horizon=2))
    best = tasks.optimal_return({"goal": torch.arange(1, 25)})
    assert (best.nonzero()[:, 0] + 1).tolist() == [1, 2, 5, 6, 10]
    assert best.dtype == torch.float64


def test_bad_horizons_are_refused():
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1, got 0"):
        HiddenGoal(HiddenGoalConfig(horizon=0))


def test_permuted_actions_do_what_the_order_says():
    plain = HiddenGoal(HiddenGoalConfig())
    turned = PermutedActions(plain, [RIGHT, DOWN, LEFT, UP])
    presses = [UP, RIGHT, LEFT, DOWN, RIGHT, UP]
    same = [RIGHT, UP, DOWN, LEFT, UP, RIGHT]
    assert walked(turned, 24, presses) == walked(plain, 24, same)
    assert walked(turned, 24, presses) != walked(plain, 24, presses)


def test_permuted_tasks_are_the_same_tasks():
    plain = SlipperyTasks(ChainConfig().build())
    turned = PermutedActions(plain, [1, 0])
    key_P = rng.world_keys(0, rng.Stream.TASK, 3)
    rows = turned.sample(key_P)
    assert torch.equal(turned.optimal_return(rows), plain.optimal_return(rows))
    assert torch.equal(turned.coordinates(), plain.coordinates())
    assert (turned.num_states, turned.num_actions, turned.num_draws) == (62, 2, 1)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 0, 1, 2], [1, 2, 3, 4]])
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(ValueError, match="each of the 4 actions once"):
        PermutedActions(HiddenGoal(HiddenGoalConfig()), order)
