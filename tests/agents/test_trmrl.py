"""TrMRL: its window, its initialisation, and that it forgets at each episode's start.

Shape legend: T time, B worlds, D input features, d features of a token, S slots.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from quickstudy.agents.agent import Agent, AgentConfig
from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.models import MODELS, GRUConfig, TrMRLConfig
from quickstudy.agents.models.trmrl import TrMRL, sinusoids
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.rollout import Actor
from quickstudy.envs.trials import TrialEnv

D, B = 3, 4
SMALL = TrMRLConfig(hidden_size=16, layers=2, heads=4, feedforward_size=24)
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    """Small, in float64, with every parameter away from its special start."""
    model = SMALL.build(D, generator(0), horizon=100).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator(1)).double()
    return model


def blank(model, batch=B):
    window_BSd, count_B = model.initial_state(batch)
    return window_BSd.double(), count_B


def inputs(steps, batch=B, seed=2):
    return torch.randn(steps, batch, D, generator=generator(seed), dtype=torch.float64)


def never(steps, batch=B):
    return torch.zeros(steps, batch, dtype=torch.bool)


def staggered(steps):
    """World 0 never resets; the others at times of their own, world 3 often."""
    reset_TB = never(steps)
    reset_TB[0, 1] = reset_TB[steps // 2, 1] = reset_TB[5, 2] = True
    reset_TB[::3, 3] = True
    return reset_TB


def stepped(model, x_TBD, reset_TB, state):
    outputs = []
    for x_BD, reset_B in zip(x_TBD, reset_TB, strict=True):
        y_BD, state = model.step(x_BD, reset_B, state)
        outputs.append(y_BD)
    return torch.stack(outputs), state


def call(model, run):
    return model.scan if run == "scan" else lambda *arguments: stepped(model, *arguments)


# --- the encoder against torch's own ------------------------------------------------------------


def encoder_of(model):
    """torch's encoder layers, relieved of their norms, with the model's weights."""
    layers = []
    for ours in model.layers:
        theirs = nn.TransformerEncoderLayer(
            model.output_size, ours.heads, ours.feedforward.out_features, 0.0, batch_first=True
        ).double()
        theirs.norm1, theirs.norm2 = nn.Identity(), nn.Identity()
        attention = theirs.self_attn
        attention.in_proj_weight, attention.in_proj_bias = (
            ours.projection.weight,
            ours.projection.bias,
        )
        attention.out_proj.weight = ours.attention_output.weight
        attention.out_proj.bias = ours.attention_output.bias
        theirs.linear1, theirs.linear2 = ours.feedforward, ours.feedforward_output
        layers.append(theirs.train())  # in evaluation torch insists on its norms
    return layers


@pytest.mark.parametrize("run", ["step", "scan"])
@torch.no_grad()
def test_outputs_are_those_of_torchs_encoder_over_the_last_five(model, run):
    """As released: inputs from slot 0 on, a causal mask, the output of the last one's slot."""
    x_TBD, reset_TB = inputs(14), staggered(14)
    y_TBd, _ = call(model, run)(x_TBD, reset_TB, blank(model))
    layers = encoder_of(model)
    for b in range(B):
        start = 0
        for t in range(14):
            start = t if reset_TB[t, b] else start
            tokens_Sd = model.embedding(x_TBD[max(start, t - 4) : t + 1, b])
            tokens_Sd = tokens_Sd + sinusoids(5, 16, tokens_Sd)[: len(tokens_Sd)]
            hidden_SS = torch.ones(len(tokens_Sd), len(tokens_Sd)).triu(1).bool()
            for layer in layers:
                tokens_Sd = layer(tokens_Sd.unsqueeze(0), src_mask=hidden_SS).squeeze(0)
            torch.testing.assert_close(y_TBd[t, b], tokens_Sd[-1], **CLOSE)


def test_positions_by_hand():
    """Four features: sin and cos of s, then of s / 100."""
    table = sinusoids(3, 4, torch.zeros(0, dtype=torch.float64))
    expected = [
        [0.0, 1.0, 0.0, 1.0],
        [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)],
        [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)],
    ]
    torch.testing.assert_close(table, torch.tensor(expected, dtype=torch.float64))


# --- the window ---------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["step", "scan"])
@pytest.mark.parametrize("zeros", [slice(0, 1), slice(2, 4), slice(0, 9)])
@torch.no_grad()
def test_inputs_of_zeros_are_inputs(model, run, zeros):
    """The released code takes the first row of zeros for the end of the window.

    There, after a window (0, x) the output would be that of slot 0, and x would not be seen.
    """
    x_TBD = inputs(9)
    x_TBD[zeros] = 0.0
    y_TBd, (_, count_B) = call(model, run)(x_TBD, never(9), blank(model))
    assert count_B.tolist() == [9] * B
    nearly_TBD = x_TBD.clone()
    nearly_TBD[zeros] = 1e-9
    limit_TBd, _ = call(model, run)(nearly_TBD, never(9), blank(model))
    torch.testing.assert_close(y_TBd, limit_TBd, rtol=1e-6, atol=1e-6)
    changed_TBD = x_TBD.clone()
    changed_TBD[1] += 1.0
    changed_TBd, _ = call(model, run)(changed_TBD, never(9), blank(model))
    assert (changed_TBd[1] - y_TBd[1]).abs().amax(dim=1).min() > 1e-3


