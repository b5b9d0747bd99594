"""Meta-World's scripted policies in our worlds, and which of their episodes count as solved."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import quickstudy  # noqa: F401  registers the families
from quickstudy.envs.metaworld.environments import ENVIRONMENTS
from quickstudy.envs.metaworld.experts import scripted_action
from quickstudy.envs.metaworld.package import INSTALL, installed_version
from quickstudy.envs.play import play_one_trial
from quickstudy.envs.registry import family_class
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.envs.trials import FixedTasks, TrialEnv
from quickstudy.experiments.anchors import Trial
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.policies import ExpertPolicy, RandomPolicy, ZeroPolicy

needs_metaworld = pytest.mark.skipif(installed_version() is None, reason=f"needs {INSTALL}")


def tasks(*pairs):
    return torch.tensor(
        [(ENVIRONMENTS.index(name), goal) for name, goal in pairs], dtype=torch.float64
    )


# --- scripted policies ------------------------------------------------------------------------


def scripted_successes(chosen, family="MetaWorldMT50", belief=None, **trial):
    env = TrialEnv(family, len(chosen), task_source=FixedTasks(chosen), **trial)
    results = play_one_trial(ExpertPolicy(belief), env, seed=0)
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
def test_an_expert_is_told_a_goal_that_is_hidden_and_goes_where_it_is_told():
    """Train goals 0 and 1 of reach are 12 cm apart; 5 cm are a success."""
    chosen, trial = tasks(("reach", 0), ("reach", 1)), {"episodes_per_trial": 1}
    trial |= {"family": "MetaWorldML1Reach", "episode_length": 80}
    assert scripted_successes(chosen, **trial)[0].tolist() == [[True], [True]]
    believed = scripted_successes(chosen, belief=chosen[1], **trial)[0]
    assert believed.tolist() == [[False], [True]]


@needs_metaworld
def test_a_task_that_is_listed_twice_is_played_once_for_the_same_returns():
    """Of 60 tasks of ML1's 50 test goals, at least 10 come again; random actions differ there."""
    setup = TrialSetup("MetaWorldML1Reach", 12, episodes_per_trial=1)
    trial = Trial(setup, "test", num_tasks=60, seed=0)
    task_ND = family_class(setup.family).task_space.listing("test", 60, 0)
    assert len(task_ND.unique(dim=0)) <= 50
    for policy in (ZeroPolicy(), ExpertPolicy(), RandomPolicy(0)):
        each = evaluate(policy, setup, task_ND, seed=0).returns[:, 0]
        assert torch.equal(trial.returns(policy), each)
    assert len(each.unique()) == 60


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


class Sometimes(ExpertPolicy):
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
    observation, _ = env.reset(seed=0)
    envs.reset(seed=0)
    successes = []
    for _ in range(60):
        action = scripted_action(*chosen[0].astype(int), observation.astype(float))
        observation, _, _, _, info = env.step(action.astype(np.float32))
        both = envs.step(np.stack([action, np.zeros(4)]).astype(np.float32))[4]
        assert both["_success"].all()
        successes.append([info["success"], *both["success"].tolist()])
    single, scripted, still = zip(*successes, strict=True)
    assert single == scripted
    assert (single[0], any(single), any(still)) == (False, True, False)
