"""Meta-World's worlds against the package's own environments, and its processes."""

import importlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from quickstudy.envs.metaworld.arena import Arena
from quickstudy.envs.metaworld.environments import ENVIRONMENTS
from quickstudy.envs.metaworld.goals import environment_class, goals
from quickstudy.envs.metaworld.package import INSTALL, installed_version
from quickstudy.envs.registry import family_class, make_family
from quickstudy.envs.trials import TrialEnv

needs_metaworld = pytest.mark.skipif(installed_version() is None, reason=f"needs {INSTALL}")

EVERYDAY = ("reach", "bin-picking", "door-open", "button-press-topdown-wall")
"""Objects in the air, state kept in attributes, a body that is moved, a weld beside a wall."""


def number(environment):
    return ENVIRONMENTS.index(environment)


def tasks(*pairs):
    return torch.tensor([(number(name), goal) for name, goal in pairs], dtype=torch.float64)


def actions(num_steps, num_worlds, seed=0):
    draws = np.random.default_rng(seed).uniform(-1, 1, (num_steps, num_worlds, 4))
    return torch.from_numpy(draws.astype(np.float32))


def started(name, task_ND, **options):
    num_worlds = len(task_ND)
    family = family_class(name)(num_worlds, **options)
    everywhere = torch.ones(num_worlds, dtype=torch.bool)
    family.reset(everywhere, task_ND, torch.zeros(num_worlds, dtype=torch.int64))
    return family


# --- steps are the package's ------------------------------------------------------------------


def plain(environment, goal, *, goal_visible):
    """Meta-World's own object at the start of an episode, made as its documentation says."""
    cls = environment_class(number(environment))
    data = {
        "rand_vec": goals(number(environment))[goal],
        "env_cls": cls,
        "partially_observable": not goal_visible,
    }
    env = cls()
    task_class = importlib.import_module("metaworld.types").Task
    env.set_task(task_class(f"{environment}-v3", pickle.dumps(data)))
    return env, env.reset()[0]


def check_steps(environment, num_steps, goal_visible):
    """Three worlds take turns, the last on the first one's goal; the plain ones are apart."""
    arena = Arena(number(environment), goal_visible)
    arena.start(9)  # an episode that somebody else played before
    starts = [arena.start(goal) for goal in (3, 77, 3)]
    worlds = [start.world.copy() for start in starts]
    envs, firsts = zip(
        *(plain(environment, goal, goal_visible=goal_visible) for goal in (3, 77, 3)), strict=True
    )
    for start, first in zip(starts, firsts, strict=True):
        np.testing.assert_array_equal(start.observation, first)
    for action_NA in actions(num_steps, 3).numpy():
        for world, env, action in zip(worlds, envs, action_NA, strict=True):
            step = arena.step(world, action)
            observation, reward, _, _, info = env.step(action)
            np.testing.assert_array_equal(step.observation, observation)
            assert step.reward == reward
            assert step.success == bool(info["success"])
            assert not step.diverged


@needs_metaworld
@pytest.mark.parametrize("environment", EVERYDAY)
def test_worlds_that_take_turns_are_plain_environments_bit_for_bit(environment):
    check_steps(environment, 40, goal_visible=environment == "reach")


@needs_metaworld
@pytest.mark.slow
@pytest.mark.parametrize("goal_visible", [False, True])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environments_worlds_are_plain_environments(environment, goal_visible):
    check_steps(environment, 250, goal_visible)


@needs_metaworld
def test_hidden_goals_are_zero_and_visible_ones_where_the_arm_must_go():
    """Of reach's six numbers the last three are the goal."""
    chosen = tasks(("reach", 3), ("reach", 60))
    hidden, shown = started("MetaWorldML1Reach", chosen), started("MetaWorldMT1Reach", chosen)
    for action in actions(3, 2):
        assert not bool(hidden.observe()[:, 36:].any())
        expected = np.array([goals(number("reach"))[goal][3:] for goal in (3, 60)], np.float32)
        np.testing.assert_array_equal(shown.observe()[:, 36:], expected)
        assert torch.equal(hidden.step(action).reward, shown.step(action).reward)
        assert torch.equal(hidden.observe()[:, :36], shown.observe()[:, :36])


# --- pictures ---------------------------------------------------------------------------------


def goal_pixel(goal):
    """Row and column of the middle of the goal in a picture of pick-place, which hides it."""
    family = started("MetaWorldML1PickPlace", tasks(("pick-place", goal)))
    try:
        picture = family.render()
    except Exception as error:  # whatever MuJoCo lacks here
        pytest.skip(f"MuJoCo cannot draw here: {error}")
    family.close()
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    rows, columns = np.nonzero((np.minimum(red, blue) > 120) & (green < 60))
    assert len(rows) > 5
    return rows.mean(), columns.mean()


@needs_metaworld
def test_a_picture_is_upright_and_shows_the_goal():
    """A higher goal is higher up, and one farther to the camera's right is farther right.

    It looks along (−1.3, 0.8): its right is (0.8, 1.3).
    """
    place_G3 = np.array(goals(number("pick-place")))[:, 3:]
    low, high = (int(pick(place_G3[:, 2])) for pick in (np.argmin, np.argmax))
    assert goal_pixel(high)[0] < goal_pixel(low)[0] - 3
    across_G = place_G3 @ [0.8, 1.3, 0.0]
    left, right = int(np.argmin(across_G)), int(np.argmax(across_G))
    assert goal_pixel(right)[1] > goal_pixel(left)[1] + 3


# --- trials -----------------------------------------------------------------------------------


