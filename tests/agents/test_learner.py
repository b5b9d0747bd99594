"""The learner: that its gradient steps are PPO's, reach every weight, and repeat to the bit.

Shape legend: T time, B worlds.
"""

import io
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy.agents.agent import Agent, AgentConfig, AgentOutput
from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.models import GRUConfig
from quickstudy.agents.objectives.objective import Batch, Loss
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.registry import AGENTS
from quickstudy.agents.returns import gae
from quickstudy.agents.rollout import Actor, Rollout
from quickstudy.envs.families.half_cheetah_vel import HalfCheetahVel
from quickstudy.envs.trials import TrialEnv

SMALL = AgentConfig(GRUConfig(16), embedding_size=16, head_size=16)
NUM_WORLDS, NUM_STEPS = 8, 10
QUARTERS = LearnerConfig(minibatch_frames=NUM_WORLDS * NUM_STEPS // 4)
"""Four minibatches of two worlds per epoch."""


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Spy(PPO):
    """PPO that notes the world numbers and log ratios of each minibatch."""

    def __init__(self) -> None:
        super().__init__(PPOConfig())
        self.worlds: list[list[int]] = []
        self.log_ratios: list[Tensor] = []

    def targets(self, rollout: Rollout, scaled_reward_TB: Tensor) -> dict[str, Tensor]:
        world_TB = torch.arange(rollout.reward.shape[1]).expand_as(rollout.reward)
        self.scaled_reward_TB = scaled_reward_TB
        return {**super().targets(rollout, scaled_reward_TB), "world": world_TB}

    def loss(self, batch: Batch, output: AgentOutput) -> Loss:
        self.worlds.append(batch.targets["world"][0].tolist())
        log_ratio_TB = output.policy.log_prob(batch.action) - batch.log_prob
        self.log_ratios.append(log_ratio_TB.detach())
        return super().loss(batch, output)


def shaken(agent: Agent) -> Agent:
    """Its outputs then depend strongly on all that it reads (a fresh policy hardly does)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return agent


def make_actor(
    family: str, config: AgentConfig = SMALL, *, seed: int = 0, shake: bool = False, **trial: int
) -> Actor:
    """Eight worlds whose trials end at different times."""
    env = TrialEnv(family, NUM_WORLDS, **trial)
    space = env.family.observation_space
    agent = Agent(config, space.shape[0], env.family.action_space, seed, horizon=20)
    actor = Actor.start(shaken(agent) if shake else agent, env, seed)
    state, worlds = env.state_dict(), torch.arange(NUM_WORLDS)
    state["episode"] = (worlds // 2) % env.episodes_per_trial
    step = worlds % env.episode_length
    in_trial = step + state["episode"] * env.episode_length
    state["elapsed"] = torch.stack([step, in_trial], dim=1)
    env.load_state_dict(state)
    return actor


def make_learner(
    agent: Agent, config: LearnerConfig = QUARTERS, objective: PPO | None = None, seed: int = 0
) -> Learner:
    objective = objective or PPO(PPOConfig())
    return Learner(agent, objective, config, num_worlds=NUM_WORLDS, discount=0.99, seed=seed)


def weights(agent: Agent) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in agent.state_dict().items()}


def train(actor: Actor, learner: Learner, updates: int) -> dict[str, Tensor]:
    for _ in range(updates):
        learner.update(actor.collect(NUM_STEPS))
    return weights(actor.agent)


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Equal to the bit, tensor by tensor."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


@pytest.mark.parametrize("family", ["ProbeRecall", "AntDir"])
def test_the_ratio_is_one_until_the_first_gradient_step(family):
    """The policy being improved is at first the one that acted, update after update.

    Not to the bit: acting multiplies 8 rows at a time, learning all steps of 2 worlds at once, so
    float32 sums are ordered differently (1e-6 in each log probability; ants act in 8 dimensions).
    Carried memory, staggered trial starts and the moving observation statistics are all in play.
    """
    spy = Spy()
    actor = make_actor(family, shake=True, episode_length=3, episodes_per_trial=2)
    learner = make_learner(actor.agent, QUARTERS, spy)
    for update in range(3):
        rollout = actor.collect(NUM_STEPS)
        assert len(rollout.trial_start[1:].int().argmax(dim=0).unique()) > 1, "staggered"
        spy.log_ratios.clear()
        learner.update(rollout)
        first, *later = spy.log_ratios
        assert first.abs().max() < 5e-5, update
        assert max(float(r.abs().max()) for r in later) > 1e-3, "the steps should have moved it"


@pytest.mark.parametrize("family", ["ProbeMatch", "ProbeReach"], ids=["discrete", "continuous"])
@pytest.mark.parametrize("name", AGENTS)
def test_after_one_update_every_trainable_tensor_has_moved(name, family):
    actor = make_actor(family, AGENTS[name])
    before = {n: p.detach().clone() for n, p in actor.agent.named_parameters()}
    make_learner(actor.agent).update(actor.collect(NUM_STEPS))
    still = [n for n, p in actor.agent.named_parameters() if torch.equal(p, before[n])]
    assert before
    assert not still


@pytest.mark.parametrize("family", ["ProbeRecall", "HalfCheetahVel"])
def test_the_same_seed_gives_the_same_weights_to_the_bit(family):
    """Weights, statistics and all, after 3 updates; another seed gives others."""

    def final(seed: int) -> dict[str, Tensor]:
        actor = make_actor(family, seed=seed, episode_length=4)
        return train(actor, make_learner(actor.agent, seed=seed), 3)

    first = final(0)
    assert_same(first, final(0))
    other = final(1)
    assert not any(torch.equal(first[name], other[name]) for name in first if "weight" in name)


def test_weights_do_not_depend_on_the_number_of_physics_threads():
    """Nor do the rollouts: MuJoCo's worlds never share a sum."""

    def run(num_threads: int) -> tuple[Rollout, dict[str, Tensor]]:
        env = TrialEnv("HalfCheetahVel", NUM_WORLDS, episode_length=5)
        env.family = HalfCheetahVel(NUM_WORLDS, num_threads=num_threads)
        space = env.family.observation_space
        agent = Agent(SMALL, space.shape[0], env.family.action_space, seed=0, horizon=20)
        actor = Actor.start(agent, env, seed=0)
        rollout = actor.collect(NUM_STEPS)
        learner = make_learner(agent)
        learner.update(rollout)
        return rollout, train(actor, learner, 1)

    (one, one_weights), (two, two_weights) = run(1), run(2)
    for name in ("observation", "action", "reward", "value", "log_prob"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert_same(one_weights, two_weights)


def test_each_epoch_meets_every_world_once_in_an_order_of_its_own():
    """Whole worlds: two at a time, four times; drawn anew for each epoch and update."""
    spy = Spy()
    actor = make_actor("ProbeRecall")
    learner = make_learner(actor.agent, replace(QUARTERS, epochs=3, stop_divergence=1e9), spy)
    for _ in range(2):
        learner.update(actor.collect(NUM_STEPS))
    assert [len(worlds) for worlds in spy.worlds] == [2] * 24
    epochs = [list(chain(*spy.worlds[i : i + 4])) for i in range(0, 24, 4)]
    assert all(sorted(epoch) == list(range(NUM_WORLDS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


@pytest.mark.parametrize(
    ("frames", "sizes"), [(1, [1] * 8), (20, [2] * 4), (10**9, [8])], ids=["tiny", "fit", "huge"]
)
def test_minibatches_are_whole_worlds_whatever_size_is_asked(frames, sizes):
    spy = Spy()
    actor = make_actor("ProbeRecall")
    config = LearnerConfig(epochs=1, minibatch_frames=frames)
    make_learner(actor.agent, config, spy).update(actor.collect(NUM_STEPS))
    assert [len(worlds) for worlds in spy.worlds] == sizes


def test_no_epoch_is_begun_after_the_policy_has_moved_too_far():
    """With a large step size the mean divergence of an epoch passes 0.03 nats before the last."""
    spy = Spy()
    actor = make_actor("ProbeReach")
    config = replace(QUARTERS, learning_rate=4e-3, epochs=20)
    metrics = make_learner(actor.agent, config, spy).update(actor.collect(NUM_STEPS))
    divergences = [float((r.exp() - 1 - r).mean()) for r in spy.log_ratios]
    epochs = [sum(divergences[i : i + 4]) / 4 for i in range(0, len(divergences), 4)]
    assert 1 < len(epochs) < 20, "it should have stopped, though not at once"
    assert epochs[-1] > 0.03
    assert max(epochs[:-1]) <= 0.03
    assert metrics["gradient_steps"] == len(divergences)
    assert metrics["kl"] == pytest.approx(sum(divergences) / len(divergences), rel=1e-4)


@pytest.mark.parametrize(("limit", "expected"), [(0.0, 4), (1e9, 16)])
def test_the_limits_of_the_early_stop(limit, expected):
    """At 0 nats one epoch is all; without a limit, all four."""
    actor = make_actor("ProbeReach")
    learner = make_learner(actor.agent, replace(QUARTERS, stop_divergence=limit))
    assert learner.update(actor.collect(NUM_STEPS))["gradient_steps"] == expected


class Exploding(PPO):
    """A finite loss with an infinite gradient: √ at 0."""

    def loss(self, batch: Batch, output: AgentOutput) -> Loss:
        zero_TB = output.value - output.value.detach()
        return Loss(zero_TB.sqrt().sum(), {})


@pytest.mark.parametrize("poison", ["reward", "value", "gradient"])
def test_a_gradient_that_is_not_finite_is_refused_before_the_step(poison):
    """The error names the update, and no weight, statistic or moment of Adam has changed."""
    objective = Exploding(PPOConfig()) if poison == "gradient" else PPO(PPOConfig())
    actor = make_actor("ProbeReach")
    learner = make_learner(actor.agent, objective=objective)
    healthy = make_learner(actor.agent)
    healthy.update(actor.collect(NUM_STEPS))
    before = weights(actor.agent)
    rollout = actor.collect(NUM_STEPS)
    if poison != "gradient":
        spoilt_TB = getattr(rollout, poison).clone()
        spoilt_TB[3] = torch.inf
        rollout = replace(rollout, **{poison: spoilt_TB})
    with pytest.raises(FloatingPointError, match=r"gradient of update 0 is not finite"):
        learner.update(rollout)
    assert_same(before, weights(actor.agent))
    assert not learner.optimizer.state


@dataclass
class FixedPolicy:
    """A policy with given log probabilities and entropies."""

    log_probs: Tensor
    entropies: Tensor

    def log_prob(self, action: Tensor) -> Tensor:
        del action  # unused: they are fixed
        return self.log_probs

    def entropy(self) -> Tensor:
        return self.entropies


def loss_of_three(config: PPOConfig) -> tuple[Loss, Tensor, Tensor]:
    """Ratios 1.5, 0.5, 1.1 with advantages 2, −1, 3; values 1, 2, 4 for returns 0, 2, 2."""
    log_prob_TB = torch.tensor([[1.5], [0.5], [1.1]]).log().requires_grad_()
    value_TB = torch.tensor([[1.0], [2.0], [4.0]]).requires_grad_()
    policy: Any = FixedPolicy(log_prob_TB - 1.0, torch.tensor([[0.5], [0.7], [0.9]]))
    batch = Batch(
        action=torch.zeros(3, 1),
        log_prob=torch.full((3, 1), -1.0),
        targets={
            "advantage": torch.tensor([[2.0], [-1.0], [3.0]]),
            "return": torch.tensor([[0.0], [2.0], [2.0]]),
        },
    )
    return (
        PPO(config).loss(batch, AgentOutput(policy, value_TB, memory=value_TB)),
        log_prob_TB,
        value_TB,
    )


def test_the_loss_worked_by_hand():
    """ε = 0.2.

    Surrogates: min(1.5·2, 1.2·2) = 2.4, min(−0.5, −0.8) = −0.8, min(3.3, 3.3) = 3.3; mean 4.9/3.
    Value: ½ (1 + 0 + 4) / 3 = 5/6. Entropy: 0.7. Two of the three ratios lie outside 1 ± 0.2.
    """
    config = PPOConfig(clip=0.2, value_coefficient=0.5, entropy_coefficient=0.1)
    loss, _, _ = loss_of_three(config)
    expected = {
        "policy_loss": -4.9 / 3,
        "value_loss": 5 / 6,
        "entropy": 0.7,
        "clip_fraction": 2 / 3,
    }
    assert {name: float(m) for name, m in loss.metrics.items()} == pytest.approx(expected)
    assert loss.total.item() == pytest.approx(-4.9 / 3 + 0.5 * 5 / 6 - 0.1 * 0.7)


def test_the_gradient_worked_by_hand():
    """Ratios that have moved far enough in the wanted direction pull no further.

    The first (1.5, wanted up) and the second (0.5, wanted down) are clipped: 0. The third gives
    −A·ratio/3 = −3·1.1/3 = −1.1. Values: ½ · (value − return)/3 = 1/6, 0, 1/3.
    """
    loss, log_prob_TB, value_TB = loss_of_three(PPOConfig(clip=0.2, value_coefficient=0.5))
    loss.total.backward()
    torch.testing.assert_close(log_prob_TB.grad, torch.tensor([[0.0], [0.0], [-1.1]]))
    torch.testing.assert_close(value_TB.grad, torch.tensor([[1 / 6], [0.0], [1 / 3]]))


def test_targets_are_whitened_advantages_and_raw_returns():
    """The values they are added to are in the same, scaled, unit."""
    rollout = make_actor("PointGoal", episode_length=3).collect(NUM_STEPS)
    config = PPOConfig(discount=0.9, trace=0.8)
    targets = PPO(config).targets(rollout, 2.0 * rollout.reward)
    advantage_TB = gae(
        2.0 * rollout.reward,
        rollout.value,
        rollout.next_value,
        rollout.trial_end,
        discount=0.9,
        trace=0.8,
    )
    torch.testing.assert_close(targets["return"], advantage_TB + rollout.value)
    whitened_TB = (advantage_TB - advantage_TB.mean()) / advantage_TB.std()
    torch.testing.assert_close(targets["advantage"], whitened_TB)
    assert float(targets["advantage"].mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(targets["advantage"].std()) == pytest.approx(1.0, abs=1e-5)


def test_targets_carry_a_late_reward_into_the_first_episode_of_its_trial():
    """Two trials of 2 × 3 steps; 10 is earned at the end of the first. V = 0, γ = λ = 1."""
    env = TrialEnv("PointGoal", 1, episode_length=3, episodes_per_trial=2)
    agent = Agent(SMALL, 2, env.family.action_space, seed=0, horizon=20)
    rollout = Actor.start(agent, env, seed=0).collect(12)
    zeros_TB = torch.zeros(12, 1)
    reward_TB = zeros_TB.clone()
    reward_TB[5] = 10.0
    rollout = replace(rollout, value=zeros_TB, next_value=zeros_TB)
    targets = PPO(PPOConfig(discount=1.0, trace=1.0)).targets(rollout, reward_TB)
    assert targets["return"][:, 0].tolist() == [10.0] * 6 + [0.0] * 6


def test_objectives_get_rewards_scaled_with_the_present_rollout_counted():
    spy = Spy()
    actor = make_actor("PointGoal")
    learner = make_learner(actor.agent, objective=spy)
    rollout = actor.collect(NUM_STEPS)
    learner.update(rollout)
    deviation = learner.reward_scaler.moments.var_F.sqrt()
    assert learner.reward_scaler.moments.count == NUM_WORLDS * NUM_STEPS
    expected_TB = (rollout.reward / deviation).to(torch.float32)
    torch.testing.assert_close(spy.scaled_reward_TB, expected_TB)


def test_an_update_counts_the_rollout_once_into_the_observation_statistics():
    actor = make_actor("PointGoal")
    learner = make_learner(actor.agent)
    seen = []
    for _ in range(2):
        rollout = actor.collect(NUM_STEPS)
        learner.update(rollout)
        seen.append(torch.cat([rollout.observation, rollout.previous_reward.unsqueeze(-1)], dim=-1))
    rows = torch.cat(seen).flatten(0, 1).double()
    torch.testing.assert_close(actor.agent.moments.mean_F, rows.mean(dim=0))
    torch.testing.assert_close(actor.agent.moments.var_F, rows.var(dim=0, correction=0))


@pytest.mark.parametrize("family", ["ProbeRecall", "PointGoal"])
def test_a_saved_learner_continues_to_the_bit(family):
    """Through a file of plain tensors: optimiser, reward scale, place in the random order."""
    actor = make_actor(family)
    learner = make_learner(actor.agent)
    train(actor, learner, 2)
    file = io.BytesIO()
    torch.save({"agent": actor.agent.state_dict(), "learner": learner.state_dict()}, file)
    later = [actor.collect(NUM_STEPS) for _ in range(2)]
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = make_actor(family, seed=99).agent
    restored = make_learner(other)
    other.load_state_dict(saved["agent"])
    restored.load_state_dict(saved["learner"])
    for rollout in later:
        assert restored.update(rollout) == learner.update(rollout)
    assert_same(weights(actor.agent), weights(other))


def test_the_step_size_follows_the_divergence():
    """Stop at 0.04: above it ÷ 1.5, below 0.01 × 1.5 up to the first value, else unchanged."""
    actor = make_actor("ProbeMatch")
    config = replace(QUARTERS, learning_rate=0.9, stop_divergence=0.04)
    learner = make_learner(actor.agent, config)
    (group,) = learner.optimizer.param_groups
    assert learner._adapt_step_size(0.05) == pytest.approx(0.9)
    assert group["lr"] == pytest.approx(0.6)
    assert learner._adapt_step_size(0.02) == pytest.approx(0.6)
    assert group["lr"] == pytest.approx(0.6)
    learner._adapt_step_size(0.009)
    assert group["lr"] == pytest.approx(0.9)
    learner._adapt_step_size(0.009)
    assert group["lr"] == pytest.approx(0.9)
    for _ in range(50):
        learner._adapt_step_size(1.0)
    assert group["lr"] == pytest.approx(0.009)


def test_a_policy_that_moves_too_far_slows_down():
    actor = make_actor("ProbeMatch")
    learner = make_learner(actor.agent, replace(QUARTERS, learning_rate=0.05, stop_divergence=1e-4))
    used = [learner.update(actor.collect(8))["learning_rate"] for _ in range(3)]
    assert used == pytest.approx([0.05, 0.05 / 1.5, 0.05 / 1.5**2])


def test_slow_parameters_learn_at_their_share_of_the_step_size(monkeypatch):
    """Also after the step size has followed the divergence; every parameter is in one group."""
    actor = make_actor("ProbeMatch")
    slow = [actor.agent.memory.hidden_projection.weight]
    monkeypatch.setattr(actor.agent.memory, "slow_parameters", lambda: slow)
    learner = make_learner(actor.agent, replace(QUARTERS, learning_rate=0.8, slow_share=0.25))
    others, chosen = learner.optimizer.param_groups
    assert [id(p) for p in chosen["params"]] == [id(p) for p in slow]
    count = len(others["params"]) + len(chosen["params"])
    assert count == len(list(actor.agent.parameters()))
    assert (others["lr"], chosen["lr"]) == pytest.approx((0.8, 0.2))
    learner._adapt_step_size(1.0)
    assert (others["lr"], chosen["lr"]) == pytest.approx((0.8 / 1.5, 0.2 / 1.5))
