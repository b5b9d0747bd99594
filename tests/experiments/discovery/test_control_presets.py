"""The control presets: what they begin with, and that their lives can tell rules apart."""

import pytest
import torch

from quickstudy.agents.lifetimes.control import ControlLifetimes
from quickstudy.agents.objectives.drifts import LearnedDrift, ppo_drift
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.envs import rng
from quickstudy.experiments.discovery.estimators.pairs import perturbations
from quickstudy.experiments.discovery.keys import Purpose, keys
from quickstudy.experiments.discovery.measures import drift_measures
from quickstudy.experiments.discovery.presets import find_preset


@pytest.mark.parametrize(("name", "parameters"), [("lpo-control", 144), ("ta-lpo-control", 272)])
def test_they_begin_by_ppo(name, parameters):
    """8 (or twice 8) inputs times 16 units, and an output each."""
    preset = find_preset(name)
    drift, lifetimes = LearnedDrift(preset.lives.drift), preset.build(preset.lives)
    rule_M = lifetimes.first_rule(0)
    assert rule_M.shape == (parameters,)
    log_ratio_B = torch.linspace(-1.0, 1.0, 41)
    advantage_B = torch.linspace(2.0, -2.0, 41)
    age = Lifetime(torch.tensor(3), torch.tensor(20))
    found = drift(rule_M, log_ratio_B, advantage_B, age)
    assert torch.equal(found, ppo_drift(log_ratio_B, advantage_B, 0.2))


def test_perturbations_are_felt_but_do_not_drown_what_there_is():
    """PPO's and DPO's gradients are 0.41 apart (root mean square)."""
    preset = find_preset("ta-lpo-control")
    drift = LearnedDrift(preset.lives.drift)
    rule_M = drift.first_rule(0)
    step_pM = preset.estimator.sigma * perturbations(
        keys(0, Purpose.PERTURBATION, 0, 8), len(rule_M)
    )
    moved = [drift_measures(drift, rule_M + step_M.float(), 20)["to_ppo"] for step_M in step_pM]
    assert 0.1 < sum(moved) / len(moved) < 0.4


def test_lives_are_of_both_families():
    preset = find_preset("ta-lpo-control")
    born = preset.build(preset.lives).begin(rng.world_keys(0, rng.Stream.STUDENT, 16))
    assert set(born["kind"].tolist()) == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["CartPole", "PointGoal"])
def test_lives_end_in_the_midst_of_ppos_climb(family):
    """On the anchors' scale: the new-born have about 0, and neither all nor none are at 1."""
    lives = find_preset("ta-lpo-control").lives
    lifetimes, key_P = ControlLifetimes(lives, family), rng.world_keys(1, rng.Stream.STUDENT, 32)
    rule_PM = lifetimes.first_rule(0).expand(32, -1)
    born, _ = lifetimes.score(lifetimes.begin(key_P))
    grown = lifetimes.live(rule_PM, key_P).score_P
    assert -0.15 < float(born.mean()) < 0.15
    assert 0.5 < float(grown.mean()) < 0.85
    assert float((grown > 0.97).double().mean()) < 0.5
