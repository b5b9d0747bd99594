"""The agent: what it reads, that acting and training see the same, and that its seed is all.

Shape legend: T time, B worlds, O observation features, F token features.
"""

from dataclasses import replace

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.agents.agent import Agent, AgentConfig
from quickstudy.agents.distributions import Categorical, DiagonalGaussian
from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.models import FeedforwardConfig, GRUConfig
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.registry import AGENTS, agent_config
from quickstudy.agents.rollout import Actor, Rollout
from quickstudy.envs.trials import TimeStep, TrialEnv

BOX = spaces.Box(-1.0, 1.0, (2,))
SMALL = AgentConfig(GRUConfig(16), embedding_size=16, head_size=16)
MARKOV = replace(SMALL, memory=FeedforwardConfig(16), sees_history=False)


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shaken(agent: Agent) -> Agent:
    """Its outputs then depend strongly on all that it reads (a fresh policy hardly does)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return agent


def make_actor(family: str, config: AgentConfig = SMALL, **trial: int) -> Actor:
    """Six worlds whose trials end at different times."""
    env = TrialEnv(family, 6, **trial)
    space = env.family.observation_space
    agent = shaken(Agent(config, space.shape[0], env.family.action_space, seed=0, horizon=20))
    actor = Actor.start(agent, env, seed=0)
    state, worlds = env.state_dict(), torch.arange(6)
    state["episode"] = (worlds // 2) % env.episodes_per_trial
    step = worlds % env.episode_length
    in_trial = step + state["episode"] * env.episode_length
    state["elapsed"] = torch.stack([step, in_trial], dim=1)
    env.load_state_dict(state)
    return actor


def percept(**changes: Tensor) -> TimeStep:
    """Two worlds: the first within a trial, the second at the start of one, with a rich past."""
    flags = torch.tensor([False, True])
    step = TimeStep(
        observation=torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]]),
        previous_action=torch.tensor([[0.5, -0.5], [0.25, 0.75]]),
        previous_reward=torch.tensor([4.0, 6.0]),
        episode_start=flags,
        trial_start=flags,
        clock=torch.tensor([[0.5, 0.75], [0.125, 0.25]]),
        reward=torch.zeros(2),
        terminated=flags,
        truncated=flags,
        final_observation=torch.zeros(2, 3),
    )
    return replace(step, **changes)


def row(rollout: Rollout, t: int) -> TimeStep:
    """What was seen at step t of a rollout."""
    return percept(
        observation=rollout.observation[t],
        previous_action=rollout.previous_action[t],
        previous_reward=rollout.previous_reward[t],
        episode_start=rollout.episode_start[t],
        trial_start=rollout.trial_start[t],
        clock=rollout.clock[t],
    )


def parameters_of(policy: DiagonalGaussian | Categorical) -> Tensor:
    return policy.mean if isinstance(policy, DiagonalGaussian) else policy.log_probs


@pytest.mark.parametrize("config", [SMALL, MARKOV], ids=["rl2", "markov"])
@pytest.mark.parametrize("family", ["ProbeRecall", "PointGoal", "AntDir"])
@torch.no_grad()
def test_scanning_a_real_rollout_equals_stepping_through_it(family, config):
    """With staggered trial starts, after normalisation has begun, and from a carried memory.

    Equal up to float32 rounding: one large matrix product instead of T small ones.
    """
    actor = make_actor(family, config, episode_length=3, episodes_per_trial=2)
    agent = actor.agent
    warm_up = actor.collect(4)
    agent.moments.update(
        torch.cat([warm_up.observation, warm_up.previous_reward.unsqueeze(-1)], dim=-1)
    )
    rollout = actor.collect(10)
    starts_B = rollout.trial_start.int().argmax(dim=0)
    assert len(starts_B.unique()) > 1, "trials should start at different steps"
    scanned = agent.scan(agent.token(rollout), rollout.trial_start, rollout.first_state)
    state = rollout.first_state
    for t in range(10):
        stepped, state = agent.step(row(rollout, t), state)
        torch.testing.assert_close(
            parameters_of(scanned.policy)[t], parameters_of(stepped.policy), rtol=1e-4, atol=2e-5
        )
        torch.testing.assert_close(scanned.value[t], stepped.value, rtol=1e-4, atol=2e-5)


def test_the_token_is_observation_clock_action_reward_start_and_known():
    """Continuous, with fresh statistics (mean 0, variance 1): the numbers stand as they are."""
    agent = Agent(SMALL, 3, BOX, seed=0, horizon=20)
    token_BF = agent.token(percept(trial_start=torch.tensor([False, False])))
    expected = [
        [1, 2, 3, 0.5, 0.75, 0.5, -0.5, 4, 0, 1],
        [-1, -2, -3, 0.125, 0.25, 0.25, 0.75, 6, 1, 1],
    ]
    torch.testing.assert_close(token_BF, torch.tensor(expected))


def test_a_discrete_action_is_one_hot_in_the_token():
    agent = Agent(SMALL, 3, spaces.Discrete(4), seed=0, horizon=20)
    step = percept(previous_action=torch.tensor([2, 0]), trial_start=torch.tensor([False, False]))
    token_BF = agent.token(step)
    expected = [[0, 0, 1, 0, 4, 0, 1], [1, 0, 0, 0, 6, 1, 1]]
    torch.testing.assert_close(token_BF[:, 5:], torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("space", [BOX, spaces.Discrete(2)], ids=["continuous", "discrete"])
def test_at_a_trials_start_the_token_tells_nothing_of_the_past(space):
    """Whatever the percept says of the last action and reward, and whatever their statistics."""
    agent = Agent(SMALL, 3, space, seed=0, horizon=20)
    agent.moments.update(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) + 3.0)
    action = percept().previous_action if space is BOX else torch.tensor([1, 1])
    known, blank = agent.token(percept(previous_action=action))
    assert known[5:].count_nonzero() >= 3
    assert not blank[5:-2].any()  # action and reward
    assert blank[-2:].tolist() == [1.0, 0.0]  # an episode starts; nothing is known


@pytest.mark.parametrize("family", ["ProbeRecall", "PointGoal"])
def test_in_a_real_rollout_the_past_is_blank_exactly_at_trial_starts(family):
    """Within a trial the last action and reward are told, also across the end of an episode."""
    rollout = make_actor(family, episode_length=3, episodes_per_trial=2).collect(20)
    start_TB = rollout.trial_start
    assert start_TB[1:].any()
    assert not rollout.previous_reward[start_TB].any()
    assert not rollout.previous_action[start_TB].any()
    told_TB = ~start_TB[1:]
    assert torch.equal(rollout.previous_reward[1:][told_TB], rollout.reward[:-1][told_TB])
    applied = rollout.action.clamp(-1, 1) if family == "PointGoal" else rollout.action
    assert torch.equal(rollout.previous_action[1:][told_TB], applied[:-1][told_TB])
    inner_TB = rollout.episode_start & ~start_TB
    assert inner_TB.any()
    assert rollout.previous_action[inner_TB].any()


@torch.no_grad()
def test_an_agent_with_memory_reads_its_history():
    """Last reward, last action, the episode's start and the memory each change both heads."""
    agent = shaken(Agent(SMALL, 3, BOX, seed=0, horizon=20))
    (rows,) = agent.memory.initial_state(2)
    base, _ = agent.step(percept(), (rows,))
    others = [
        agent.step(percept(previous_reward=torch.tensor([-4.0, 6.0])), (rows,)),
        agent.step(percept(previous_action=-percept().previous_action), (rows,)),
        agent.step(percept(episode_start=torch.tensor([True, True])), (rows,)),
        agent.step(percept(), (rows + 1.0,)),
    ]
    for output, _ in others:
        assert (output.value - base.value).abs()[0] > 1e-4
        assert (output.policy.mode() - base.policy.mode()).abs()[0].max() > 1e-4
        assert output.value[1] == base.value[1], "world 1 starts a trial: it has no history"


