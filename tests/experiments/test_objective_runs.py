"""Objectives in training runs: chosen by name, resumed bit for bit, compared."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quickstudy.agents.objectives.discovered import Discovered, Provenance
from quickstudy.agents.objectives.drift_objective import DPO
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.agents.objectives.ppo import PPO
from quickstudy.agents.objectives.schedule import Schedule, ScheduleConfig
from quickstudy.experiments.compare import training_run
from quickstudy.experiments.compare_config import Arena, CompareConfig, Contender
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.training import Training

TINY = TrainConfig(
    family="PointGoal",
    frames=256,
    worlds=8,
    episode_length=4,
    episodes_per_trial=2,
    objective="dpo",
)
"""4 updates of 64 frames."""


@pytest.fixture(params=["drift", "schedule"])
def rule(request, tmp_path) -> Path:
    """A rule that changes over a life, in a file."""
    networks = {
        "drift": LearnedDrift(LearnedDriftConfig()),
        "schedule": Schedule(ScheduleConfig(entropy_coefficient=0.05)),
    }
    network = networks[request.param]
    wave_M = torch.linspace(-3.0, 4.0, network.layout.num_parameters).sin()
    origin = Provenance("test", (0,), 0, {})
    path = tmp_path / "rule.json"
    Discovered(request.param, network, network.first_rule(0) + wave_M, origin).save(path)
    return path


def weights(training: Training) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in training.agent.parameters()])


def test_runs_learn_by_ppo_unless_told_otherwise():
    plain = Training(resolve(replace(TINY, objective="ppo")))
    assert TrainConfig().objective == "ppo"
    assert type(plain.learner.objective) is PPO
    assert type(Training(resolve(TINY)).learner.objective) is DPO


def test_a_learned_objective_is_resumed_bit_for_bit(rule):
    """Stopped after the second of four updates: it goes on at n/N = ½."""
    config = resolve(replace(TINY, objective=f"discovered:{rule}"))
    whole, first = Training(config), Training(config)
    for _ in range(2):
        whole.update()
        first.update()
    state = first.state_dict()
    second = Training(TrainConfig.from_dict(json.loads(json.dumps(state["config"]))))
    second.load_state_dict(state)
    for _ in range(2):
        expected, found = whole.update().learning, second.update().learning
        assert found == expected
    assert torch.equal(weights(whole), weights(second))
    assert second.finished


def test_a_longer_life_is_another_life(rule):
    """The first update is the same only if n/N is; N counts from the second on."""
    config = replace(TINY, objective=f"discovered:{rule}")
    short, long = (Training(resolve(replace(config, frames=f))) for f in (256, 512))
    for training in (short, long):
        training.update()
    assert torch.equal(weights(short), weights(long))
    for training in (short, long):
        training.update()
    assert not torch.equal(weights(short), weights(long))


def test_a_checkpoint_keeps_the_rule(rule):
    training = Training(resolve(replace(TINY, objective=f"discovered:{rule}")))
    kept = training.state_dict()["learner"]["objective"]["rule_M"]
    assert torch.equal(kept, Discovered.load(rule).rule_M)


def test_a_relative_path_is_kept_absolute(rule, monkeypatch):
    monkeypatch.chdir(rule.parent)
    config = resolve(replace(TINY, objective="discovered:rule.json"))
    assert config.objective == f"discovered:{rule}"


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("dpoo", "Unknown objective 'dpoo'. Did you mean 'dpo'.*Options: ppo, a2c, dpo"),
        ("discovered:nowhere.json", "no such file.*nowhere"),
    ],
)
def test_unknown_objectives_are_refused(objective, message):
    with pytest.raises(ValueError, match=message):
        resolve(replace(TINY, objective=objective))


def test_runs_from_before_there_was_a_choice_learn_by_ppo():
    record = resolve(replace(TINY, objective="ppo")).to_dict()
    del record["objective"]
    assert TrainConfig.from_dict(record).objective == "ppo"


@pytest.mark.parametrize(
    ("text", "contender"),
    [
        ("rl2@dpo", Contender("rl2", objective="dpo")),
        ("s5@a2c+plr:regret", Contender("s5", "plr", "regret", "a2c")),
        ("rl2@ppo", Contender("rl2")),
    ],
)
def test_contenders_may_learn_by_other_objectives(text, contender):
    assert Contender.parse(text) == contender
    assert str(contender) == text.removesuffix("@ppo")


def test_contenders_are_trained_by_their_objectives(rule):
    config = CompareConfig(("ProbeArm/1x4",), ("markov@dpo", f"markov@discovered:{rule}"))
    dpo, found = (training_run(config, Arena.parse("ProbeArm/1x4"), a, 0) for a in config.agents)
    assert dpo.path.name == "ProbeArm-1x4-markov-dpo-1000000-s0"
    assert "--objective dpo" in " ".join(dpo.command)
    assert f"--objective discovered:{rule}" in " ".join(found.command)
    assert found.path.parent == config.folder


def test_a_contenders_unknown_objective_is_refused():
    with pytest.raises(ValueError, match="Unknown objective 'dop'"):
        Contender.parse("rl2@dop")