@torch.no_grad()
def test_no_more_than_five_inputs_are_seen(model):
    """The output after twelve inputs is that after the last five alone."""
    x_TBD = inputs(12)
    y_TBd, _ = model.scan(x_TBD, never(12), blank(model))
    for kept, same in ((5, True), (4, False)):
        recent_TBd, _ = model.scan(x_TBD[-kept:], never(kept), blank(model))
        assert torch.allclose(recent_TBd[-1], y_TBd[-1], rtol=1e-10) is same


def gradients(run, x_TBD, reset_TB, state, parameters):
    leaves = [x_TBD.clone().requires_grad_(), state[0].clone().requires_grad_()]
    y_TBd, (window_BSd, count_B) = run(leaves[0], reset_TB, (leaves[1], state[1]))
    weights = [torch.randn(r.shape, generator=generator(7)).double() for r in (y_TBd, window_BSd)]
    loss = (weights[0] * y_TBd).sum() + (weights[1] * window_BSd).sum()
    found = torch.autograd.grad(loss, [*leaves, *parameters])
    return (y_TBd.detach(), window_BSd.detach(), count_B, *found)


@pytest.mark.parametrize("past", [0, 2, 7])
@pytest.mark.parametrize("steps", [1, 3, 14])
def test_scan_equals_steps(model, past, steps):
    """Values and gradients, from a window blank, filling or full."""
    state = blank(model)
    if past:
        with torch.no_grad():
            _, state = model.scan(inputs(past, seed=5), never(past), state)
    reset_TB = staggered(14)[-steps:]
    arguments = (inputs(steps), reset_TB, state, list(model.parameters()))
    fast = gradients(model.scan, *arguments)
    slow = gradients(lambda *a: stepped(model, *a), *arguments)
    for found, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_a_reset_at_every_step_leaves_one_input(model):
    x_TBD, everywhere = inputs(9), torch.ones(9, B, dtype=torch.bool)
    for run in ("step", "scan"):
        y_TBd, (window_BSd, count_B) = call(model, run)(x_TBD, everywhere, blank(model))
        for t in range(9):
            alone_1Bd, _ = model.scan(x_TBD[t : t + 1], never(1), blank(model))
            torch.testing.assert_close(y_TBd[t], alone_1Bd[0], **CLOSE)
        assert count_B.tolist() == [1] * B
        assert not window_BSd[:, :-1].any()


@torch.no_grad()
def test_each_world_counts_its_own_inputs(model):
    """Staggered starts: 10 inputs in all, world b beginning anew at step 3b."""
    reset_TB = never(10)
    for b in range(1, B):
        reset_TB[3 * b, b] = True
    for run in ("step", "scan"):
        _, (window_BSd, count_B) = call(model, run)(inputs(10), reset_TB, blank(model))
        assert count_B.tolist() == [10, 7, 4, 1]
        assert (window_BSd.abs().amax(dim=2) > 0).sum(dim=1).tolist() == [5, 5, 4, 1]


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 5), (13, 1)])
@torch.no_grad()
def test_one_world_or_one_step(model, steps, batch):
    x_TBD = inputs(steps, batch)
    y_TBd, _ = model.scan(x_TBD, never(steps, batch), blank(model, batch))
    expected, _ = stepped(model, x_TBD, never(steps, batch), blank(model, batch))
    assert y_TBd.shape == (steps, batch, 16)
    torch.testing.assert_close(y_TBd, expected, **CLOSE)


@pytest.mark.parametrize("cut", [2, 7])
@torch.no_grad()
def test_a_state_saved_in_mid_episode_and_restored_goes_on(model, cut, tmp_path):
    x_TBD, reset_TB = inputs(12), staggered(12)
    expected, _ = stepped(model, x_TBD, reset_TB, blank(model))
    _, state = stepped(model, x_TBD[:cut], reset_TB[:cut], blank(model))
    torch.save(state, tmp_path / "state.pt")
    restored = torch.load(tmp_path / "state.pt", weights_only=True)
    y_TBd, _ = stepped(model, x_TBD[cut:], reset_TB[cut:], restored)
    assert torch.equal(y_TBd, expected[cut:])


# --- initialisation -----------------------------------------------------------------------------


