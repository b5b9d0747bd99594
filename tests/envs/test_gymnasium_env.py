"""The front door and the single environment."""

import ctypes.util
import importlib
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo

import quickstudy
from quickstudy.envs.families.half_cheetah_vel import HalfCheetahVel
from quickstudy.envs.gymnasium_env import FamilyEnv

VEL = "quickstudy/HalfCheetahVel-v0"
GOAL = "quickstudy/PointGoal-v0"
HAS_GL = bool(ctypes.util.find_library("EGL") or ctypes.util.find_library("OSMesa"))


@pytest.fixture
def goal():
    env = gym.make(GOAL)
    yield env
    env.close()


def test_importing_the_package_loads_neither_torch_nor_mujoco():
    code = (
        "import sys, quickstudy, gymnasium;"
        "assert 'quickstudy/AntDir-v0' in gymnasium.registry;"
        "heavy = {'torch', 'mujoco', 'stable_baselines3'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_twice_registers_once():
    before = dict(gym.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(quickstudy)
    assert gym.registry == before


def test_make_imports_a_module_named_in_the_id():
    env_id = "quickstudy:quickstudy/HalfCheetahVel-v0"
    code = f"import gymnasium; gymnasium.make({env_id!r}).reset(seed=0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_episode_is_truncated_once_at_the_limit():
    for limit in (None, 5):
        env = gym.make(GOAL, max_episode_steps=limit)
        env.reset(seed=0)
        flags = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(limit or 20)]
        assert flags == [(False, False)] * (len(flags) - 1) + [(False, True)]
        env.close()


def test_values_are_of_plain_types_and_fresh(goal):
    observation, info = goal.reset(seed=0)
    assert observation.dtype == np.float32
    assert info["task"].dtype == np.float64
    kept = observation.copy()
    action = np.array([0.5, -2.0], np.float32)
    observation_1, reward, terminated, truncated, info = goal.step(action)
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]
    assert type(info["diverged"]) is bool
    assert type(info["reward_distance"]) is float
    np.testing.assert_array_equal(observation, kept)
    # Half a step right, and a whole one down: −2 is clipped to −1.
    np.testing.assert_allclose(observation_1, [0.05, -0.1], rtol=1e-6)
    np.testing.assert_array_equal(action, [0.5, -2.0])
    observation_1[:] = info["task"][:] = 99.0
    assert abs(goal.step(action)[0]).max() < 1.0
    assert abs(goal.unwrapped.task).max() <= 1.0


def test_each_reset_draws_a_task_and_a_seed_repeats_them(goal):
    tasks = [goal.reset(seed=3)[1]["task"]] + [goal.reset()[1]["task"] for _ in range(3)]
    again = [goal.reset(seed=3)[1]["task"]] + [goal.reset()[1]["task"] for _ in range(3)]
    np.testing.assert_array_equal(tasks, again)
    assert len(np.unique(np.stack(tasks)[:, 0])) == 4


def test_an_unseeded_environment_draws_a_seed():
    first, second = (FamilyEnv("PointGoal").reset()[1]["task"] for _ in range(2))
    assert (first != second).any()


def test_a_task_stays_until_another_is_given_or_a_seed(goal):
    def task(**kwargs):
        return goal.reset(**kwargs)[1]["task"].tolist()

    drawn = task(seed=3)
    assert task(options={"task": [0.5, -0.5]}) == [0.5, -0.5]
    assert task() == [0.5, -0.5]
    assert task(options={"task": (0.1, 0.2)}) == [0.1, 0.2]
    assert task(options={"task": None}) != [0.1, 0.2]
    task(options={"task": [0.5, -0.5]})
    assert task(seed=3) == drawn
    assert task(seed=3, options={"task": [0.5, -0.5]}) == [0.5, -0.5]


def test_a_split_stays_and_lets_go_of_a_task():
    env = FamilyEnv("HalfCheetahVel")
    space = HalfCheetahVel.task_space

    def split_of(**kwargs):
        task_D = env.reset(**kwargs)[1]["task"]
        inside = space.contains("ood", space.sample("ood", env._episodes._key_N) * 0 + task_D[0])
        return "ood" if inside.item() else "train"

    assert split_of(seed=0) == "train"
    assert split_of(options={"split": "ood"}) == "ood"
    assert split_of() == "ood"
    assert env.reset(options={"task": [0.5]})[1]["task"] == 0.5
    assert split_of(options={"split": "ood"}) == "ood"
    assert split_of(seed=0) == "train"