@torch.no_grad()
def test_a_markov_agent_ignores_its_history():
    agent = shaken(Agent(MARKOV, 3, BOX, seed=0, horizon=20))
    assert agent.token(percept()).shape == (2, 3 + 2)
    base, state = agent.step(percept(), agent.memory.initial_state(2))
    other, _ = agent.step(
        percept(
            previous_reward=torch.tensor([-40.0, 60.0]),
            previous_action=torch.ones(2, 2),
            episode_start=torch.tensor([True, False]),
            trial_start=torch.tensor([True, False]),
        ),
        state,
    )
    assert torch.equal(base.value, other.value)
    assert torch.equal(base.policy.mode(), other.policy.mode())


@torch.no_grad()
def test_an_agent_reads_the_clock_unless_it_must_not():
    """The heads follow it even where the memory is blank: a fixed horizon has that much left."""
    later = percept(clock=torch.ones(2, 2))
    agent = shaken(Agent(SMALL, 3, BOX, seed=0, horizon=20))
    base, _ = agent.step(percept(), agent.memory.initial_state(2))
    other, _ = agent.step(later, agent.memory.initial_state(2))
    assert (base.value - other.value).abs().min() > 1e-4
    blind = shaken(Agent(replace(SMALL, sees_clock=False), 3, BOX, seed=0, horizon=20))
    assert torch.equal(blind.token(percept()), blind.token(later))
    expected = torch.tensor([1, 2, 3, 0.5, -0.5, 4, 0, 1])
    torch.testing.assert_close(blind.token(percept())[0], expected)


