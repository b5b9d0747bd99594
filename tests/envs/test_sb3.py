"""The Stable-Baselines3 adapter."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.sb3 import FamilyVecEnv
from quickstudy.envs.vector_env import FamilyVectorEnv

CONTINUOUS = [f for f in FAMILIES if isinstance(family_class(f).action_space, gym.spaces.Box)]


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Networks this small only wait for a second thread."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def still(num_envs):
    return np.zeros((num_envs, 2), np.float32)


def weights(model):
    return torch.cat([p.detach().flatten().clone() for p in model.policy.parameters()])


@pytest.mark.parametrize("family", ["PointGoal", "HalfCheetahVel", "ProbeArm"])
def test_sb3s_checker_accepts_the_single_environment(family):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(f"quickstudy/{family}-v0"))


@pytest.mark.parametrize(
    "family", [f for f in FAMILIES if not f.startswith("Probe")] + ["ProbeArm"]
)
def test_ppo_trains_on_any_family(family):
    envs = VecMonitor(FamilyVecEnv(family, 4, seed=0))
    model = PPO("MlpPolicy", envs, n_steps=32, batch_size=64, n_epochs=1, device="cpu", seed=0)
    before = weights(model)
    model.learn(128)
    assert (weights(model) != before).any()
    assert weights(model).isfinite().all()
    envs.close()


@pytest.mark.parametrize("family", CONTINUOUS)
def test_sac_trains_on_any_continuous_family(family):
    envs = FamilyVecEnv(family, 2, seed=0)
    model = SAC(
        "MlpPolicy", envs, learning_starts=16, batch_size=16, buffer_size=200, device="cpu", seed=0
    )
    before = weights(model)
    model.learn(48)
    assert (weights(model) != before).any()
    assert weights(model).isfinite().all()
    envs.close()


def test_training_twice_with_one_seed_gives_the_same_weights():
    def train():
        model = PPO(
            "MlpPolicy",
            FamilyVecEnv("PointGoal", 2),
            n_steps=16,
            batch_size=32,
            seed=3,
            device="cpu",
        )
        return weights(model.learn(64))

    np.testing.assert_array_equal(train(), train())


def test_it_plays_what_the_vector_view_plays():
    ours, vector = FamilyVecEnv("PointGoal", 3, seed=5), FamilyVectorEnv("PointGoal", 3)
    np.testing.assert_array_equal(ours.reset(), vector.reset(seed=5)[0])
    for _ in range(45):
        observation, reward, ended, infos = ours.step(still(3) + 0.3)
        expected = vector.step(still(3) + 0.3)
        np.testing.assert_array_equal(observation, expected[0])
        np.testing.assert_array_equal(reward, expected[1].astype(np.float32))
        np.testing.assert_array_equal(ended, expected[3])
        if ended.any():
            last = [info["terminal_observation"] for info in infos]
            np.testing.assert_array_equal(last, np.stack(expected[4]["final_obs"]))
            assert [info["TimeLimit.truncated"] for info in infos] == [True] * 3
        else:
            assert not any("terminal_observation" in info for info in infos)


def test_an_episode_that_ends_by_its_own_rule_is_not_a_timeout():
    """`ProbeArm` terminates at its only step, which is also the time limit's."""
    envs = FamilyVecEnv("ProbeArm", 2, seed=0)
    envs.reset()
    _, _, ended, infos = envs.step(np.array([0, 1]))
    assert ended.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [False, False]
    assert all(info["task"] in (0.0, 1.0) for info in infos)


def test_the_monitor_and_the_evaluation_count_whole_episodes():
    envs = VecMonitor(FamilyVecEnv("PointGoal", 2, task=[0.3, 0.4], episode_length=5, seed=0))
    envs.reset()
    for _ in range(5):
        *_, infos = envs.step(still(2))
    # Standing at the origin, 0.5 m from the goal, for five steps.
    assert [info["episode"]["r"] for info in infos] == pytest.approx([-2.5, -2.5])
    assert [info["episode"]["l"] for info in infos] == [5, 5]
    model = PPO("MlpPolicy", envs, device="cpu")
    with torch.no_grad():
        for parameter in model.policy.action_net.parameters():
            parameter.zero_()
    assert evaluate_policy(model, envs, n_eval_episodes=4) == pytest.approx((-2.5, 0.0))


def test_seeds_options_and_reset_infos_go_through():
    envs = FamilyVecEnv("PointGoal", 2)
    assert envs.seed(8) == [8, 9]
    envs.reset()
    first = [info["task"] for info in envs.reset_infos]
    expected = FamilyVectorEnv("PointGoal", 2).reset(seed=8)[1]["task"]
    np.testing.assert_array_equal(first, expected)
    envs.set_options({"task": [0.5, 0.5]})
    envs.reset()
    np.testing.assert_array_equal(envs.get_attr("task"), [[0.5, 0.5]] * 2)
    envs.set_options([{"task": [0.1, 0.1]}, {"task": [0.2, 0.2]}])
    envs.reset()
    np.testing.assert_array_equal(envs.get_attr("task"), [[0.1, 0.1], [0.2, 0.2]])
    envs.set_options([{"split": "ood"}, {}])
    with pytest.raises(ValueError, match="same options"):
        envs.reset()


def test_seed_none_leaves_the_global_generator_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002  it is the global one that is watched
    FamilyVecEnv("PointGoal", 2).seed(None)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_worlds_are_reached_one_by_one():
    envs = FamilyVecEnv("PointGoal", 3, episode_length=1, seed=0)
    envs.reset()
    envs.env_method("set_task", [0.5, -0.5], indices=1)
    envs.step(still(3))
    tasks = [task.tolist() == [0.5, -0.5] for task in envs.get_attr("task")]
    assert tasks == [False, True, False]
    assert envs.reset_infos[1]["task"].tolist() == [0.5, -0.5]
    envs.set_attr("label", "easy", indices=[0, 2])
    assert envs.get_attr("label", indices=[0, 2]) == ["easy", "easy"]
    assert not envs.has_attr("label")
    assert envs.env_is_wrapped(Monitor) == [False] * 3
    assert envs.env_is_wrapped(Monitor, indices=0) == [False]


def test_worlds_are_drawn_in_one_picture():
    envs = FamilyVecEnv("PointGoal", 2, seed=0, render_mode="rgb_array")
    envs.reset()
    assert envs.render().shape == (480, 240, 3)
    envs.close()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'PointGoal'"):
        FamilyVecEnv("PointGaol")
