"""What every registered family promises, proved for each from its registry line alone.

A new family is tested by being registered. Manuals: test_manuals.py; what a probe's best policy
earns: tests/envs/test_probes.py.
"""

import functools
import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces

import quickstudy.envs.families
from quickstudy.envs import rng
from quickstudy.envs.dmc.projected import ProjectedSuite
from quickstudy.envs.families.probes import Probe
from quickstudy.envs.family import Family
from quickstudy.envs.metaworld.family import MetaWorld
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.registry import FAMILIES, family_class, make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv

PROBES = [name for name in FAMILIES if issubclass(family_class(name), Probe)]
TASK_FAMILIES = [name for name in FAMILIES if name not in PROBES]
DRAWN_BY_MUJOCO = (MujocoFamily, ProjectedSuite, MetaWorld)
SECTIONS = ("Task", "Observation", "Action", "Reward", "Episode", "Source", "Peers")

TASK_SHOWN_AT_START = (
    {"PointRecall": "its cue is the task: what must be remembered"}
    | {
        name: "Meta-World ties the places of objects, which are seen, to the goal"
        for name in FAMILIES
        if name.startswith("MetaWorld")
    }
    | {
        name: "how its maps mix what is seen is part of the task: what must be found out"
        for name in FAMILIES
        if name.startswith("ProjectedDMC")
    }
)
"""Families whose first observation may depend on the task: name -> why."""

REWARDED_FARTHER_ON = {  # see test_adaptation_families.py
    "HalfCheetahDirSparse": "5 m from the start",
    "Wind": "within 3 cm of a place 1 m from the start",
    "ParkourStumps": "2.6 m from the start",  # these three: see test_parkour_families.py
    "ParkourGates": "2.6 m from the start",
    "ParkourRough": "2.6 m from the start",
}
"""Families whose tasks are told apart beyond what random actions reach: name -> where."""


