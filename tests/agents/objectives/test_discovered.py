"""Files of discovered rules: there and back, and what is refused."""

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch

from quickstudy.agents.objectives import discovered
from quickstudy.agents.objectives.discovered import (
    Discovered,
    Provenance,
    find_discovered,
    shipped_names,
)
from quickstudy.agents.objectives.dpo_family import DPOFamily, DPOFamilyConfig
from quickstudy.agents.objectives.drift_check import check_drift
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.lpg import LPG, LPGConfig
from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.agents.objectives.registry import make_objective, objective_names, portable_name
from quickstudy.agents.objectives.schedule import Schedule, ScheduleConfig

ORIGIN = Provenance("quickstudy discover x", (0, 1), 12_000, {"torch": "2"}, {"returns": [1.5]})
NETWORKS = {
    "drift": LearnedDrift(LearnedDriftConfig(hidden_size=3, time="fraction-log")),
    "dpo": DPOFamily(DPOFamilyConfig(entropy_coefficient=0.02)),
    "lpg": LPG(LPGConfig(width=2, prediction_size=3, time="none")),
    "schedule": Schedule(ScheduleConfig(knots=4)),
}


def write(path: Path, **changes) -> Path:
    """A drift's good file, then changed; None takes an entry away."""
    network = NETWORKS["drift"]
    Discovered("drift", network, network.first_rule(5), ORIGIN).save(path)
    record = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in record.items() if v is not None}))
    return path


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, kind):
    network = NETWORKS[kind]
    size = network.layout.num_parameters
    rule_M = torch.linspace(-1.0, 1.0, size).exp() / 3.0
    rule_M[0] = 1e-42  # a denormal
    Discovered(kind, network, rule_M, ORIGIN).save(tmp_path / "rule.json")
    found = Discovered.load(tmp_path / "rule.json")
    assert torch.equal(found.rule_M, rule_M)
    assert found.rule_M.dtype == torch.float32
    assert found.provenance == ORIGIN
    assert found.kind == kind
    assert type(found.network) is type(network)
    assert found.network.config == network.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "its format is 2, this quickstudy reads 1"),
        ({"format": None}, "not written by quickstudy"),
        ({"rule": None, "sha256": None}, "it lacks rule, sha256"),
        ({"kind": "drit"}, "Unknown kind 'drit'. Did you mean 'drift'"),
        ({"kind": ["drift"]}, "Unknown kind"),
        ({"kind": "lpg"}, "config does not fit its kind lpg"),
        ({"config": {"width": 3}}, "config does not fit its kind drift"),
        ({"config": [1]}, "config does not fit"),
        ({"config": {"time": "fractoin"}}, "Unknown time features 'fractoin'. Did you mean 'frac"),
        ({"config": {"hidden_size": 4, "time": "none"}}, r"shape \(75,\), it says 75 .* takes 36"),
        ({"config": {"hidden_size": "3"}}, "config does not fit"),
        ({"num_parameters": 74}, "it says 74"),
        ({"num_parameters": [75]}, r"it says \[75\]"),
        ({"rule": [0.0] * 75}, "does not match its sha256"),
        ({"rule": "much"}, "not a list of numbers"),
        ({"rule": [[0.0]]}, r"shape \(1, 1\)"),
        ({"provenance": {"command": "x"}}, "provenance is incomplete"),
    ],
)
def test_bad_files_are_refused_by_name_and_reason(tmp_path, changes, message):
    path = write(tmp_path / "bad.json", **changes)
    with pytest.raises(ValueError, match=r"bad\.json") as refused:
        Discovered.load(path)
    assert refused.match(message)


def test_truncated_files_and_others_are_refused(tmp_path):
    path = write(tmp_path / "rule.json")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"rule\.json is damaged"):
        Discovered.load(path)
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"rule\.json is no usable .* not written by quickstudy"):
        Discovered.load(path)
    with pytest.raises(FileNotFoundError):
        Discovered.load(tmp_path / "none.json")


def test_a_rule_that_is_not_finite_is_refused(tmp_path):
    network = NETWORKS["drift"]
    rule_M = network.first_rule(0)
    rule_M[3] = math.inf
    with pytest.raises(ValueError, match="JSON compliant"):
        Discovered("drift", network, rule_M, ORIGIN).save(tmp_path / "rule.json")
    assert not (tmp_path / "rule.json").exists()


def test_shipped_rules_go_by_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(discovered, "SHIPPED", tmp_path)
    path = write(tmp_path / "ta-lpo.json")
    assert shipped_names() == ["ta-lpo"]
    assert find_discovered("ta-lpo") == path
    assert "discovered:ta-lpo" in objective_names()
    assert portable_name("discovered:ta-lpo") == "discovered:ta-lpo"
    assert make_objective("discovered:ta-lpo", PPOConfig()).rule_M.shape == (75,)
    with pytest.raises(ValueError, match=r"'ta-lop'\. Did you mean 'ta-lpo'"):
        find_discovered("ta-lop")


def test_what_is_shipped_can_be_loaded():
    assert "ta-lpo" in shipped_names()
    for name in shipped_names():
        found = Discovered.load(find_discovered(name))
        assert found.provenance.command.startswith("quickstudy discover"), name


def test_the_shipped_drift_is_one_and_changes_over_a_life():
    found = Discovered.load(find_discovered("ta-lpo"))
    drift = partial(found.network, found.rule_M.double())
    assert check_drift(drift).passes()
    log_ratio_R = torch.linspace(-0.6, 0.6, 13, dtype=torch.float64)
    total, advantage_R = torch.tensor(100), torch.ones_like(log_ratio_R)
    young, old = (
        drift(log_ratio_R, advantage_R, Lifetime(torch.tensor(n), total)) for n in (0, 99)
    )
    assert (young - old).abs().max() > 0.05


def test_a_path_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "mine.json")
    assert portable_name("discovered:mine.json") == f"discovered:{path}"
    assert portable_name("dpo") == "dpo"