@torch.no_grad()
def test_weights_begin_as_t_fixup_has_them():
    """Four layers, d = 128: 0.67 · 4^(−1/4) = 0.67/√2 = 0.474.

    Xavier's uniform weights reach √(6 / (in + out)): √(6/256) = 0.153 for the outputs,
    √(6/640) = 0.0968 for the feed-forward, and √(6/512) · √2 = 0.153 for the fused projections.
    The embedding's standard deviation is 128^(−1/2) · 36^(−1/4) = 0.0884 / 2.449 = 0.0361.
    """
    model = TrMRLConfig().build(64, generator(0), horizon=100)
    assert float(model.embedding.weight.std()) == pytest.approx(0.0361, rel=0.03)
    for layer in model.layers:
        for part, reach in (
            (layer.projection, 0.474 * 0.153),
            (layer.attention_output, 0.474 * 0.153),
            (layer.feedforward, 0.474 * 0.0968),
            (layer.feedforward_output, 0.474 * 0.0968),
        ):
            assert float(part.weight.abs().max()) == pytest.approx(reach, rel=0.005)
            # A uniform variable's standard deviation is its reach / √3.
            assert float(part.weight.std()) == pytest.approx(reach / math.sqrt(3), rel=0.02)
        assert not layer.projection.bias.any()
        assert not layer.attention_output.bias.any()


def test_the_default_is_the_released_configuration_for_mujoco():
    """Of 799,232 parameters: the embedding and four layers of two pairs of maps with biases."""
    model = TrMRLConfig().build(64, generator(0), horizon=100)
    layer = 4 * 128**2 + 4 * 128 + 2 * 128 * 512 + 512 + 128
    assert sum(p.numel() for p in model.parameters()) == 64 * 128 + 4 * layer
    assert model.embedding.bias is None
    assert [layer.heads for layer in model.layers] == [16] * 4
    assert model.span == 5
    assert not [m for m in model.modules() if isinstance(m, nn.LayerNorm)]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"hidden_size": 100}, "multiple of heads = 16, got 100"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        TrMRLConfig(**sizes).build(D, generator(0), horizon=10)


# --- within an agent: wiped at each episode's start -----------------------------------------------

TRMRL = AgentConfig(SMALL, embedding_size=16, head_size=16)
RL2 = AgentConfig(GRUConfig(16), embedding_size=16, head_size=16)


def make_actor(config, worlds=3):
    """Trials of three episodes of four steps."""
    env = TrialEnv("PointGoal", worlds, episode_length=4, episodes_per_trial=3)
    size = env.family.observation_space.shape[0]
    agent = Agent(config, size, env.family.action_space, seed=0, horizon=12)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator(1))
    return Actor.start(agent, env, seed=0)


def test_only_trmrl_is_wiped_at_each_episode():
    models = [config().build(D, generator(0), 10) for config in MODELS.values()]
    assert [type(m) for m in models if m.wiped_each_episode] == [TrMRL]


def test_an_agent_resets_its_memory_where_the_memory_wants_it():
    for config, flag in ((TRMRL, "episode_start"), (RL2, "trial_start")):
        actor = make_actor(config)
        rollout = actor.collect(12)
        assert torch.equal(actor.agent.resets(rollout), getattr(rollout, flag))
        assert torch.equal(actor.agent.resets(actor.time_step), getattr(actor.time_step, flag))
    assert rollout.episode_start.sum() == 3 * rollout.trial_start.sum()


def test_acting_wipes_the_window_at_each_episode():
    """After 2, 4 and 6 steps of episodes of four: 2, 4 and 2 inputs read."""
    actor = make_actor(TRMRL)
    for expected in (2, 4, 2):
        actor.collect(2)
        assert actor.state[1].tolist() == [expected] * 3


@torch.no_grad()
def test_nothing_passes_from_an_episode_to_the_next():
    """Other observations, actions and rewards in episode 1 change nothing in episode 2.

    A memory kept for the trial does remember them.
    """
    for config, same in ((TRMRL, True), (RL2, False)):
        actor = make_actor(config)
        rollout = actor.collect(8)
        changed = replace(
            rollout,
            observation=rollout.observation.clone(),
            previous_action=rollout.previous_action.clone(),
            previous_reward=rollout.previous_reward.clone(),
        )
        changed.observation[:4] += 1.0
        # At step 4 these two still belong to the first episode.
        changed.previous_action[1:5] += 0.5
        changed.previous_reward[1:5] -= 1.0
        outputs = [
            actor.agent.scan(actor.agent.token(r), actor.agent.resets(r), r.first_state).value
            for r in (rollout, changed)
        ]
        assert not torch.allclose(outputs[0][:4], outputs[1][:4])
        assert torch.equal(outputs[0][4:], outputs[1][4:]) is same


def test_the_policy_that_learns_is_at_first_the_one_that_acted():
    """Across episode starts, the scan's log probabilities are those of acting: ratio 1, kl 0."""
    actor = make_actor(TRMRL)
    rollout = actor.collect(12)
    agent = actor.agent
    output = agent.scan(agent.token(rollout), agent.resets(rollout), rollout.first_state)
    log_prob_TB = output.policy.log_prob(rollout.action)
    torch.testing.assert_close(log_prob_TB, rollout.log_prob, rtol=1e-4, atol=1e-5)
    learner = Learner(
        agent,
        PPO(PPOConfig()),
        LearnerConfig(epochs=1, minibatch_frames=10_000),
        num_worlds=3,
        discount=0.99,
        seed=0,
    )
    assert learner.update(rollout)["kl"] == pytest.approx(0.0, abs=1e-6)