@needs_metaworld
def test_an_agent_keeps_its_last_action_and_reward_at_an_episodes_start():
    """The package's recurrent wrapper shows zeros there."""
    env = TrialEnv("MetaWorldML1Reach", 2, episode_length=5, episodes_per_trial=2)
    step = env.reset(0)
    for index, action in enumerate(actions(10, 2), start=1):
        step = env.step(action)
        if index == 5:
            assert bool(step.episode_start.all())
            assert not bool(step.trial_start.any())
            assert torch.equal(step.previous_action, action)
            assert bool((step.previous_reward == step.reward).all())
            assert bool((step.reward > 0).all())
    assert bool(step.trial_start.all())
    assert not bool(step.previous_action.any())


def trajectory(name, num_worlds, num_steps=12, **options):
    space = family_class(name).task_space
    family = started(name, space.listing("train", num_worlds, 0), **options)
    rows = [family.observe()]
    for action in actions(num_steps, num_worlds):
        outcome = family.step(action)
        rows += [outcome.reward, family.observe(), outcome.success]
    state = family.state_dict()
    family.close()
    return rows, state


@needs_metaworld
def test_any_number_of_processes_gives_the_same_bits():
    """Five worlds in one, two, and three processes of one or two worlds."""
    rows, state = trajectory("MetaWorldML1Reach", 5, num_workers=1)
    for num_workers in (2, 3):
        others, other_state = trajectory("MetaWorldML1Reach", 5, num_workers=num_workers)
        assert all(torch.equal(a, b) for a, b in zip(rows, others, strict=True))
        assert all(torch.equal(state[key], other_state[key]) for key in state)


@needs_metaworld
def test_a_state_goes_on_in_another_number_of_processes():
    """Bin-picking keeps a distance of its own, reach none."""
    chosen = tasks(("bin-picking", 0), ("reach", 0), ("bin-picking", 1))
    one = started("MetaWorldML45", chosen, num_workers=1)
    for action in actions(4, 3):
        one.step(action)
    state = one.state_dict()
    two = family_class("MetaWorldML45")(3, num_workers=2)
    two.load_state_dict(state)
    assert torch.equal(two.observe(), one.observe())
    for action in actions(6, 3, seed=1):
        assert torch.equal(two.step(action).reward, one.step(action).reward)
        assert torch.equal(two.observe(), one.observe())
    two.close()


@needs_metaworld
def test_numpys_global_generator_is_left_alone():
    before = np.random.get_state()  # noqa: NPY002
    goals.__wrapped__(number("reach"))
    family = started("MetaWorldML1Reach", tasks(("reach", 11)))
    family.step(actions(1, 1)[0])
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


@needs_metaworld
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_action_that_is_no_number_ends_its_world_alone(value):
    """Infinity is clipped like any other large number."""
    family = started("MetaWorldML1Reach", tasks(("reach", 0), ("reach", 0)))
    undisturbed = started("MetaWorldML1Reach", tasks(("reach", 0), ("reach", 0)))
    good = actions(2, 2)[0]
    bad = good.clone()
    bad[0, :] = value
    outcome, expected = family.step(bad), undisturbed.step(good)
    assert outcome.diverged.tolist() == [value != value, False]
    assert outcome.reward[1] == expected.reward[1]
    assert torch.equal(family.observe()[1], undisturbed.observe()[1])
    if value != value:
        assert outcome.terminated.tolist() == [True, False]
        assert not bool(family.observe()[0].any())
        assert float(outcome.reward[0]) == 0.0
    again = torch.tensor([True, False])
    family.reset(again, tasks(("reach", 0), ("reach", 0)), torch.zeros(2, dtype=torch.int64))
    outcome = family.step(good)
    assert not bool(outcome.diverged.any())
    assert outcome.reward[0] == expected.reward[0]


@needs_metaworld
def test_closing_ends_the_processes_though_another_one_holds_their_pipes():
    """As one forked after them does (Gymnasium's `AsyncVectorEnv` forks)."""
    family = started("MetaWorldML1Reach", tasks(*[("reach", 0)] * 2), num_workers=2)
    held = [os.dup(worker.calls.fileno()) for worker in family._worlds._workers]
    processes = [worker._process for worker in family._worlds._workers]
    family.close()
    assert all(process.returncode is not None for process in processes)
    for file in held:
        os.close(file)


def test_a_process_does_without_torch():
    """Which takes longer to import than all the rest, in each of them."""
    code = "import sys, quickstudy.envs.metaworld.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- mistakes ---------------------------------------------------------------------------------


@needs_metaworld
@pytest.mark.parametrize("task", [(50, 0), (0, 100), (-1, 0), (0.5, 0), (float("nan"), 0)])
def test_tasks_that_do_not_exist_are_refused(task):
    family = make_family("MetaWorldML10", 1)
    with pytest.raises(ValueError, match=r"environment from 0 to 49 and a goal from 0 to 99, got"):
        family.reset(torch.tensor([True]), torch.tensor([task]).double(), torch.zeros(1).long())


@needs_metaworld
def test_no_process_is_no_option():
    with pytest.raises(ValueError, match="num_workers must be an integer of at least 1, got 0"):
        family_class("MetaWorldML1Reach")(4, num_workers=0)


@needs_metaworld
def test_a_process_that_has_ended_is_reported():
    family = started("MetaWorldML1Reach", tasks(*[("reach", 0)] * 2), num_workers=2)
    process = family._worlds._workers[1]._process
    process.kill()
    process.wait()
    with pytest.raises(RuntimeError, match="Meta-World process has ended"):
        family.step(actions(1, 2)[0])
    family.close()
