"""PointRecall: the body is held until the go, the cue is gone by then, the first target counts."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.families.point_recall import GO_STEPS, TARGET_RADIUS, TARGETS
from quickstudy.envs.registry import make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv

ALL_TARGETS = torch.arange(4.0, dtype=torch.float64).unsqueeze(1)
LENGTH = 50
HELD = LENGTH - GO_STEPS


def make_env():
    """World i's target is target i; 10 steps held, 40 loose."""
    return TrialEnv("PointRecall", 4, episode_length=LENGTH, task_source=FixedTasks(ALL_TARGETS))


def start(episode_length):
    family = make_family("PointRecall", 4, episode_length=episode_length)
    keys = rng.world_keys(0, rng.Stream.EPISODE, 4)
    family.reset(torch.ones(4, dtype=torch.bool), ALL_TARGETS, keys)
    return family


def towards(*targets):
    """Full force in the directions of these targets, `(4, 2)`."""
    return torch.tensor([TARGETS[i] for i in targets])


def play(env, action_42):
    """The first episode's return and length in each world."""
    env.reset(0)
    returns, lengths = torch.full((4,), torch.nan).double(), torch.zeros(4, dtype=torch.int64)
    for _ in range(LENGTH):
        env.step(action_42)
        results = env.finished()
        new = returns[results.worlds].isnan()
        returns[results.worlds[new]] = results.returns[new, 0]
        lengths[results.worlds[new]] = results.lengths[new, 0]
    return returns.tolist(), lengths.tolist()


def test_the_first_observation_alone_shows_the_target():
    env = make_env()
    step = env.reset(0)
    assert step.observation[:, 4:6].tolist() == [list(target) for target in TARGETS]
    for _ in range(LENGTH - 1):
        step = env.step(env.blank_action)
        assert not bool(step.observation[:, 4:6].any())
        assert not bool(step.observation[:, 4:6].signbit().any())  # a −0 would still tell


def test_the_body_cannot_keep_the_cue():
    """Pushed in four directions while held, all worlds look the same up to the go, bit for bit."""
    env = make_env()
    env.reset(0)
    for step in range(1, HELD + 1):
        observation = env.step(towards(0, 1, 2, 3)).observation
        assert not bool(observation[:, :4].any())
        assert bool((observation == observation[:1]).all())
        assert bool((observation[:, 6] == (step == HELD)).all())
    assert bool(env.step(towards(0, 1, 2, 3)).observation[:, :4].any(dim=1).all())


@pytest.mark.parametrize(("length", "held"), [(2, 1), (41, 1), (42, 2), (100, 60)])
def test_the_body_is_held_until_the_last_forty_steps(length, held):
    family = start(length)
    for _ in range(held):
        assert not bool(family.observe()[:, 6].any())
        family.step(towards(0, 1, 2, 3))
    assert bool(family.observe()[:, 6].all())


def test_the_right_target_pays_one_and_ends_the_episode():
    returns, lengths = play(make_env(), towards(0, 1, 2, 3))
    assert returns == [1.0] * 4
    assert len(set(lengths)) == 1  # the plane is the same in all directions
    assert HELD < lengths[0] < LENGTH


def test_a_wrong_target_pays_nothing_and_ends_the_episode():
    returns, lengths = play(make_env(), towards(1, 2, 3, 0))
    assert returns == [0.0] * 4
    assert all(HELD < length < LENGTH for length in lengths)


def test_an_answer_without_the_cue_is_right_for_one_of_four():
    assert play(make_env(), towards(2, 2, 2, 2))[0] == [0.0, 0.0, 1.0, 0.0]


def test_waiting_pays_nothing_and_lasts_to_the_limit():
    assert play(make_env(), torch.zeros(4, 2)) == ([0.0] * 4, [LENGTH] * 4)


@pytest.mark.parametrize(("x", "reward"), [(0.74, 0.0), (0.76, 1.0), (1.24, 1.0), (1.26, 0.0)])
def test_a_target_is_a_disc_of_a_quarter_metre_about_its_centre(x, reward):
    """East lies at (1, 0); physics stands still."""
    assert TARGET_RADIUS == 0.25
    family = start(2)
    family._simulate = lambda action: None
    family.engine.data["qpos"][:, 0] = x
    outcome = family.step(torch.zeros(4, 2))
    assert outcome.reward.tolist() == [reward, 0.0, 0.0, 0.0]
    assert outcome.terminated.tolist() == [reward > 0] * 4


def test_full_force_drives_the_mass_at_force_over_friction():
    """50 N / 10 N·s/m = 5 m/s; implicit steps of 0.025 s close 1/5 of the gap (1/(1+0.25) each).

    After one action (two steps): 5 · (1 − 0.8²) = 1.8 m/s; and 0.025 · (1 + 1.8) = 0.07 m.
    """
    family = start(2)
    family.step(torch.zeros(4, 2))
    family.step(towards(0, 0, 0, 0))
    x, y, vx, vy = family.observe()[0, :4].tolist()
    assert (vx, vy) == (pytest.approx(1.8, rel=1e-6), 0.0)
    assert (x, y) == (pytest.approx(0.07, rel=1e-6), 0.0)


def test_the_scripted_expert_is_always_right():
    env = make_env()
    env.reset(0)
    for _ in range(LENGTH):
        env.step(env.family.expert_action(ALL_TARGETS))
    assert bool((env.finished().returns[:4] == 1.0).all())


def test_the_state_carries_the_delay():
    env, other = make_env(), make_env()
    env.reset(0)
    for _ in range(HELD + 2):
        env.step(towards(0, 1, 2, 3))
    other.reset(1)
    other.load_state_dict(env.state_dict())
    ours, theirs = (e.step(towards(0, 1, 2, 3)) for e in (env, other))
    assert torch.equal(ours.observation, theirs.observation)
    assert bool(theirs.observation[:, 6].all())