def test_the_constructors_split_and_task_are_what_a_seed_returns_to():
    env = gym.make(VEL, split="ood")
    assert 3 <= env.reset(seed=0)[1]["task"][0] <= 4
    env = gym.make(VEL, task=[2.5])
    assert env.reset(seed=0)[1]["task"] == 2.5
    assert env.reset(options={"task": [1.5]})[1]["task"] == 1.5
    assert env.reset(seed=1)[1]["task"] == 2.5


def test_the_task_changes_the_reward_and_nothing_else():
    env = FamilyEnv("HalfCheetahVel")
    action = np.full(6, 0.3, np.float32)
    starts, steps = [], []
    for speed in (0.0, 2.0):
        starts.append(env.reset(seed=4, options={"task": [speed]})[0])
        steps.append(env.step(action))
    np.testing.assert_array_equal(starts[0], starts[1])
    np.testing.assert_array_equal(steps[0][0], steps[1][0])
    assert steps[0][4]["reward_control"] == steps[1][4]["reward_control"]
    assert steps[0][4]["reward_speed"] != steps[1][4]["reward_speed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taks": [1.0, 0.0]}, "Unknown option 'taks'. Did you mean 'task'"),
        ({"split": "tset"}, "Unknown split 'tset'. Did you mean 'test'"),
        ({"task": [1.0]}, r"goal_x \(m\), goal_y \(m\).*got \[1.0\]"),
        ({"task": [1.0, float("nan")]}, "finite"),
        ({"task": "left"}, "got 'left'"),
        ([1.0, 0.0], "options must be a dict"),
    ],
)
def test_bad_options_are_refused_and_change_nothing(goal, options, message):
    before = goal.reset(seed=0, options={"task": [0.5, 0.5]})[1]["task"]
    with pytest.raises(ValueError, match=message):
        goal.unwrapped.reset(options=options)
    np.testing.assert_array_equal(goal.reset()[1]["task"], before)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"family": "HalfCheetaVel"}, "Did you mean 'HalfCheetahVel'"),
        ({"family": "PointGoal", "split": "tran"}, "Did you mean 'train'"),
        ({"family": "HalfCheetahDir", "split": "ood"}, "Options: train, test"),
        ({"family": "PointGoal", "task": 0.5}, "task must be"),
        ({"family": "PointGoal", "render_mode": "rgb"}, "Did you mean 'rgb_array'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FamilyEnv(**kwargs)


@pytest.mark.parametrize("action", [np.zeros(3), 0.0, [[0.0, 0.0, 0.0]]])
def test_an_action_of_the_wrong_shape_is_refused(goal, action):
    goal.reset(seed=0)
    with pytest.raises(ValueError, match="action must be in Box"):
        goal.unwrapped.step(action)


@pytest.mark.parametrize("action", [2, -1, 0.5, [0, 1]])
def test_an_integer_action_outside_the_space_is_refused(action):
    env = FamilyEnv("ProbeArm")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be in Discrete"):
        env.step(action)


def test_environments_share_no_action_generator():
    first, second = FamilyEnv("PointGoal"), FamilyEnv("PointGoal")
    first.action_space.seed(0)
    assert first.action_space is not second.action_space
    assert first.action_space.np_random is not second.action_space.np_random


def test_rendering_without_a_mode_warns():
    env = FamilyEnv("PointGoal")
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="rgb_array"):
        assert env.render() is None


@pytest.mark.parametrize(
    "env_id",
    [
        GOAL,
        pytest.param(VEL, marks=pytest.mark.skipif(not HAS_GL, reason="needs libEGL or OSMesa")),
    ],
)
def test_record_video_works_without_a_screen(env_id, tmp_path):
    pytest.importorskip("moviepy")
    env = gym.make(env_id, render_mode="rgb_array", max_episode_steps=4)
    with warnings.catch_warnings():
        # moviepy's own, about how it closes its readers.
        warnings.simplefilter("ignore")
        env = RecordVideo(env, str(tmp_path), episode_trigger=lambda episode: episode == 0)
        env.reset(seed=0)
        for _ in range(4):
            env.step(env.action_space.sample())
        env.close()
    (video,) = tmp_path.glob("*.mp4")
    assert video.stat().st_size > 500
