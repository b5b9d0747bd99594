"""The vector view: what is its own; that it equals single environments is in tests/contracts."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from quickstudy.envs.vector_env import FamilyVectorEnv

GOAL = "quickstudy/PointGoal-v0"


def still(num_envs):
    return np.zeros((num_envs, 2), np.float32)


def test_make_vec_gives_the_batched_environment():
    envs = gym.make_vec(GOAL, num_envs=3)
    assert isinstance(envs.unwrapped, FamilyVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert envs.observation_space.shape == (3, 2)
    assert envs.spec.max_episode_steps == 20
    envs.close()


@pytest.mark.parametrize(("limit", "steps"), [(None, 20), (7, 7)])
def test_the_time_limit_truncates_once(limit, steps):
    kwargs = {} if limit is None else {"max_episode_steps": limit}
    envs = gym.make_vec(GOAL, num_envs=2, **kwargs)
    envs.reset(seed=0)
    flags = [envs.step(still(2))[3].tolist() for _ in range(2 * steps)]
    assert flags == ([[False, False]] * (steps - 1) + [[True, True]]) * 2


def test_minus_one_is_no_limit_as_in_gymnasium():
    envs = FamilyVectorEnv("PointGoal", 1, max_episode_steps=-1)
    envs.reset(seed=0)
    assert not any(envs.step(still(1))[3].any() for _ in range(50))


def test_a_world_does_not_depend_on_how_many_there_are():
    wide, narrow = FamilyVectorEnv("HalfCheetahVel", 5), FamilyVectorEnv("HalfCheetahVel", 2)
    np.testing.assert_array_equal(wide.reset(seed=7)[0][:2], narrow.reset(seed=7)[0])
    actions = np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 6)
    np.testing.assert_array_equal(wide.step(actions)[0][:2], narrow.step(actions[:2])[0])


def test_final_obs_and_info_are_the_last_of_the_old_episode():
    envs = FamilyVectorEnv("PointGoal", 2, max_episode_steps=2)
    _, info = envs.reset(seed=0)
    old_task = info["task"]
    right = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    envs.step(right)
    observation, reward, _, truncated, info = envs.step(right)
    assert truncated.all()
    # Two whole steps of 0.1 m from the origin, where the next episode starts again.
    np.testing.assert_allclose(np.stack(info["final_obs"]), 0.2 * right, rtol=1e-6)
    np.testing.assert_array_equal(observation, np.zeros((2, 2)))
    np.testing.assert_array_equal(info["final_info"]["task"], old_task)
    np.testing.assert_array_equal(info["final_info"]["reward_distance"], reward)
    distance = np.linalg.norm(0.2 * right - old_task, axis=1)
    np.testing.assert_allclose(reward, -distance, rtol=1e-6)
    assert (info["task"] != old_task).all()


def test_worlds_that_fall_at_different_times_stay_equal_to_singles():
    """Ants on their backs: episodes end by their own rule, one world at a time."""
    env_id = "quickstudy/AntDir-v0"
    ours = gym.make_vec(env_id, num_envs=4, max_episode_steps=40)
    theirs = SyncVectorEnv(
        [lambda: gym.make(env_id, max_episode_steps=40)] * 4,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert data_equivalence(ours.reset(seed=2), theirs.reset(seed=2), exact=True)
    ours.action_space.seed(2)
    num_partly_ended = 0
    for _ in range(90):
        actions = ours.action_space.sample()
        step = ours.step(actions)
        assert data_equivalence(step, theirs.step(actions), exact=True)
        num_partly_ended += 0 < (step[2] | step[3]).sum() < 4
    assert num_partly_ended >= 4


def test_what_a_step_returns_is_the_callers_to_keep():
    envs = FamilyVectorEnv("HalfCheetahVel", 2, max_episode_steps=3)
    envs.reset(seed=0)
    actions = np.full((2, 6), 0.5, np.float32)
    kept = envs.step(actions)
    copies = [x.copy() for x in kept[:4]]
    for _ in range(4):
        envs.step(actions)
    for x, copied in zip(kept, copies, strict=False):
        np.testing.assert_array_equal(x, copied)
    task = envs.task
    task[:] = 99.0
    assert (envs.task != 99.0).all()


@pytest.mark.parametrize("task", [[0.5, -0.5], [[0.5, -0.5], [0.1, 0.2]]])
def test_tasks_are_given_to_all_worlds_or_one_by_one(task):
    envs = gym.make_vec(GOAL, num_envs=2, max_episode_steps=3)
    _, info = envs.reset(seed=0, options={"task": task})
    expected = np.broadcast_to(task, (2, 2))
    np.testing.assert_array_equal(info["task"], expected)
    for _ in range(4):
        info = envs.step(still(2))[4]
    np.testing.assert_array_equal(info["task"], expected)
    assert (envs.reset(seed=0)[1]["task"] != expected).all()


def test_one_worlds_task_can_be_set_from_its_next_episode_on():
    envs = FamilyVectorEnv("PointGoal", 2, max_episode_steps=1)
    envs.reset(seed=0)
    envs.set_task(1, [0.5, -0.5])
    assert envs.task[1].tolist() != [0.5, -0.5]
    for _ in range(2):
        envs.step(still(2))
        assert envs.task[1].tolist() == [0.5, -0.5]
        assert envs.task[0].tolist() != [0.5, -0.5]
    envs.set_task(1, None)
    envs.step(still(2))
    assert envs.task[1].tolist() != [0.5, -0.5]


def test_the_test_split_is_drawn_when_asked_for():
    envs = gym.make_vec("quickstudy/HalfCheetahVel-v0", num_envs=8, split="ood")
    assert (envs.reset(seed=0)[1]["task"] >= 3).all()
    assert (envs.reset(options={"split": "test"})[1]["task"] <= 3).all()


def test_unseeded_worlds_draw_different_tasks():
    tasks = FamilyVectorEnv("PointGoal", 2).reset()[1]["task"]
    assert (tasks[0] != tasks[1]).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"family": "PointGaol"}, "Did you mean 'PointGoal'"),
        ({"num_envs": 0}, "num_envs must be"),
        ({"max_episode_steps": 0}, "max_episode_steps must be"),
        ({"split": "tests"}, "Did you mean 'test'"),
        ({"task": [[0.0, 0.0]]}, "or 2 rows"),
        ({"render_mode": "human"}, "Unknown render mode"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FamilyVectorEnv(**{"family": "PointGoal", "num_envs": 2} | kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"seed": [1, 2, 3]}, "seed must be 2 integers"),
        ({"seed": [1, None]}, "seed must be 2 integers"),
        ({"options": {"reset_mask": np.ones(2, bool)}}, "Unknown option 'reset_mask'"),
    ],
)
def test_bad_resets_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FamilyVectorEnv("PointGoal", 2).reset(**kwargs)


@pytest.mark.parametrize("actions", [np.zeros(2), np.zeros((3, 2)), np.zeros((2, 3))])
def test_actions_of_the_wrong_shape_are_refused(actions):
    envs = FamilyVectorEnv("PointGoal", 2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="action must be in Box"):
        envs.step(actions)


def test_gymnasiums_episode_statistics_count_every_step():
    envs = RecordEpisodeStatistics(gym.make_vec(GOAL, num_envs=2, max_episode_steps=3))
    envs.reset(seed=0)
    returns = np.zeros(2)
    for _ in range(3):
        _, reward, _, _, info = envs.step(still(2))
        returns += reward
    np.testing.assert_allclose(info["episode"]["r"], returns)
    np.testing.assert_array_equal(info["episode"]["l"], [3, 3])


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_gymnasiums_own_vectors_take_the_single_environment(cls):
    theirs = cls(
        [lambda: gym.make(GOAL, max_episode_steps=3)] * 2, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours = gym.make_vec(GOAL, num_envs=2, max_episode_steps=3)
    np.testing.assert_array_equal(theirs.reset(seed=5)[0], ours.reset(seed=5)[0])
    for _ in range(4):
        np.testing.assert_array_equal(theirs.step(still(2))[1], ours.step(still(2))[1])
    theirs.close()


def test_rendering_gives_a_picture_per_world():
    envs = gym.make_vec(GOAL, num_envs=2, render_mode="rgb_array")
    envs.reset(seed=0)
    first, second = envs.render()
    assert first.shape == second.shape
    assert (first != second).any()
    envs.close()


def test_rendering_without_a_mode_warns():
    envs = FamilyVectorEnv("PointGoal", 1)
    with pytest.warns(UserWarning, match="rgb_array"):
        assert envs.render() is None
