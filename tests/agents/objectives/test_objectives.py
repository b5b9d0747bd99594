"""Objectives in the suite's learner: by name, told the time, and what each makes of a step.

Shape legend: T time, B worlds, M parameters.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy.agents.agent import Agent, AgentConfig, AgentOutput
from quickstudy.agents.learner import Learner, LearnerConfig
from quickstudy.agents.models import GRUConfig
from quickstudy.agents.objectives.a2c import A2C
from quickstudy.agents.objectives.discovered import Discovered, Provenance
from quickstudy.agents.objectives.drift_objective import DPO, LearnedDriftObjective
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig, dpo_drift
from quickstudy.agents.objectives.lifetime import TIME_FEATURES, Lifetime
from quickstudy.agents.objectives.lpg import LPG, LPGConfig
from quickstudy.agents.objectives.objective import Batch, Loss, Objective
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.objectives.registry import make_objective
from quickstudy.agents.objectives.schedule import Schedule, ScheduleConfig, ScheduledObjective
from quickstudy.agents.rollout import Actor, Rollout
from quickstudy.envs.trials import TrialEnv

SMALL = AgentConfig(GRUConfig(16), embedding_size=16, head_size=16)
NUM_WORLDS, NUM_STEPS = 8, 10
FAMILIES = {"continuous": "PointGoal", "discrete": "ProbeRecall"}
EARLY, LATE = (Lifetime(torch.tensor(n), torch.tensor(10)) for n in (0, 9))
ORIGIN = Provenance("test", (0,), 0, {})


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shaken_rule(network: LearnedDrift | Schedule, scale: float = 0.3) -> Tensor:
    """A rule that is not PPO any more, and the same each time."""
    size = network.layout.num_parameters
    return network.first_rule(0) + scale * torch.linspace(-3.0, 4.0, size).sin()


def learned(config: LearnedDriftConfig | None = None, scale: float = 0.3) -> LearnedDriftObjective:
    drift = LearnedDrift(config or LearnedDriftConfig())
    return LearnedDriftObjective(PPOConfig(), drift, shaken_rule(drift, scale))


def first_drift(dtype: torch.dtype) -> LearnedDriftObjective:
    """Generation 0."""
    drift = LearnedDrift(LearnedDriftConfig())
    return LearnedDriftObjective(PPOConfig(), drift, drift.first_rule(0).to(dtype))


def make_actor(family: str) -> Actor:
    env = TrialEnv(family, NUM_WORLDS, episode_length=3, episodes_per_trial=2)
    space = env.family.observation_space
    agent = Agent(SMALL, space.shape[0], env.family.action_space, seed=0, horizon=6)
    return Actor.start(agent, env, seed=0)


def make_learner(agent: Agent, objective: Objective) -> Learner:
    """Steps large enough to leave the clip, never stopped."""
    config = LearnerConfig(learning_rate=0.05, minibatch_frames=40, stop_divergence=1e9)
    return Learner(agent, objective, config, num_worlds=NUM_WORLDS, discount=0.99, seed=0)


def trained(family: str, objective: Objective, updates: int = 2) -> tuple[Tensor, dict[str, float]]:
    """All weights after some updates, and the metrics of the last."""
    actor = make_actor(family)
    learner = make_learner(actor.agent, objective)
    for n in range(updates):
        objective.begin_update(Lifetime(torch.tensor(n), torch.tensor(updates)))
        metrics = learner.update(actor.collect(NUM_STEPS))
    return torch.cat([p.detach().flatten() for p in actor.agent.parameters()]), metrics


@dataclass
class Given:
    """A policy with fixed log probabilities and entropies."""

    log_probs: Tensor
    entropies: Tensor

    def log_prob(self, action: Tensor) -> Tensor:
        del action  # unused: they are fixed
        return self.log_probs

    def entropy(self) -> Tensor:
        return self.entropies


def batch_of(num: int, dtype: torch.dtype) -> tuple[Batch, AgentOutput]:
    """Steps with ratios on either side of the clip and advantages of both signs."""
    spread = torch.linspace(-1.0, 1.0, num, dtype=dtype).unsqueeze(1)
    advantage_TB = (40.0 * spread).sin() * 2.0
    policy: Any = Given(spread.clone().requires_grad_(), spread.abs())
    value_TB = spread.cos().requires_grad_()
    batch = Batch(
        action=spread,
        log_prob=torch.zeros_like(spread),
        targets={"advantage": advantage_TB, "return": spread},
    )
    return batch, AgentOutput(policy, value_TB, memory=value_TB)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_generation_zero_has_ppos_loss_and_gradients(dtype):
    """The project's bar is 1e-6."""
    found = {}
    for name, objective in {"ppo": PPO(PPOConfig()), "learned": first_drift(dtype)}.items():
        objective.begin_update(EARLY)
        batch, output = batch_of(101, dtype)
        loss = objective.loss(batch, output)
        loss.total.backward()
        found[name] = (loss, output.policy.log_probs.grad, output.value.grad)
    (ppo, *ppo_grads), (own, *own_grads) = found.values()
    assert ppo.metrics.keys() == own.metrics.keys()
    for name in ppo.metrics:
        assert float(own.metrics[name]) == pytest.approx(float(ppo.metrics[name]), abs=1e-6), name
    for ppo_grad, own_grad in zip(ppo_grads, own_grads, strict=True):
        assert float((ppo_grad - own_grad).abs().max()) < 1e-6
        assert float(ppo_grad.abs().max()) > 1e-3


