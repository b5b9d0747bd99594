"""Every probe family is learned in seconds: each isolates one way in which learning can fail.

One seed and one thread make a run repeatable.
"""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.registry import AGENTS
from quickstudy.agents.rollout import Actor
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.trials import FixedTasks, TrialEnv

NUM_WORLDS = 64
DISCOUNT = 0.99
SEED = 0
EVALUATION_SEED = 1000

# Updates (of one trial in each world) and Adam's step size. With these, seeds 0 to 5 all pass; at a
# larger step size a solved probe is sometimes unlearned again, at a smaller one the clock tempts
# agents in `ProbeArm` to learn each episode by itself, and some are left out.
PRACTICE = {
    "ProbeValue": (60, 1e-3),
    "ProbeObservation": (60, 1e-3),
    "ProbeDelay": (60, 1e-3),
    "ProbeAction": (30, 1e-3),
    "ProbeMatch": (40, 1e-3),
    "ProbeArm": (50, 2e-3),
    "ProbeRecall": (60, 1e-3),
    "ProbeReach": (60, 1e-3),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Trained:
    """An agent that has practised, with what it takes to ask it questions."""

    agent: Agent
    learner: Learner
    family: str
    trial: dict[str, int | bool]

    @torch.no_grad()
    def play(self, *, wipe: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """One trial in each of 64 worlds, taking the most likely actions; tasks are evenly spread.

        `wipe` makes the agent take every episode for the first of a trial.

        Returns:
            The returns (worlds, episodes), and by step and world the observations and the values in
            units of the unscaled reward.
        """
        listing = family_class(self.family).task_space.listing("test", NUM_WORLDS, seed=SEED)
        env = TrialEnv(self.family, NUM_WORLDS, task_source=FixedTasks(listing), **self.trial)
        step, state = env.reset(EVALUATION_SEED), self.agent.memory.initial_state(NUM_WORLDS)
        observations, values = [], []
        for _ in range(env.trial_length):
            if wipe:
                step = replace(step, trial_start=step.episode_start)
            output, state = self.agent.step(step, state)
            observations.append(step.observation[:, 0])
            values.append(output.value)
            step = env.step(output.policy.mode())
        unit = self.learner.reward_scaler.moments.var_F.sqrt().float()
        return env.finished().returns, torch.stack(observations), torch.stack(values) * unit


@cache
def train(
    family: str,
    agent_name: str = "rl2",
    *,
    discount: float = DISCOUNT,
    **trial: int | bool,
) -> Trained:
    """Practise with four minibatches per epoch and a small network."""
    updates, learning_rate = PRACTICE[family]
    env = TrialEnv(family, NUM_WORLDS, **trial)
    first = env.reset(SEED)
    config = AGENTS[agent_name]
    memory = replace(config.memory, hidden_size=32)
    config = replace(config, memory=memory, embedding_size=32, head_size=32)
    agent = Agent(
        config, first.observation.shape[1], env.family.action_space, seed=SEED, horizon=20
    )
    learner = Learner(
        agent,
        PPO(PPOConfig(discount=discount)),
        LearnerConfig(learning_rate, minibatch_frames=NUM_WORLDS * env.trial_length // 4),
        num_worlds=NUM_WORLDS,
        discount=discount,
        seed=SEED,
    )
    actor = Actor.start(agent, env, seed=SEED)
    for _ in range(updates):
        learner.update(actor.collect(env.trial_length))
    return Trained(agent, learner, family, trial)


def test_every_registered_probe_is_practised_here():
    assert set(PRACTICE) == {name for name in FAMILIES if name.startswith("Probe")}


@pytest.mark.parametrize(
    "family", ["ProbeAction", "ProbeMatch", "ProbeArm", "ProbeRecall", "ProbeReach"]
)
def test_the_last_episode_earns_the_best_return(family):
    """Which the value of its last step foretells (in `ProbeArm`: once the arm is known)."""
    returns, _, value_TB = train(family).play()
    best = family_class(family).best_return
    assert returns.shape == (NUM_WORLDS, FAMILIES[family].episodes_per_trial)
    assert float(returns[:, -1].mean()) >= 0.95 * best
    assert float(value_TB[-1].mean()) == pytest.approx(best, abs=0.15)


def test_value_of_a_constant_reward_is_learned_across_the_episodes_of_a_trial():
    """1 per one-step episode and two episodes: 1 + γ before the first, 1 before the last."""
    _, _, value_TB = train("ProbeValue").play()
    expected_TB = torch.tensor([[1.0 + DISCOUNT], [1.0]]).expand(2, NUM_WORLDS)
    torch.testing.assert_close(value_TB, expected_TB, rtol=0, atol=0.1)


def test_value_follows_an_observation_that_announces_the_reward():
    """With one episode per trial the value is the sign that is seen."""
    trained = train("ProbeObservation", episodes_per_trial=1)
    _, sign_TB, value_TB = trained.play()
    assert set(sign_TB[0].tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(value_TB, sign_TB, rtol=0, atol=0.1)


def test_value_of_a_delayed_reward_is_discounted_once():
    """γ at the first of two steps, 1 at the second; at γ = ½ the difference cannot be missed."""
    trained = train("ProbeDelay", discount=0.5, episodes_per_trial=1)
    _, _, value_TB = trained.play()
    expected_TB = torch.tensor([[0.5], [1.0]]).expand(2, NUM_WORLDS)
    torch.testing.assert_close(value_TB, expected_TB, rtol=0, atol=0.1)


def test_value_of_an_unknown_arm_includes_what_will_be_learned_about_it():
    """Before the first of 8 pulls: ½ + γ + … + γ⁷, not 8 times ½."""
    _, _, value_TB = train("ProbeArm").play()
    optimum = 0.5 + sum(DISCOUNT**k for k in range(1, 8))
    assert float(value_TB[0].mean()) == pytest.approx(optimum, abs=0.4)


def test_the_arm_is_found_in_the_first_episode_and_remembered_in_the_others():
    """Episode 1 is a guess, right in the half of the worlds where that arm pays."""
    returns, _, _ = train("ProbeArm").play()
    assert float(returns[:, 0].mean()) == 0.5
    assert float(returns[:, 1:].mean(dim=0).min()) >= 0.95


def test_with_its_memory_wiped_at_each_episode_the_same_agent_only_guesses():
    """It then repeats its first choice: every episode is as good as the first."""
    returns, _, _ = train("ProbeArm").play(wipe=True)
    assert returns.mean(dim=0).tolist() == [0.5] * 8


def test_an_agent_without_memory_cannot_find_the_arm():
    """It always pulls the same one."""
    returns, _, _ = train("ProbeArm", "markov").play()
    assert returns.mean(dim=0).tolist() == [0.5] * 8


def test_an_agent_told_its_task_pulls_the_right_arm_from_the_first_episode():
    trained = train("ProbeArm", "oracle", reveal_task=True)
    returns, _, _ = trained.play()
    assert float(returns.mean(dim=0).min()) >= 0.95


def test_an_agent_without_memory_cannot_recall_a_cue():
    """In `ProbeRecall` the cue is four steps old when it must be named: −1 or +1, at even odds."""
    returns, _, _ = train("ProbeRecall", "markov").play()
    assert abs(float(returns.mean())) <= 0.4