@torch.no_grad()
def test_the_heads_read_the_observation_beside_the_memory():
    """With a memory that says nothing, the outputs still follow the observation."""
    agent = shaken(Agent(SMALL, 3, BOX, seed=0, horizon=20))
    for parameter in agent.memory.parameters():
        parameter.zero_()
    base, _ = agent.step(percept(), agent.memory.initial_state(2))
    other, _ = agent.step(percept(observation=torch.zeros(2, 3)), agent.memory.initial_state(2))
    assert (base.value - other.value).abs().min() > 1e-4
    assert (base.policy.mode() - other.policy.mode()).abs().min() > 1e-4


def test_a_box_gives_a_gaussian_policy_and_a_discrete_space_a_categorical_one():
    for space, kind, noise_size in (
        (BOX, DiagonalGaussian, 2),
        (spaces.Discrete(5), Categorical, 1),
    ):
        agent = Agent(SMALL, 3, space, seed=0, horizon=20)
        action = percept().previous_action if space is BOX else torch.tensor([1, 4])
        output, _ = agent.step(percept(previous_action=action), agent.memory.initial_state(2))
        assert isinstance(output.policy, kind)
        assert agent.noise_size == noise_size
        assert output.value.shape == (2,)
    assert output.policy.log_probs.shape == (2, 5)


def test_a_fresh_gaussian_policy_has_the_configured_spread():
    agent = Agent(replace(SMALL, initial_std=0.25), 3, BOX, seed=0, horizon=20)
    torch.testing.assert_close(agent.log_std_A.exp(), torch.full((2,), 0.25))


def test_noise_is_normal_for_a_gaussian_policy_and_uniform_for_a_categorical_one():
    key_N = torch.arange(2000)
    normal = Agent(SMALL, 3, BOX, seed=0, horizon=20).noise(key_N)
    uniform = Agent(SMALL, 3, spaces.Discrete(5), seed=0, horizon=20).noise(key_N)
    assert (normal.shape, uniform.shape) == ((2000, 2), (2000, 1))
    assert normal.dtype == uniform.dtype == torch.float32
    assert abs(float(normal.std()) - 1.0) < 0.1
    assert float(normal.min()) < -2.0
    assert float(uniform.min()) >= 0.0
    assert abs(float(uniform.mean()) - 0.5) < 0.05


@pytest.mark.parametrize("name", AGENTS)
def test_weights_are_a_function_of_the_seed_alone(name):
    """Whatever was drawn from torch's global generator before; another seed, other weights."""
    torch.manual_seed(1)
    first = Agent(AGENTS[name], 3, BOX, seed=0, horizon=20).state_dict()
    torch.manual_seed(2)
    again = Agent(AGENTS[name], 3, BOX, seed=0, horizon=20).state_dict()
    other = Agent(AGENTS[name], 3, BOX, seed=1, horizon=20).state_dict()
    for key, tensor in first.items():
        assert torch.equal(tensor, again[key]), key
        if key.endswith("weight") and tensor.ndim > 1:  # a norm's gains begin at 1
            assert not torch.equal(tensor, other[key]), key


@pytest.mark.parametrize("family", ["ProbeRecall", "ProbeReach"])
def test_building_acting_and_learning_leave_the_global_generator_alone(family):
    before = torch.get_rng_state()
    actor = make_actor(family)
    learner = Learner(
        actor.agent,
        PPO(PPOConfig()),
        LearnerConfig(minibatch_frames=20),
        num_worlds=6,
        discount=0.99,
        seed=0,
    )
    learner.update(actor.collect(10))
    assert torch.equal(torch.get_rng_state(), before)


def test_with_one_episode_per_trial_every_episode_is_a_fresh_start():
    """K = 1: plain reinforcement learning; nothing is carried from episode to episode."""
    actor = make_actor("PointGoal", episode_length=3, episodes_per_trial=1)
    rollout = actor.collect(9)
    assert torch.equal(rollout.episode_start, rollout.trial_start)
    assert int(rollout.trial_start[1:].sum()) == 6 * 8 // 3
    agent = actor.agent
    token_TBF = agent.token(rollout)
    output = agent.scan(token_TBF, rollout.trial_start, rollout.first_state)
    value_B = output.value[rollout.trial_start]
    assert torch.allclose(value_B, value_B[0]), "every trial begins at the origin, knowing nothing"


def test_a_mistyped_agent_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"Unknown agent 'rl-2'\. Did you mean 'rl2'\?.*markov"):
        agent_config("rl-2")
    assert agent_config("rl2") is AGENTS["rl2"]
