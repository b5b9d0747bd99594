"""Meta-World's scripted policies in our worlds, and which of their episodes count as solved."""

import importlib

import gymnasium as gym
import numpy as np
import pytest
import torch

import quickstudy  # noqa: F401  registers the families
from quickstudy.envs.metaworld.environments import ENVIRONMENTS
from quickstudy.envs.metaworld.package import INSTALL, installed_version
from quickstudy.envs.play import play_one_trial
from quickstudy.envs.trials import FixedTasks, TrialEnv

needs_metaworld = pytest.mark.skipif(installed_version() is None, reason=f"needs {INSTALL}")


def tasks(*pairs):
    return torch.tensor(
        [(ENVIRONMENTS.index(name), goal) for name, goal in pairs], dtype=torch.float64
    )


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
    results = play_one_trial(Scripted(), env, seed=0)
    env.close()
    assert bool((results.lengths == env.episode_length).all())
    return results.successes, results.returns


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


class Sometimes(Scripted):
    """Goes to the goal in some episodes only: `goes` says in which, by world."""

    def __init__(self, goes, steps):
        self._goes, self._steps = torch.tensor(goes).float(), steps

    def begin(self, env):
        super().begin(env)
        self._episode, self._step = -1, 0

    def act(self, time_step):
        self._episode += int(time_step.episode_start[0])
        self._step = 0 if time_step.episode_start[0] else self._step + 1
        away = torch.tensor([0.0, -1.0, 1.0, 0.0])
        action = super().act(time_step) if self._step < self._steps else away
        return action * self._goes[:, self._episode].unsqueeze(1)


@needs_metaworld
def test_an_episode_is_solved_if_any_step_is_and_each_is_counted_by_itself():
    """The hand reaches the goal within 60 steps and leaves it; in other episodes it stays."""
    env = TrialEnv(
        "MetaWorldMT1Reach",
        2,
        task_source=FixedTasks(tasks(("reach", 0), ("reach", 1))),
        episode_length=90,
        episodes_per_trial=3,
    )
    seen, step = [], env.family.step

    def listening(action):
        outcome = step(action)
        seen.append(outcome.success)
        return outcome

    env.family.step = listening
    goes = [[False, True, False], [True, False, True]]
    results = play_one_trial(Sometimes(goes, 60), env, seed=0)
    assert results.successes.tolist() == goes
    by_episode = torch.stack(seen).view(3, 90, 2)
    assert not bool(by_episode[:, -1].any())
    assert by_episode.any(dim=1).T.tolist() == goes


@needs_metaworld
def test_gymnasium_shows_success_where_meta_world_does():
    """World 0 is scripted, world 1 stands still; the single environment is world 0."""
    chosen = tasks(("reach", 0), ("reach", 1)).numpy()
    name = "quickstudy/MetaWorldMT1Reach-v0"
    envs, env = gym.make_vec(name, num_envs=2, task=chosen), gym.make(name, task=chosen[0])
    policy = importlib.import_module("metaworld.policies").ENV_POLICY_MAP["reach-v3"]()
    observation, _ = env.reset(seed=0)
    envs.reset(seed=0)
    successes = []
    for _ in range(60):
        action = np.clip(policy.get_action(observation.astype(float)), -1, 1).astype(np.float32)
        observation, _, _, _, info = env.step(action)
        both = envs.step(np.stack([action, np.zeros(4, np.float32)]))[4]
        assert both["_success"].all()
        successes.append([info["success"], *both["success"].tolist()])
    single, scripted, still = zip(*successes, strict=True)
    assert single == scripted
    assert (single[0], any(single), any(still)) == (False, True, False)