def first_tasks(name, count):
    """Tasks from all splits of a family, `(count, D)`."""
    space = family_class(name).task_space
    per_split = -(-count // len(space.splits))
    lists = [space.listing(split, per_split, seed=0) for split in space.splits]
    return torch.cat(lists)[:count]


def manual_of_episodes(name):
    return inspect.getdoc(family_class(name)).split("## Episode")[1].split("\n## ")[0]


def start(name, task_ND, seed=0):
    """A family at the start of an episode; world i's key is the same in every call."""
    family = make_family(name, len(task_ND))
    everywhere = torch.ones(len(task_ND), dtype=torch.bool)
    family.reset(everywhere, task_ND, rng.world_keys(seed, rng.Stream.EPISODE, len(task_ND)))
    return family


def random_actions(family, step):
    keys = rng.fold_in(rng.world_keys(3, rng.Stream.ACTION, family.num_worlds), step)
    space = family.action_space
    if isinstance(space, spaces.Discrete):
        return (rng.uniform(keys, 1)[:, 0] * int(space.n)).long()
    return (2.0 * rng.uniform(keys, space.shape[0]) - 1.0).to(torch.float32)


# --- registry ---------------------------------------------------------------------------------


def defined_families():
    """Every public concrete class below `envs/families`, as `module:Class`."""
    for module in pkgutil.iter_modules(quickstudy.envs.families.__path__):
        loaded = importlib.import_module(f"quickstudy.envs.families.{module.name}")
        for name, cls in inspect.getmembers(loaded, inspect.isclass):
            own = cls.__module__ == loaded.__name__ and not name.startswith("_")
            if own and issubclass(cls, Family) and not inspect.isabstract(cls):
                yield f"{module.name}:{name}"


def missing_lines(registered):
    """The registry lines that are not there yet."""
    paths = {entry.path for entry in registered.values()}
    return [
        f'"{path.partition(":")[2]}": FamilyEntry("{path}", EPISODE_LENGTH, EPISODES_PER_TRIAL),'
        for path in defined_families()
        if path not in paths
    ]


def test_every_family_class_is_registered():
    missing = missing_lines(FAMILIES)
    assert not missing, "add to FAMILIES in envs/registry.py:\n    " + "\n    ".join(missing)


def test_an_unregistered_family_is_reported_by_the_line_to_add():
    others = {name: entry for name, entry in FAMILIES.items() if name != "AntDir"}
    assert missing_lines(others) == [
        '"AntDir": FamilyEntry("ant_dir:AntDir", EPISODE_LENGTH, EPISODES_PER_TRIAL),'
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_registered_name_is_the_classs(name):
    assert family_class(name).__name__ == name.replace("-legacy", "Legacy")


# --- spaces, tasks and rewards ----------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_actions_are_the_unit_box_or_integers_from_zero(name):
    space = family_class(name).action_space
    if isinstance(space, spaces.Discrete):
        assert space.start == 0
    else:
        assert space.dtype == np.float32
        assert len(space.shape) == 1
        assert bool((space.low == -1.0).all())
        assert bool((space.high == 1.0).all())


@pytest.mark.parametrize(
    "name", [n for n in FAMILIES if isinstance(family_class(n).action_space, spaces.Box)]
)
def test_actions_beyond_the_box_are_clipped_to_it(name):
    tasks = first_tasks(name, 3)
    beyond, at_limit = start(name, tasks), start(name, tasks)
    signs = random_actions(beyond, 0).sign()
    assert torch.equal(beyond.step(7.0 * signs).reward, at_limit.step(signs).reward)
    assert torch.equal(beyond.observe(), at_limit.observe())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_observation_does_not_show_the_task(name):
    """The same key under every task gives the same first observation, bit for bit."""
    if name in TASK_SHOWN_AT_START:
        pytest.skip(TASK_SHOWN_AT_START[name])
    tasks = first_tasks(name, 30)
    family = make_family(name, 30)
    one_key_N = rng.world_keys(1, rng.Stream.EPISODE, 1).expand(30)
    family.reset(torch.ones(30, dtype=torch.bool), tasks, one_key_N)
    observation = family.observe()
    assert torch.equal(observation, observation[:1].expand_as(observation))
    # Nor does it keep traces of an earlier task in the same world.
    family.step(random_actions(family, 0))
    family.reset(torch.ones(30, dtype=torch.bool), tasks.flip(0), one_key_N)
    assert torch.equal(family.observe(), observation)


@pytest.mark.parametrize("name", [n for n in FAMILIES if len(first_tasks(n, 9).unique(dim=0)) > 1])
def test_tasks_reward_the_same_actions_differently(name):
    """64 ways to act for 20 steps, under two tasks of the train split.

    Continuous actions stay the same, to get far; integers change every third step.
    """
    if name in REWARDED_FARTHER_ON:
        pytest.skip(REWARDED_FARTHER_ON[name])
    hold = 3 if isinstance(family_class(name).action_space, spaces.Discrete) else 20
    returns = []
    for task in family_class(name).task_space.listing("train", 2, seed=0):
        family = start(name, task.expand(64, -1))
        family.episode_length = 20
        actions = [random_actions(family, step // hold) for step in range(20)]
        returns.append(sum(family.step(action).reward for action in actions))
    assert float((returns[0] - returns[1]).abs().max()) > 0.1


@pytest.mark.parametrize("name", FAMILIES)
def test_the_reward_is_the_sum_of_its_named_terms(name):
    tasks = first_tasks(name, 5)
    family, env = start(name, tasks), TrialEnv(name, 5, task_source=FixedTasks(tasks))
    env.reset(0)
    for step in range(10):
        outcome = family.step(random_actions(family, step))
        total = torch.zeros(5, dtype=torch.float64)
        for value in outcome.reward_terms.values():
            assert value.shape == (5,)
            assert value.dtype == torch.float64
            total = total + value
        torch.testing.assert_close(outcome.reward, total, rtol=1e-14, atol=1e-14)

    seen = []
    step_family = env.family.step
    env.family.step = lambda action: seen.append(step_family(action)) or seen[-1]
    reward = env.step(random_actions(env.family, 0)).reward
    assert torch.equal(reward, sum(seen[0].reward_terms.values()).to(torch.float32))


@pytest.mark.parametrize("name", FAMILIES)
def test_observations_are_finite_float32_under_random_actions(name):
    """300 steps at the default episode length."""
    env = TrialEnv(name, 4)
    space = env.family.observation_space
    observation = env.reset(0).observation
    for step in range(300):
        assert observation.dtype == torch.float32
        assert all(space.contains(row.numpy()) for row in observation)
        assert bool(observation.isfinite().all())
        now = env.step(random_actions(env.family, step))
        assert bool(now.reward.isfinite().all())
        observation = now.observation
    assert env.num_diverged == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_start_and_actions_give_the_same_bits_without_global_randomness(name):
    def run():
        torch.rand(1)  # whatever else a program draws
        family = start(name, first_tasks(name, 3))
        rows = [family.observe()]
        for step in range(30):
            rows += [family.step(random_actions(family, step)).reward, family.observe()]
        return rows

    first = run()
    before = torch.random.get_rng_state()
    family = start(name, first_tasks(name, 3))
    family.step(random_actions(family, 0))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reset_touches_only_its_worlds(name):
    tasks = first_tasks(name, 4)
    family, undisturbed = start(name, tasks), start(name, tasks)
    for step in range(3):
        family.step(random_actions(family, step))
        undisturbed.step(random_actions(undisturbed, step))
    mask = torch.tensor([False, True, False, True])
    family.reset(mask, tasks.flip(0), rng.world_keys(7, rng.Stream.EPISODE, 4))
    assert torch.equal(family.task_ND, torch.where(mask.unsqueeze(1), tasks.flip(0), tasks))
    for step in range(3):
        assert torch.equal(family.observe()[~mask], undisturbed.observe()[~mask])
        reward = family.step(random_actions(family, step)).reward
        expected = undisturbed.step(random_actions(undisturbed, step)).reward
        assert torch.equal(reward[~mask], expected[~mask])


@pytest.mark.parametrize("name", FAMILIES)
def test_episodes_have_their_registered_length_unless_the_task_ends_them(name):
    env = TrialEnv(name, 4)
    env.reset(0)
    ends = torch.zeros(4, dtype=torch.bool)
    for step in range(1, 2 * env.episode_length + 1):
        now = env.step(random_actions(env.family, step))
        assert not bool((now.terminated & now.truncated).any())
        assert torch.equal(now.episode_start, now.terminated | now.truncated)
        if not bool(ends.any()):  # nothing was terminated early so far
            assert bool(now.episode_start.all()) == (step % env.episode_length == 0)
        ends |= now.terminated
    if name in PROBES:
        assert bool(ends.all())
        assert family_class(name).length == env.episode_length
    elif "Never terminates" in manual_of_episodes(name):
        assert not bool(ends.any())


# --- pictures ---------------------------------------------------------------------------------


SMALLEST_PICTURE = """
from quickstudy.envs.headless import mujoco
context = mujoco.GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 50)
"""


@functools.cache
def rendering_obstacle():
    """Why MuJoCo cannot draw here, or "": tried in a process of its own, since GLFW may crash."""
    code = [sys.executable, "-c", SMALLEST_PICTURE]
    run = subprocess.run(code, capture_output=True, text=True, check=False)
    reason = (run.stderr.strip().splitlines() or ["it crashed"])[-1]
    return f"MuJoCo cannot draw here: {reason}" if run.returncode else ""


@pytest.mark.parametrize("name", FAMILIES)
def test_render_gives_an_rgb_picture_that_follows_the_world_and_disturbs_nothing(name):
    if issubclass(family_class(name), DRAWN_BY_MUJOCO) and (obstacle := rendering_obstacle()):
        pytest.skip(obstacle)
    tasks = first_tasks(name, 2)
    family, unseen = start(name, tasks), start(name, tasks)
    before = family.render(1).copy()
    assert before.dtype == np.uint8
    assert before.ndim == 3
    assert before.shape[2] == 3
    for step in range(4):
        reward = family.step(random_actions(family, step)).reward
        family.render(0)
        assert torch.equal(reward, unseen.step(random_actions(unseen, step)).reward)
        assert torch.equal(family.observe(), unseen.observe())
    if name not in PROBES:
        assert before.std() > 0  # something is to be seen
        assert not np.array_equal(family.render(1), before)
    family.close()
