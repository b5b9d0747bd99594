"""What holds of every registered family behind Gymnasium: written once, run for each."""

import ctypes.util
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import quickstudy  # noqa: F401  registers the families
from quickstudy.envs.gymnasium_env import seed_keys
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.trials import TrialEnv

IDS = {name: f"quickstudy/{name}-v0" for name in FAMILIES}
SEED = 11
NUM_ENVS = 3
SHORT = 4  # steps per episode, so that a dozen steps see several ends


def needs_screen(name):
    """Only MuJoCo families draw with OpenGL."""
    return family_class(name).render.__module__.endswith(
        (".mujoco_family", ".dmc.projected", ".metaworld.family")
    )


def headless():
    return not (ctypes.util.find_library("EGL") or ctypes.util.find_library("OSMesa"))


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def sampled_actions(space, num_steps):
    space.seed(SEED)
    return [space.sample() for _ in range(num_steps)]


def test_gymnasiums_checker_finds_nothing(family):
    env = gym.make(IDS[family])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Real numbers have no bounds; Gymnasium's own MuJoCo spaces are the same.
        warnings.filterwarnings("ignore", message=".*This is probably too (low|high)")
        check_env(env.unwrapped, skip_render_check=needs_screen(family) and headless())
    env.close()


def test_the_spec_names_the_default_episode_and_survives_json(family):
    spec = gym.spec(IDS[family])
    again = EnvSpec.from_json(spec.to_json())
    assert again == spec
    assert spec.max_episode_steps == FAMILIES[family].episode_length
    env = gym.make(again)
    assert env.spec.max_episode_steps == FAMILIES[family].episode_length
    env.close()


def test_every_box_of_actions_is_the_unit_box(family):
    """`Family.step` clips to [−1, 1]."""
    space = family_class(family).action_space
    if isinstance(space, gym.spaces.Box):
        assert (space.low == -1).all()
        assert (space.high == 1).all()


def test_the_same_seed_gives_the_same_episodes(family):
    def play():
        env = gym.make(IDS[family], max_episode_steps=SHORT)
        env.reset(seed=SEED)
        steps = []
        for action in sampled_actions(env.action_space, 3 * SHORT):
            step = env.step(action)
            steps.append(step)
            if step[2] or step[3]:
                steps.append(env.reset())
        env.close()
        return steps

    first, second = play(), play()
    assert data_equivalence(first, second, exact=True)


def test_the_reward_is_the_sum_of_its_terms(family):
    env = gym.make(IDS[family])
    env.reset(seed=SEED)
    _, reward, _, _, info = env.step(sampled_actions(env.action_space, 1)[0])
    terms = [value for key, value in info.items() if key.startswith("reward_")]
    assert terms
    # Adding three numbers in another order may differ by a rounding.
    assert reward == pytest.approx(sum(terms), rel=1e-12)
    env.close()


def test_the_vector_view_is_gymnasiums_sync_vector_of_singles(family):
    """Bit for bit: observations, rewards, flags and infos, over several autoresets."""
    ours = gym.make_vec(IDS[family], num_envs=NUM_ENVS, max_episode_steps=SHORT)
    theirs = SyncVectorEnv(
        [lambda: gym.make(IDS[family], max_episode_steps=SHORT)] * NUM_ENVS,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.action_space == theirs.action_space
    assert data_equivalence(ours.reset(seed=SEED), theirs.reset(seed=SEED), exact=True)
    for step, action in enumerate(sampled_actions(ours.action_space, 3 * SHORT + 1)):
        assert data_equivalence(ours.step(action), theirs.step(action), exact=True), step
    assert data_equivalence(ours.reset(), theirs.reset(), exact=True)
    ours.close()
    theirs.close()


def test_a_list_of_seeds_gives_the_single_environments_of_those_seeds(family):
    seeds = [5, 2**70, 0]
    envs = gym.make_vec(IDS[family], num_envs=3)
    observation, info = envs.reset(seed=seeds)
    for world, seed in enumerate(seeds):
        env = gym.make(IDS[family])
        single_observation, single_info = env.reset(seed=seed)
        np.testing.assert_array_equal(observation[world], single_observation)
        np.testing.assert_array_equal(info["task"][world], single_info["task"])


def test_the_vector_view_plays_the_same_as_one_episode_trials(family):
    views = gym.make_vec(
        IDS[family], num_envs=NUM_ENVS, max_episode_steps=SHORT, episode_length=SHORT
    )
    trials = TrialEnv(family, NUM_ENVS, episode_length=SHORT, episodes_per_trial=1)
    observation, _ = views.reset(seed=SEED)
    step = trials.reset(seed_keys(range(SEED, SEED + NUM_ENVS)))
    np.testing.assert_array_equal(observation, step.observation)
    for action in sampled_actions(views.action_space, 3 * SHORT + 1):
        observation, reward, terminated, truncated, _ = views.step(action)
        step = trials.step(torch.from_numpy(action))
        np.testing.assert_array_equal(observation, step.observation)
        np.testing.assert_array_equal(reward.astype(np.float32), step.reward)
        np.testing.assert_array_equal(terminated, step.terminated)
        # A trial's truncation means the time limit alone; Gymnasium's may coincide with the rule.
        np.testing.assert_array_equal(truncated & ~terminated, step.truncated)
        np.testing.assert_array_equal(views.unwrapped.task, trials.tasks)
    views.close()
    trials.close()


def test_a_reset_option_sets_the_task(family):
    env = gym.make(IDS[family])
    task = family_class(family).task_space.listing("test", 3, seed=1)[2].numpy()
    _, info = env.reset(seed=SEED, options={"task": task.tolist()})
    np.testing.assert_array_equal(info["task"], task)
    np.testing.assert_array_equal(env.step(env.action_space.sample())[4]["task"], task)
    env.close()


def test_every_family_draws_itself(family):
    if needs_screen(family) and headless():
        pytest.skip("rendering MuJoCo needs libEGL or OSMesa")
    env = gym.make(IDS[family], render_mode="rgb_array")
    env.reset(seed=SEED)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert env.metadata["render_fps"] == family_class(family).render_fps
    env.close()
