"""The populations' benchmark: both sides do the same. Nothing here asserts how fast anything is."""

import torch

from quickstudy.agents.lifetimes.control import ControlConfig, ControlLifetimes
from quickstudy.agents.lifetimes.control_learning import ControlLearningConfig, Experience, whitened
from quickstudy.agents.lifetimes.stacked_adam import adam_step
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.envs import rng
from quickstudy.experiments.benchmarks import discovery
from quickstudy.experiments.benchmarks.bench import SUITES
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.result import Effort

STEPS = 40
LEARNING = ControlLearningConfig(entropy_coefficient=0.01)


def experience(num_agents):
    """Random steps of agents with 4 inputs and 2 actions."""
    key_P = rng.world_keys(1, rng.Stream.STUDENT, num_agents)
    x_PBO = rng.normal(key_P, STEPS * 4).view(num_agents, STEPS, 4).float()
    rest_PB3 = rng.normal(rng.fold_in(key_P, 1), STEPS * 3).view(num_agents, STEPS, 3).float()
    action_PB = (rng.uniform(rng.fold_in(key_P, 2), STEPS) < 0.5).long()
    return Experience(
        x_PBO,
        action_PB,
        0.3 * rest_PB3[..., 0] - 0.7,
        whitened(rest_PB3[..., 1]),
        rest_PB3[..., 2],
    )


def test_gradient_steps_of_a_population_are_those_of_modules_with_torchs_adam():
    """Ten steps of three agents whose rules differ; the plain side has no axis of agents."""
    learning = ControlLifetimes(ControlConfig(learning=LEARNING), "CartPole").learning
    key_P = rng.world_keys(0, rng.Stream.STUDENT, 3)
    weight_PW = learning.networks.initial(key_P)
    noise_PM = 0.3 * rng.normal(key_P, learning.drift.layout.num_parameters).float()
    rule_PM = learning.drift.first_rule(0) + noise_PM
    batch, age = experience(3), Lifetime(torch.tensor([0, 3, 9]), torch.full((3,), 10))
    pupils = [discovery.Pupil(learning, rule_PM[p], weight_PW[p]) for p in range(3)]
    mean_PW, square_PW = torch.zeros_like(weight_PW), torch.zeros_like(weight_PW)
    steps_P, rate_P = torch.zeros(3, dtype=torch.int64), torch.full((3,), LEARNING.learning_rate)
    first_PW = weight_PW.clone()
    for _ in range(10):
        gradient_PW = learning.gradient(rule_PM, weight_PW, batch, age)
        adam_step(weight_PW, gradient_PW, mean_PW, square_PW, steps_P, rate_P)
        for p, pupil in enumerate(pupils):
            own = {name: rows[p] for name, rows in vars(batch).items()}
            pupil.descend(Experience(**own), Lifetime(age.updates[p], age.total[p]))
    for p, pupil in enumerate(pupils):
        parts = learning.networks.layout.parts(weight_PW[p])
        for name, network in (("actor", pupil.actor), ("critic", pupil.critic)):
            for layer, linear in enumerate(network[::2], start=1):
                weight_JI = parts[f"{name}_{layer}_weight"].T
                torch.testing.assert_close(weight_JI, linear.weight, rtol=1e-4, atol=2e-6)
                torch.testing.assert_close(
                    parts[f"{name}_{layer}_bias"], linear.bias, rtol=1e-4, atol=2e-6
                )
    assert bool(((weight_PW - first_PW).abs().amax(dim=1) > 0.01).all())


def test_the_loops_agent_learns_to_balance():
    """So the baseline is no straw man: 12 updates lift it from 22 steps an episode to over 60."""
    config = ControlConfig()
    lifetimes = ControlLifetimes(config, "CartPole")
    key = rng.root_key(0, rng.Stream.STUDENT)
    weight_W = lifetimes.learning.networks.initial(key.unsqueeze(0))[0]
    rule_M = lifetimes.first_rule(0)
    pupil = discovery.Pupil(lifetimes.learning, rule_M, weight_W)
    worldly = discovery.WorldlyPupil(config, pupil, key)
    for _ in range(12):
        worldly.update()
    ends = torch.stack([worldly._act(step)[-1] for step in range(200)])
    assert 200 * config.copies / int(ends.sum()) > 60.0


def test_a_case_compares_steps_per_second(monkeypatch):
    monkeypatch.setattr(discovery, "all_at_once", lambda *_: lambda: 300)
    monkeypatch.setattr(discovery, "one_by_one", lambda *_: lambda: 100)
    plan = Plan(rounds=1, seconds=0.0, min_repetitions=1, warm_up=False)
    (result,) = discovery.population_benchmark(4, 32, at_least=20.0).run(Effort(plan=plan))
    assert result.case == "discovery/population-4-width-32"
    assert result.measured.name == "population"
    assert result.reference.name == "loop of torch optimisers"


def test_the_suite_has_the_case_with_a_bar():
    assert "discovery/population-256-width-32" in {b.name for b in SUITES["discovery"]()}
