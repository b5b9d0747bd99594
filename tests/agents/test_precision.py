"""Updates whose matrix products are made in bfloat16: what stays in float32, and that it learns.

Shape legend: T time, B worlds, D features.
"""

from dataclasses import replace

import pytest
import torch

from quickstudy.agents.agent import Agent
from quickstudy.agents.heads import HEADS
from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.models import MODELS
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.registry import AGENTS
from quickstudy.agents.rollout import Actor
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.config import TrainConfig, resolve

T, B, D = 12, 3, 5
RECURRENT = {"gru", "lstm"}
"""Their states go through a product at each step, which stays in float32."""


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def half():
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("name", MODELS)
def test_memories_hand_on_float32_and_are_off_by_bfloat16s_rounding(name):
    """Output, memory and gradients; within a few of its units, 2⁻⁸, of the largest output."""
    generator = torch.Generator().manual_seed(0)
    model = MODELS[name]().build(D, generator, 100)
    x_TBD = torch.randn(T, B, D, generator=generator).requires_grad_()
    reset_TB = torch.zeros(T, B, dtype=torch.bool)
    reset_TB[5, 1] = True
    expected, expected_state = model.scan(x_TBD, reset_TB, model.initial_state(B))
    with half():
        y, state = model.scan(x_TBD, reset_TB, model.initial_state(B))
    y.square().mean().backward()
    assert y.dtype == torch.float32
    assert [rows.dtype for rows in state] == [rows.dtype for rows in expected_state]
    moved = [p.grad for p in model.parameters() if p.grad is not None]
    assert {gradient.dtype for gradient in [*moved, x_TBD.grad]} == {torch.float32}
    error = float((y - expected).detach().abs().max() / expected.detach().abs().max())
    assert error < 0.05
    assert (error == 0.0) == (name in RECURRENT)


def test_gates_of_a_scan_are_never_rounded(monkeypatch):
    """A gate of 0.999 would be 1 in bfloat16: the memory would not fade."""
    seen = []
    for name in ("s5", "s4d", "min_gru"):
        module = __import__(f"quickstudy.agents.models.{name}", fromlist=["diag_scan"])
        scan = module.diag_scan

        def noting(gate, b_TBP, x0_BP, reset_TB, scan=scan):
            x_TBP = scan(gate, b_TBP, x0_BP, reset_TB)
            seen.append((gate.dtype, x0_BP.dtype, x_TBP.dtype))
            return x_TBP

        monkeypatch.setattr(module, "diag_scan", noting)
        model = MODELS[name]().build(D, torch.Generator().manual_seed(0), 100)
        with half():
            model.scan(torch.ones(T, B, D), torch.zeros(T, B).bool(), model.initial_state(B))
    assert {len(set(dtypes)) for dtypes in seen} == {1}
    assert {dtypes[0] for dtypes in seen} == {torch.float32, torch.complex64}


class Spy(PPO):
    """PPO that notes types and the log ratios of each minibatch."""

    def __init__(self):
        super().__init__(PPOConfig())
        self.dtypes, self.log_ratios = set(), []

    def loss(self, batch, output):
        log_prob_TB = output.policy.log_prob(batch.action)
        loss = super().loss(batch, output)
        tensors = (log_prob_TB, output.value, output.policy.entropy(), loss.total)
        self.dtypes |= {tensor.dtype for tensor in tensors}
        self.log_ratios.append((log_prob_TB - batch.log_prob).detach())
        return loss


def make(family, precision, head="plain", worlds=64):
    """A small agent in its worlds, and its learner; one minibatch in four of an epoch."""
    env = TrialEnv(family, worlds)
    config = AGENTS["s5"]
    memory = replace(config.memory, hidden_size=32)
    config = replace(config, memory=memory, embedding_size=32, head_size=32, head=head)
    size = env.family.observation_space.shape[0]
    agent = Agent(config, size, env.family.action_space, seed=0, horizon=env.trial_length)
    learner = Learner(
        agent,
        objective := Spy(),
        LearnerConfig(2e-3, minibatch_frames=worlds * env.trial_length // 4, precision=precision),
        num_worlds=worlds,
        discount=0.99,
        seed=0,
    )
    return Actor.start(agent, env, seed=0), learner, objective


@pytest.mark.parametrize("family", ["ProbeReach", "ProbeMatch"], ids=["continuous", "discrete"])
@pytest.mark.parametrize("head", HEADS)
def test_losses_and_gradients_are_float32_and_the_first_ratio_is_nearly_one(family, head):
    """It acted in float32, so the ratio is off by what the products round: a few times 2⁻⁸."""
    actor, learner, spy = make(family, "bfloat16", head, worlds=8)
    learner.update(actor.collect(actor.env.trial_length))
    assert spy.dtypes == {torch.float32}
    parameters = list(learner.agent.parameters())
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {torch.float32}
    largest = float(spy.log_ratios[0].exp().sub(1).abs().max())
    assert 0.0 < largest < 0.03


def test_it_learns_a_probe_as_well():
    """The arm is found in episode 1, a guess at even odds, and pulled in the other seven."""
    actor, learner, _ = make("ProbeArm", "bfloat16")
    for _ in range(15):
        learner.update(actor.collect(actor.env.trial_length))
        returns = actor.env.finished().returns
    assert float(returns[:, 1:].mean()) > 0.9


def test_float32_is_what_it_was():
    """The default is no autocast: an update in it and one without the option are the same."""
    assert LearnerConfig().precision == "float32"
    _, learner, _ = make("ProbeReach", "float32", worlds=8)
    with learner._products(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_run_of_before_the_option_is_read():
    record = resolve(TrainConfig(family="SparsePointGoal")).to_dict()
    del record["learner"]["precision"]
    assert TrainConfig.from_dict(record).learner.precision == "float32"


def test_an_unknown_precision_names_the_options():
    with pytest.raises(ValueError, match=r"'bf16'.*Options: float32, bfloat16"):
        LearnerConfig(precision="bf16")
