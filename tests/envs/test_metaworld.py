"""Meta-World's families against the package itself. All but the first tests need the extra."""

import importlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from quickstudy.envs.metaworld import benchmarks, package
from quickstudy.envs.metaworld.arena import Arena
from quickstudy.envs.metaworld.environments import ENVIRONMENTS, GOAL_SEED
from quickstudy.envs.metaworld.family import MetaWorld
from quickstudy.envs.metaworld.goals import environment_class, goals
from quickstudy.envs.metaworld.package import INSTALL, installed_version, load_metaworld
from quickstudy.envs.metaworld.success import SuccessRecorder
from quickstudy.envs.play import play_one_trial
from quickstudy.envs.registry import FAMILIES, family_class, make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv

NAMES = [name for name in FAMILIES if name.startswith("MetaWorld")]
HIDDEN = [name for name in NAMES if name.startswith("MetaWorldML")]

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


# --- without the package ----------------------------------------------------------------------


def test_a_missing_package_is_reported_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(package, "installed_version", lambda: None)
    with pytest.raises(ValueError, match=r'pip install "quickstudy\[metaworld\]"'):
        load_metaworld.__wrapped__()


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(package, "installed_version", lambda: "3.1.1")
    with pytest.raises(ValueError, match=r"metaworld 3\.0\.0, 3\.1\.1 is installed.*pip install"):
        load_metaworld.__wrapped__()


def test_no_task_is_both_trained_and_tested_in_any_meta_learning_family():
    for name in HIDDEN:
        space = family_class(name).task_space
        count = len(space.listing("train", 10_000, 0).unique(dim=0))
        train, test = space.listing("train", count, 0), space.listing("test", 250, 0)
        assert len(train.unique(dim=0)) == count
        assert not bool(space.contains("test", train).any()), name
        assert not bool(space.contains("train", test).any()), name
        if "ML1" not in name.replace("ML10", ""):
            assert not set(train[:, 0].tolist()) & set(test[:, 0].tolist()), name


def test_the_families_have_the_sizes_in_their_names():
    sizes = {
        name: tuple(
            len(family_class(name).task_space.listing(split, 5000, 0)[:, column].unique())
            for split in ("train", "test")
            for column in (0, 1)
        )
        for name in NAMES
    }
    for name, expected in {
        "MetaWorldML1Reach": (1, 50, 1, 50),
        "MetaWorldML1Push": (1, 50, 1, 50),
        "MetaWorldML1PickPlace": (1, 50, 1, 50),
        "MetaWorldML10": (10, 50, 5, 50),
        "MetaWorldML45": (45, 50, 5, 50),
        "MetaWorldMT1Reach": (1, 50, 1, 50),
        "MetaWorldMT1Push": (1, 50, 1, 50),
        "MetaWorldMT1PickPlace": (1, 50, 1, 50),
        "MetaWorldMT10": (10, 50, 10, 50),
        "MetaWorldMT50": (50, 50, 50, 50),
    }.items():
        assert sizes.pop(name) == expected, name
    assert not sizes


# --- tasks are the package's ------------------------------------------------------------------


@needs_metaworld
def test_the_benchmarks_environments_are_the_packages():
    load_metaworld()
    theirs = importlib.import_module("metaworld.env_dict")

    def names(table):
        return [name.removesuffix("-v3") for name in table]

    assert names(theirs.ALL_V3_ENVIRONMENTS) == list(ENVIRONMENTS)
    assert names(theirs.ML10_V3["train"]) == list(benchmarks.ML10_TRAIN)
    assert names(theirs.ML10_V3["test"]) == list(benchmarks.ML10_TEST)
    assert set(names(theirs.ML45_V3["train"])) == set(benchmarks.ML45_TRAIN)
    assert set(names(theirs.ML45_V3["test"])) == set(benchmarks.ML45_TEST)
    assert names(theirs.MT10_V3) == list(benchmarks.MT10)


def vectors(task_list):
    return np.array([pickle.loads(task.data)["rand_vec"] for task in task_list])


def check_goals(environment, count):
    """The first `count` of each split are those of `metaworld.ML1`, which simulates its resets."""
    theirs = load_metaworld().ML1(f"{environment}-v3", seed=GOAL_SEED)
    ours = np.array(goals(number(environment)))
    np.testing.assert_array_equal(ours[:count], vectors(theirs.train_tasks))
    np.testing.assert_array_equal(ours[50 : 50 + count], vectors(theirs.test_tasks))
    assert len(np.unique(ours, axis=0)) == 100


@needs_metaworld
@pytest.mark.parametrize("environment", EVERYDAY)
def test_goals_are_those_of_the_packages_own_tasks(environment, monkeypatch):
    monkeypatch.setattr(load_metaworld(), "_N_GOALS", 4)
    check_goals(environment, 4)