class Beside(PPO):
    """PPO that compares itself with another objective at every gradient step."""

    def __init__(self, agent: Agent, other: Objective) -> None:
        super().__init__(PPOConfig())
        self.parameters_compared = list(agent.parameters())
        self.other = other
        self.loss_gaps: list[float] = []
        self.gradient_gaps: list[float] = []
        self.clip_fractions: list[float] = []

    def begin_update(self, lifetime: Lifetime) -> None:
        self.other.begin_update(lifetime)

    def loss(self, batch: Batch, output: AgentOutput) -> Loss:
        own, other = super().loss(batch, output), self.other.loss(batch, output)
        grads = (
            torch.autograd.grad(loss.total, self.parameters_compared, retain_graph=True)
            for loss in (own, other)
        )
        gaps = [float((x - y).abs().max()) for x, y in zip(*grads, strict=True)]
        self.loss_gaps.append(float((own.total - other.total).detach().abs()))
        self.gradient_gaps.append(max(gaps))
        self.clip_fractions.append(float(own.metrics["clip_fraction"]))
        return own


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_generation_zero_is_ppo_in_every_step_of_the_learner(family):
    """Loss and the gradient of every weight, to 1e-6, also once ratios have left the clip."""
    gaps = {}
    for name, objective in {"first": first_drift(torch.float32), "later": learned()}.items():
        actor = make_actor(family)
        spy = Beside(actor.agent, objective)
        spy.begin_update(LATE)
        make_learner(actor.agent, spy).update(actor.collect(NUM_STEPS))
        assert max(spy.clip_fractions) > 0.05
        gaps[name] = (max(spy.loss_gaps), max(spy.gradient_gaps))
    assert max(gaps["first"]) < 1e-6
    assert min(gaps["later"]) > 1e-3


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("make", [lambda: DPO(PPOConfig()), lambda: A2C(PPOConfig()), learned])
def test_every_objective_learns_on_both_kinds_of_actions(family, make):
    weights, metrics = trained(family, make())
    assert weights.isfinite().all()
    assert metrics["gradient_norm"] > 0.0


def test_a2cs_gradient_is_the_policy_gradient():
    """d/dlog π of −mean(log π·A) is −A/T, however far the policy has moved."""
    batch, output = batch_of(5, torch.float64)
    objective = A2C(PPOConfig(value_coefficient=0.0))
    objective.loss(batch, output).total.backward()
    torch.testing.assert_close(output.policy.log_probs.grad, -batch.targets["advantage"] / 5)


def test_dpos_loss_by_hand():
    """−mean(r·A − D): r = 2, A = 2 gives 4 − 0.476812; r = 1, A = −3 gives −3; mean 0.261594."""
    batch = Batch(
        action=torch.zeros(2, 1),
        log_prob=torch.zeros(2, 1),
        targets={"advantage": torch.tensor([[2.0], [-3.0]]), "return": torch.zeros(2, 1)},
    )
    policy: Any = Given(torch.tensor([[2.0], [1.0]]).log(), torch.zeros(2, 1))
    loss = DPO(PPOConfig()).loss(batch, AgentOutput(policy, torch.zeros(2, 1), torch.zeros(2, 1)))
    assert loss.total.item() == pytest.approx(-0.261594, abs=1e-5)


def test_a_learned_drift_is_told_the_time():
    objective = learned()
    losses = []
    for lifetime in (EARLY, LATE, EARLY):
        objective.begin_update(lifetime)
        losses.append(objective.loss(*batch_of(20, torch.float32)).total.item())
    assert losses[0] == losses[2] != losses[1]
    lpo = learned(LearnedDriftConfig(time="none"))
    losses = []
    for lifetime in (EARLY, LATE):
        lpo.begin_update(lifetime)
        losses.append(lpo.loss(*batch_of(20, torch.float32)).total.item())
    assert losses[0] == losses[1]


