"""A user's own tasks are refused alike wherever they enter: size, finite numbers, range."""

import re

import gymnasium as gym
import pytest
import torch

import quickstudy  # noqa: F401  registers the families
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.tasks import task_rows
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.envs.trials import FixedTasks, TrialEnv
from quickstudy.envs.vector_env import FamilyVectorEnv
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.play import choose_tasks, make_player, play
from quickstudy.experiments.policies import ZeroPolicy

BAD_TASKS = [
    ((1.0, -9.0), "goal_y = -9 (m), which is outside the range of its splits, -1 to 1"),
    ((float("nan"), 0.0), "goal_x (m), goal_y (m)"),
    ((0.0, float("inf")), "goal_x (m), goal_y (m)"),
    ((1.0,), "goal_x (m), goal_y (m)"),
    ((1.0, 0.0, 0.0), "goal_x (m), goal_y (m)"),
]


def rows(task):
    return torch.tensor([task], dtype=torch.float64)


def played(task):
    return play(make_player("PointGoal", "zero", 0), task, 0)


ENTRANCES = {
    "TrialEnv": lambda task: TrialEnv("PointGoal", 1, task_source=FixedTasks(rows(task))),
    "evaluate": lambda task: evaluate(ZeroPolicy(), TrialSetup("PointGoal"), rows(task)),
    "play": lambda task: played(choose_tasks("PointGoal", "train", 1, 0, task)),
    "make": lambda task: gym.make("quickstudy/PointGoal-v0", task=task),
    "reset": lambda task: gym.make("quickstudy/PointGoal-v0").reset(options={"task": task}),
    "make_vec": lambda task: FamilyVectorEnv("PointGoal", 2, task=task),
    "set_task": lambda task: FamilyVectorEnv("PointGoal", 2).set_task(1, task),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("task", "message"), BAD_TASKS)
def test_a_bad_task_is_refused_by_its_parameters_name(entrance, task, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ENTRANCES[entrance](task)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_good_task_is_not(entrance):
    ENTRANCES[entrance]((1.0, -1.0))


def test_one_bad_world_among_many_is_found():
    task_ND = torch.zeros(5, 2, dtype=torch.float64)
    task_ND[3, 0] = 7.0
    with pytest.raises(ValueError, match="goal_x = 7"):
        TrialEnv("PointGoal", 5, task_source=FixedTasks(task_ND))
    task_ND[4, 1] = torch.nan
    with pytest.raises(ValueError, match=r"got \[0\.0, nan\]"):
        TrialEnv("PointGoal", 5, task_source=FixedTasks(task_ND))


@pytest.mark.parametrize("number", [1, 4])
def test_fixed_tasks_are_one_for_each_world(number):
    with pytest.raises(ValueError, match=rf"or 3 rows of them; got shape \({number}, 2\)"):
        TrialEnv("PointGoal", 3, task_source=FixedTasks(torch.zeros(number, 2).double()))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_own_tasks_are_accepted(family):
    space = family_class(family).task_space
    for split in space.splits:
        task_ND = space.listing(split, 5, seed=0)
        space.check(task_ND, 5)
        assert torch.equal(task_rows(space, task_ND.numpy(), 5), task_ND)
