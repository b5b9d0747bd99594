"""Which episodes are solved: counted by `TrialEnv`, shown by the Gymnasium views."""

import dataclasses

import gymnasium as gym
import pytest
import torch

from quickstudy.envs import gymnasium_env, trials, vector_env
from quickstudy.envs.families.probes import Probe
from quickstudy.envs.family import Outcome
from quickstudy.envs.play import play_one_trial
from quickstudy.envs.registry import FAMILIES, FamilyEntry, family_class
from quickstudy.envs.trials import TrialEnv


class Lamp(Probe):
    """A step is a success where the action is 1; its reward is 0. Action 2 makes it diverge."""

    length = 3
    action_space = gym.spaces.Discrete(3)
    reports_success = True

    def _reward(self, action):
        return torch.where(action == 2, torch.nan, 0.0)

    def _advance(self, action):
        return dataclasses.replace(super()._advance(action), success=action > 0)


@pytest.fixture(autouse=True)
def _lamp(monkeypatch):
    """Episodes of 3 steps, 2 per trial."""
    monkeypatch.setitem(FAMILIES, "Lamp", FamilyEntry("test:Lamp", 3, 2))

    def make(name, worlds, *_, **__):
        return Lamp(worlds) if name == "Lamp" else family_class(name)(worlds)

    for module in (trials, gymnasium_env, vector_env):
        monkeypatch.setattr(module, "make_family", make)


# Worked by hand: an episode is solved if any of its steps is, the last one included.
#   world 0  in the middle of episode 1, then again in the next trial
#   world 1  at the last step of episode 1 and the first of episode 2
#   world 2  at two steps of episode 2
ACTIONS = torch.tensor(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]]
)
SOLVED = [[True, False], [True, True], [False, True]]


def test_an_episode_is_solved_if_any_of_its_steps_is():
    env = TrialEnv("Lamp", 3)
    env.reset(0)
    for action in ACTIONS[:6]:
        assert env.finished().successes.shape == (0, 2)
        env.step(action)
    results = env.finished()
    assert results.successes.tolist() == SOLVED
    assert results.successes.dtype == torch.bool
    for action in (ACTIONS[6], *[ACTIONS[0]] * 5):
        env.step(action)
    assert env.finished().successes.tolist() == [[True, False], [False, False], [False, False]]


@pytest.mark.parametrize("steps", range(6))
def test_successes_go_on_from_a_saved_state(steps):
    env, resumed = TrialEnv("Lamp", 3), TrialEnv("Lamp", 3)
    env.reset(0)
    for action in ACTIONS[:steps]:
        env.step(action)
    resumed.reset(1)
    resumed.step(torch.ones(3, dtype=torch.int64))  # a success that is forgotten
    resumed.load_state_dict(env.state_dict())
    for action in ACTIONS[steps:6]:
        env.step(action)
        resumed.step(action)
    assert env.finished().successes.tolist() == resumed.finished().successes.tolist() == SOLVED


def test_a_reset_forgets_successes():
    env = TrialEnv("Lamp", 3)
    env.reset(0)
    env.step(ACTIONS[1])
    env.reset(0)
    for _ in range(6):
        env.step(ACTIONS[0])
    assert not bool(env.finished().successes.any())


class Sooner:
    """World 0 ends its episodes at once, by diverging, and is solved only in later trials."""

    def begin(self, env):
        self._step = 0

    def act(self, time_step):
        self._step += 1
        return torch.tensor([2 if self._step < 4 else 1, self._step == 4, 0])


def test_every_world_is_counted_for_its_first_trial_alone():
    """World 0 plays three trials while the others play one; the last of them are solved."""
    env = TrialEnv("Lamp", 3)
    results = play_one_trial(Sooner(), env, seed=0)
    assert results.worlds.tolist() == [0, 1, 2]
    assert results.lengths.tolist() == [[1, 1], [3, 3], [3, 3]]
    assert results.successes.tolist() == [[False, False], [False, True], [False, False]]


def test_a_step_that_diverges_is_no_success():
    lamp = Lamp(2)
    everywhere, keys = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
    lamp.reset(everywhere, torch.zeros(2, 1).double(), keys)
    outcome = lamp.step(torch.tensor([1, 2]))
    assert outcome.diverged.tolist() == [False, True]
    assert outcome.success.tolist() == [True, False]


def test_the_views_say_of_each_step_whether_it_is_a_success():
    single, several = gymnasium_env.FamilyEnv("Lamp"), vector_env.FamilyVectorEnv("Lamp", 3)
    single.reset(seed=0)
    several.reset(seed=0)
    for action in ACTIONS[:2]:
        assert single.step(int(action[0]))[4]["success"] is bool(action[0])
        info = several.step(action.numpy())[4]
        assert info["success"].tolist() == (action == 1).tolist()
        assert info["_success"].all()
    info = several.step(ACTIONS[2].numpy())[4]["final_info"]  # the episode's end
    assert info["success"].tolist() == [False, True, False]


def test_the_views_of_other_families_say_nothing():
    env = gym.make("quickstudy/PointGoal-v0")
    env.reset(seed=0)
    assert "success" not in env.step(env.action_space.sample())[4]


def test_other_families_have_no_notion_of_it():
    env = TrialEnv("PointGoal", 2, episode_length=1, episodes_per_trial=1)
    env.reset(0)
    assert env.finished().successes is None
    env.step(torch.zeros(2, 2))
    assert env.finished().successes is None
    assert "success" not in env.state_dict()
    assert Outcome({}, ACTIONS, ACTIONS).success is None