@needs_metaworld
@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_goals_are_those_of_the_packages_own_tasks(environment):
    check_goals(environment, 50)


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


# --- scripted policies ------------------------------------------------------------------------


class Scripted:
    """Meta-World's own scripted policies, one for each world's environment."""

    def begin(self, env):
        table = importlib.import_module("metaworld.policies").ENV_POLICY_MAP
        self._policies = [table[f"{ENVIRONMENTS[int(task[0])]}-v3"]() for task in env.tasks]

    def act(self, time_step):
        rows = time_step.observation.double().numpy()
        chosen = [policy.get_action(row) for policy, row in zip(self._policies, rows, strict=True)]
        return torch.tensor(np.clip(chosen, -1, 1), dtype=torch.float32)


def scripted_successes(chosen, **trial):
    env = TrialEnv("MetaWorldMT50", len(chosen), task_source=FixedTasks(chosen), **trial)
    recorder = SuccessRecorder(Scripted())
    returns, lengths = play_one_trial(recorder, env, seed=0)
    env.close()
    assert bool((lengths == env.episode_length).all())
    return recorder.successes, returns


@needs_metaworld
def test_scripted_policies_solve_their_environments():
    """In 150 steps; and none in three."""
    easy = tasks(("reach", 0), ("door-close", 1), ("window-open", 2), ("drawer-close", 3))
    successes, returns = scripted_successes(easy, episode_length=150, episodes_per_trial=1)
    assert successes.tolist() == [[True]] * 4
    assert bool((returns > 300).all())
    successes, _ = scripted_successes(easy, episode_length=3, episodes_per_trial=2)
    assert successes.tolist() == [[False, False]] * 4


@needs_metaworld
@pytest.mark.slow
def test_all_fifty_scripted_policies_succeed_on_this_mujoco():
    """On three goals each: 148 of 150, but for one each of basketball and door-open."""
    chosen = tasks(*((name, goal) for name in ENVIRONMENTS for goal in range(3)))
    successes, _ = scripted_successes(chosen)
    solved = successes.view(50, 3).sum(dim=1)
    assert bool((solved >= 2).all()), dict(zip(ENVIRONMENTS, solved.tolist(), strict=True))
    assert int(solved.sum()) >= 145


# --- success ----------------------------------------------------------------------------------


@needs_metaworld
def test_an_episode_is_a_success_if_any_step_is_and_each_episode_is_counted_by_itself():
    """The hand reaches the goal, leaves it, and in the second episode does not go there."""
    chosen = tasks(("reach", 0))
    env = TrialEnv("MetaWorldMT1Reach", 1, task_source=FixedTasks(chosen), episode_length=100)
    scripted, family = Scripted(), env.family
    step = env.reset(0)
    scripted.begin(env)
    seen = []
    for index in range(200):
        away = torch.tensor([[0.0, -1.0, 1.0, 0.0]])
        step = env.step(scripted.act(step) if index < 60 else away)
        seen.append((bool(family.success), bool(family.episode_success)))
        if index == 99:
            assert bool(family.last_episode_success)
            assert not bool(family.episode_success)
    first, second = seen[:99], seen[100:]
    reached = [success for success, _ in first].index(True)
    assert 5 < reached < 60
    assert not first[-1][0]
    assert [any_step for _, any_step in first] == [False] * reached + [True] * (99 - reached)
    assert not any(success or any_step for success, any_step in second[:-1])
    assert not bool(family.last_episode_success)


@needs_metaworld
def test_the_recorder_counts_every_episode_of_every_world():
    """The policy goes to the goal in odd episodes only, in the second world in even ones."""

    class Sometimes(Scripted):
        def begin(self, env):
            super().begin(env)
            self._episode = -1

        def act(self, time_step):
            self._episode += int(time_step.episode_start[0])
            goes = torch.tensor([[self._episode % 2], [1 - self._episode % 2]])
            return super().act(time_step) * goes

    chosen = tasks(("reach", 0), ("reach", 1))
    env = TrialEnv(
        "MetaWorldMT1Reach",
        2,
        task_source=FixedTasks(chosen),
        episode_length=60,
        episodes_per_trial=3,
    )
    recorder = SuccessRecorder(Sometimes())
    play_one_trial(recorder, env, seed=0)
    play_one_trial(recorder, env, seed=0)
    expected = [[False, True, False], [True, False, True]]
    assert recorder.successes.tolist() == expected + expected


def test_only_families_that_know_success_can_be_recorded():
    env = TrialEnv("PointGoal", 1)
    with pytest.raises(ValueError, match="PointGoal does not say what a success is"):
        SuccessRecorder(Scripted()).begin(env)


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
        rows += [family.step(action).reward, family.observe(), family.success]
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


def test_every_family_of_the_package_is_one_of_ours():
    assert all(issubclass(family_class(name), MetaWorld) for name in NAMES)
    assert len(NAMES) == 10
