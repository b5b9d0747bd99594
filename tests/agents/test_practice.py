"""Learning from some of the trials only (levels that a teacher proposes to be scored, not learned
from)."""

from dataclasses import replace

import pytest
import torch

from quickstudy.agents.agent import Agent, AgentConfig
from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.models import GRUConfig
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.rollout import Actor
from quickstudy.envs.trials import TrialEnv

NUM_STEPS = 12


def collected(num_worlds=6):
    env = TrialEnv("PointGoal", num_worlds, episode_length=3)
    agent = Agent(
        AgentConfig(GRUConfig(hidden_size=8)), 2, env.family.action_space, seed=0, horizon=6
    )
    return agent, Actor.start(agent, env, seed=0).collect(NUM_STEPS)


def make_learner(agent, num_worlds=6):
    config = LearnerConfig(epochs=1, minibatch_frames=10_000)
    return Learner(agent, PPO(PPOConfig()), config, num_worlds=num_worlds, discount=0.99, seed=0)


def weights(agent):
    return {name: tensor.clone() for name, tensor in agent.state_dict().items()}


def test_practising_everything_is_practising():
    results = []
    for practise in (None, torch.ones(NUM_STEPS, 6, dtype=torch.bool)):
        agent, rollout = collected()
        make_learner(agent).update(replace(rollout, practise=practise))
        results.append(weights(agent))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-6)


def test_what_is_not_practised_moves_no_weight():
    """Whatever the rewards, advantages and probabilities of the other worlds' steps are."""
    practise = torch.zeros(NUM_STEPS, 6, dtype=torch.bool)
    practise[:, :3] = True
    results = []
    for value in (0.0, 1e6):
        agent, rollout = collected()
        learner = make_learner(agent)
        targets = learner.objective.targets(replace(rollout, practise=practise), rollout.reward)
        targets = {n: torch.where(practise, t, torch.tensor(value)) for n, t in targets.items()}
        learner.objective.targets = lambda *_, targets=targets: targets
        learner.update(replace(rollout, practise=practise))
        results.append(weights(agent))
    for name, expected in results[0].items():
        assert torch.equal(results[1][name], expected), name


def test_advantages_are_whitened_over_the_practised_steps():
    _, rollout = collected()
    practise = torch.zeros(NUM_STEPS, 6, dtype=torch.bool)
    practise[:, ::2] = True
    targets = PPO(PPOConfig()).targets(replace(rollout, practise=practise), rollout.reward)
    practised = targets["advantage"][practise]
    assert float(practised.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(practised.std()) == pytest.approx(1.0, abs=1e-4)
    assert abs(float(targets["advantage"][~practise].mean())) > 1e-4


def test_without_practice_no_weight_moves_but_what_was_seen_counts():
    agent, rollout = collected()
    before = {name: p.clone() for name, p in agent.named_parameters()}
    count = agent.moments.count.clone()
    nothing = torch.zeros(NUM_STEPS, 6, dtype=torch.bool)
    assert make_learner(agent).update(replace(rollout, practise=nothing)) == {"gradient_steps": 0.0}
    for name, parameter in agent.named_parameters():
        assert torch.equal(parameter, before[name]), name
    assert float(agent.moments.count) > float(count)
