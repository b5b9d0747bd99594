"""Probes: the best known return is reached, exactly, and by nothing simpler."""

import pytest
import torch
from gymnasium import spaces

from quickstudy.envs.families.probes import Probe
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.trials import FixedTasks, TrialEnv

PROBES = [name for name in FAMILIES if issubclass(family_class(name), Probe)]


def named(sign_N):
    """The action (0 or 1) that names a sign (−1 or +1)."""
    return ((sign_N + 1) / 2).long()


def anything(step, memory):
    return torch.zeros(len(step.observation), dtype=torch.int64)


def always_one(step, memory):
    return torch.ones(len(step.observation), dtype=torch.int64)


def name_the_sign(step, memory):
    return named(step.observation[:, 0])


def stay_with_the_arm_that_pays(step, memory):
    """Arm 0 first; afterwards the last arm if it paid, else the other."""
    again = torch.where(step.previous_reward > 0, step.previous_action, 1 - step.previous_action)
    return torch.where(step.trial_start, 0, again)


def name_the_first_sign(step, memory):
    first = step.observation[:, 0]
    memory["sign"] = torch.where(step.episode_start, first, memory.get("sign", first))
    return named(memory["sign"])


def half_the_sign(step, memory):
    return 0.5 * step.observation


PROBE_POLICIES = {
    "ProbeValue": anything,
    "ProbeObservation": anything,
    "ProbeDelay": anything,
    "ProbeAction": always_one,
    "ProbeMatch": name_the_sign,
    "ProbeArm": stay_with_the_arm_that_pays,
    "ProbeRecall": name_the_first_sign,
    "ProbeReach": half_the_sign,
}


def play_probe(name, policy, num_worlds=200):
    """Returns `(num_worlds, K)` of one trial each, on evenly listed tasks; and the first signs."""
    tasks = family_class(name).task_space.listing("train", num_worlds, seed=0)
    env = TrialEnv(name, num_worlds, task_source=FixedTasks(tasks))
    step, memory = env.reset(0), {}
    first = step.observation[:, 0]
    for _ in range(env.trial_length):
        step = env.step(policy(step, memory))
    results = env.finished()
    assert results.worlds.tolist() == list(range(num_worlds))
    return results.returns, first


def test_every_probe_has_a_scripted_best_policy():
    assert set(PROBE_POLICIES) == set(PROBES)


@pytest.mark.parametrize("name", [n for n in PROBES if n not in ("ProbeObservation", "ProbeArm")])
def test_the_scripted_policy_earns_exactly_the_best_return_in_every_episode(name):
    returns, _ = play_probe(name, PROBE_POLICIES[name])
    assert bool((returns == family_class(name).best_return).all())


def test_probe_observation_pays_the_sign_it_shows():
    """Whatever is done: ±1 with equal chance, so the mean is the stated 0 (standard error 0.05)."""
    returns, first = play_probe("ProbeObservation", anything)
    assert torch.equal(returns[:, 0], first.double())
    assert set(returns.flatten().tolist()) == {-1.0, 1.0}
    assert float(returns.mean()) == pytest.approx(
        family_class("ProbeObservation").best_return, abs=0.2
    )


def test_probe_arm_pays_half_an_arm_less_than_one_per_episode():
    """K = 8: the first pull is right for half of the tasks, every later one for all: 7.5."""
    returns, _ = play_probe("ProbeArm", stay_with_the_arm_that_pays)
    assert bool((returns[:, 1:] == family_class("ProbeArm").best_return).all())
    assert float(returns.sum(dim=1).mean()) == 0.5 + (8 - 1)
    forgetful, _ = play_probe("ProbeArm", always_one)
    assert float(forgetful.sum(dim=1).mean()) == 8 / 2


@pytest.mark.parametrize(
    ("name", "policy", "worst"),
    [
        ("ProbeAction", anything, -1.0),
        ("ProbeMatch", lambda step, memory: 1 - name_the_sign(step, memory), -1.0),
        ("ProbeRecall", lambda step, memory: 1 - name_the_first_sign(step, memory), -1.0),
        ("ProbeReach", lambda step, memory: -0.5 * step.observation, 0.0),
    ],
)
def test_the_opposite_of_the_best_policy_earns_the_worst_return(name, policy, worst):
    """So each of these probes can be failed."""
    returns, _ = play_probe(name, policy)
    assert bool((returns == worst).all())


@pytest.mark.parametrize("name", ["ProbeMatch", "ProbeRecall", "ProbeReach"])
def test_no_constant_action_solves_a_probe_that_must_be_read(name):
    discrete = isinstance(family_class(name).action_space, spaces.Discrete)
    for constant in (0, 1) if discrete else (-0.5, 0.0, 0.5):
        fill = torch.full((200,), constant) if discrete else torch.full((200, 1), constant)
        returns, _ = play_probe(name, lambda step, memory, fill=fill: fill)
        assert float(returns.mean()) <= family_class(name).best_return - 0.2


def test_probe_recall_shows_its_sign_at_the_first_step_only():
    """So naming what is seen at the last step is a guess (mean 0, standard error 0.07)."""
    returns, _ = play_probe("ProbeRecall", name_the_sign)
    assert float(returns.mean()) == pytest.approx(0.0, abs=0.25)