def test_a_learned_entropy_coefficient_takes_the_place_of_the_learners():
    drift = LearnedDrift(LearnedDriftConfig(entropy_coefficient=0.25))
    objective = LearnedDriftObjective(PPOConfig(), drift, drift.first_rule(0))
    objective.begin_update(EARLY)
    plain = PPO(PPOConfig(entropy_coefficient=0.25)).loss(*batch_of(20, torch.float32))
    own = objective.loss(*batch_of(20, torch.float32))
    assert own.total.item() == pytest.approx(plain.total.item(), abs=1e-6)


@pytest.mark.parametrize("time", TIME_FEATURES)
def test_learned_drifts_run_on_one_device_without_looking_at_values(time):
    """On torch's `meta` device a look at a value, or another device's tensor, is an error."""
    drift = LearnedDrift(LearnedDriftConfig(time=time, entropy_coefficient=0.1))
    objective = LearnedDriftObjective(PPOConfig(), drift, drift.first_rule(0)).to("meta")
    objective.begin_update(Lifetime(*torch.tensor([1, 2], device="meta")))
    log_ratio_TB, advantage_TB = torch.empty(2, 5, 3, device="meta")
    assert objective.surrogate(log_ratio_TB, advantage_TB).device.type == "meta"
    assert objective.entropy_coefficient.device.type == "meta"


@pytest.mark.parametrize("log_ratio", [1e3, -1e3, 80.0])
def test_huge_log_ratios_give_finite_losses_and_gradients(log_ratio):
    for objective in (DPO(PPOConfig()), learned()):
        objective.begin_update(EARLY)
        batch, output = batch_of(4, torch.float32)
        batch = replace(batch, log_prob=torch.full((4, 1), -log_ratio))
        loss = objective.loss(batch, output)
        loss.total.backward()
        assert loss.total.isfinite()
        assert output.policy.log_probs.grad.isfinite().all()


def test_nan_reaches_the_learner_who_stops():
    objective = learned()
    objective.begin_update(EARLY)
    actor = make_actor("PointGoal")
    rollout: Rollout = actor.collect(NUM_STEPS)
    rollout.log_prob[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite"):
        make_learner(actor.agent, objective).update(rollout)


def test_objectives_go_by_their_names():
    config = PPOConfig(clip=0.3)
    for name, kind in {"ppo": PPO, "a2c": A2C, "dpo": DPO}.items():
        objective = make_objective(name, config)
        assert type(objective) is kind
        assert objective.config == config


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pppo", "Unknown objective 'pppo'. Did you mean 'ppo'.*dpo.*discovered:PATH"),
        ("discovered:no/such.json", "Unknown discovered rule .*no such file.* 'no/such.json'"),
        ("discovered:", "Unknown discovered rule"),
    ],
)
def test_unknown_objectives_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        make_objective(name, PPOConfig())


def test_discovered_rules_are_loaded_by_their_path(tmp_path):
    batch, output = batch_of(20, torch.float32)
    drift, schedule = LearnedDrift(LearnedDriftConfig(time="remaining")), Schedule(ScheduleConfig())
    for kind, network, follow in (
        ("drift", drift, LearnedDriftObjective),
        ("schedule", schedule, ScheduledObjective),
    ):
        rule_M = shaken_rule(network)
        Discovered(kind, network, rule_M, ORIGIN).save(tmp_path / "rule.json")
        objective = make_objective(f"discovered:{tmp_path / 'rule.json'}", PPOConfig())
        direct = follow(PPOConfig(), network, rule_M)
        for o in (objective, direct):
            o.begin_update(LATE)
        assert torch.equal(objective.rule_M, rule_M)
        assert torch.equal(objective.loss(batch, output).total, direct.loss(batch, output).total)
        assert objective.discount == direct.discount


def test_rules_that_need_a_prediction_are_refused_with_the_reason(tmp_path):
    lpg = LPG(LPGConfig())
    Discovered("lpg", lpg, lpg.first_rule(0), ORIGIN).save(tmp_path / "lpg.json")
    with pytest.raises(ValueError, match=r"kind lpg tells an agent what to predict.*no head"):
        make_objective(f"discovered:{tmp_path / 'lpg.json'}", PPOConfig())


def test_dpo_objective_uses_the_closed_form():
    batch, output = batch_of(30, torch.float64)
    log_ratio_TB, advantage_TB = output.policy.log_probs, batch.targets["advantage"]
    drift_TB = DPO(PPOConfig()).drift(log_ratio_TB, advantage_TB)
    assert torch.equal(drift_TB, dpo_drift(log_ratio_TB, advantage_TB))
