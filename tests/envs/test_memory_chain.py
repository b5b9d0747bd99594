"""MemoryChain: a cue, a silence, a question; solved by remembering, not without."""

import pytest
import torch

from quickstudy.envs.families.memory_chain import MemoryChain
from quickstudy.envs.trials import TrialEnv

LENGTHS = [2, 3, 64, 512]


def play(length, policy, num_worlds=200):
    """Observations `(length, N, 2)`, rewards `(length, N)` and the last step of one episode."""
    env = TrialEnv("MemoryChain", num_worlds, episode_length=length)
    step = env.reset(0)
    seen, rewards = [], []
    for _ in range(length):
        seen.append(step.observation)
        step = env.step(policy(step, seen))
        rewards.append(step.reward)
    return torch.stack(seen), torch.stack(rewards), step


def named(cue_N):
    """−1 → 0, +1 → 1."""
    return (cue_N > 0).long()


def remember(step, seen):
    return named(seen[0][:, 0])


def memoryless(step, seen):
    """What can be done with the present observation alone: name the cue while it is there."""
    return named(step.observation[:, 0])


@pytest.mark.parametrize("length", LENGTHS)
def test_the_cue_is_shown_first_the_query_last_and_nothing_between(length):
    seen, _, last = play(length, memoryless, num_worlds=64)
    assert set(seen[0, :, 0].tolist()) == {-1.0, 1.0}
    assert not bool(seen[1:, :, 0].any())
    assert not bool(seen[1:, :, 0].signbit().any())  # a −0 would still tell
    assert seen[:, :, 1].bool().all(dim=1).tolist() == [False] * (length - 1) + [True]
    assert not bool(seen[:-1, :, 1].any())
    assert bool(last.terminated.all())


@pytest.mark.parametrize("length", LENGTHS)
def test_memory_earns_one_and_the_opposite_minus_one_at_the_last_step_alone(length):
    for policy, answer in ((remember, 1.0), (lambda *args: 1 - remember(*args), -1.0)):
        _, rewards, _ = play(length, policy, num_worlds=32)
        assert bool((rewards[-1] == answer).all())
        assert not bool(rewards[:-1].any())


def test_without_memory_an_answer_is_a_guess():
    """4000 fair coins: mean 0, standard error 0.016."""
    _, rewards, _ = play(4, memoryless, num_worlds=4000)
    assert float(rewards[-1].mean()) == pytest.approx(0.0, abs=0.07)
    assert set(rewards[-1].tolist()) == {-1.0, 1.0}


def repeat(step, seen):
    """Keeps no state: names the cue when it is shown, then says again what it is told it said."""
    return torch.where(step.episode_start, named(step.observation[:, 0]), step.previous_action)


def test_the_last_action_is_hidden(monkeypatch):
    """Whoever is shown it needs no memory; who is not guesses."""
    _, rewards, _ = play(16, repeat, num_worlds=400)
    assert float(rewards[-1].mean()) == pytest.approx(0.0, abs=0.2)
    monkeypatch.setattr(MemoryChain, "shows_action", True)
    _, rewards, _ = play(16, repeat)
    assert bool((rewards[-1] == 1.0).all())


def test_each_episode_draws_a_new_cue_whatever_the_trial():
    """Twelve coins in each of 100 worlds: about half of the neighbours differ."""
    env = TrialEnv("MemoryChain", 100, episode_length=2, episodes_per_trial=4)
    step = env.reset(3)
    cues = []
    for _ in range(12):
        cues.append(step.observation[:, 0])
        for _ in range(2):
            step = env.step(torch.zeros(100, dtype=torch.int64))
    changed = (torch.stack(cues[1:]) != torch.stack(cues[:-1])).double().mean()
    assert float(changed) == pytest.approx(0.5, abs=0.06)


def test_the_state_carries_the_cue():
    env = TrialEnv("MemoryChain", 8, episode_length=5)
    cue = env.reset(1).observation[:, 0]
    for _ in range(3):
        env.step(env.blank_action)
    other = TrialEnv("MemoryChain", 8, episode_length=5)
    other.reset(2)
    other.load_state_dict(env.state_dict())
    other.step(other.blank_action)
    assert bool((other.step(named(cue)).reward == 1.0).all())
