"""`discover report`: a file of each kind through the command, and what is refused."""

import json
import math
import sys

import pytest
import torch

from quickstudy.agents.objectives import registry
from quickstudy.agents.objectives.discovered import Discovered, Provenance
from quickstudy.agents.objectives.dpo_family import DPOFamily, DPOFamilyConfig
from quickstudy.agents.objectives.drift_objective import LearnedDriftObjective
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.agents.objectives.lpg import LPG, LPGConfig
from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.agents.objectives.schedule import Schedule, ScheduleConfig
from quickstudy.experiments.cli import main
from quickstudy.experiments.discovery import report as report_module
from quickstudy.experiments.discovery.findings import moments, spelled, without_nan

ORIGIN = Provenance("quickstudy discover x", (0, 1), 12_000, {"torch": "2"})
NETWORKS = {
    "drift": LearnedDrift(LearnedDriftConfig(hidden_size=3, entropy_coefficient=0.01)),
    "dpo": DPOFamily(DPOFamilyConfig()),
    "lpg": LPG(LPGConfig(width=3, prediction_size=4, embedding_width=2)),
    "schedule": Schedule(ScheduleConfig(knots=3)),
}


def write(path, kind):
    network = NETWORKS[kind]
    rule_M = network.first_rule(2) + 0.2 * torch.arange(network.layout.num_parameters).sin()
    Discovered(kind, network, rule_M, ORIGIN).save(path)
    return path


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["quickstudy", "discover", "report", *map(str, arguments)])
    main()


@pytest.mark.parametrize("kind", ["drift", "lpg", "schedule"])
def test_a_rule_of_each_kind(kind, tmp_path, monkeypatch, capsys):
    call(monkeypatch, write(tmp_path / "x.json", kind), "--folder", tmp_path / "o", "--updates", 3)
    printed = capsys.readouterr().out
    assert kind in printed
    assert "quickstudy discover x" in printed
    record = json.loads((tmp_path / "o" / "report.json").read_text())
    assert (record["kind"], record["updates"]) == (kind, 3)
    assert (tmp_path / "o" / f"{kind}.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def no_pictures(monkeypatch):
    """They take seconds."""
    monkeypatch.setattr(report_module, "has_matplotlib", lambda: False)


@pytest.mark.usefixtures("no_pictures")
def test_the_formula_is_printed_and_its_rule_can_be_trained_by(tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.json"
    Discovered("dpo", NETWORKS["dpo"], torch.zeros(4), ORIGIN).save(path)
    call(monkeypatch, path, "--folder", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "A ≥ 0: D = ReLU((r−1)A − α·tanh((r−1)A/α)), α = 2\n" in printed
    assert "A < 0: D = ReLU(log(r)A − β·tanh(log(r)A/β)), β = 0.6\n" in printed
    distilled = tmp_path / "out" / "distilled.json"
    found = Discovered.load(distilled)
    assert (found.kind, found.provenance.seeds) == ("dpo", (0, 1))
    assert found.provenance.environment_steps == 12_000
    assert found.provenance.notes["distilled_from"] == "quickstudy discover x"
    objective = registry.make_objective(f"discovered:{distilled}", PPOConfig())
    assert isinstance(objective, LearnedDriftObjective)


@pytest.mark.usefixtures("no_pictures")
def test_a_distilled_rule_keeps_the_entropy_weight(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "x.json", "drift")
    call(monkeypatch, path, "--folder", tmp_path / "out")
    teacher, student = Discovered.load(path), Discovered.load(tmp_path / "out" / "distilled.json")
    wanted = teacher.network.entropy_coefficient(teacher.rule_M)
    assert float(student.network.entropy_coefficient(student.rule_M)) == float(wanted)


def test_where_things_are_looked_for_and_written(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    run.mkdir()
    write(run / "rule.json", "schedule")
    (run / "evaluation.json").write_text('{"figures": {}}')
    call(monkeypatch, run)
    assert "every agent broke" in capsys.readouterr().out
    assert (run / "report" / "report.json").is_file()
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine.json", "schedule")
    call(monkeypatch, "mine.json")
    assert (tmp_path / "mine-report" / "schedule.png").is_file()


@pytest.mark.usefixtures("no_pictures")
def test_without_matplotlib_there_are_no_pictures(tmp_path, monkeypatch, capsys):
    call(monkeypatch, write(tmp_path / "x.json", "schedule"), "--folder", tmp_path / "out")
    assert "pip install 'quickstudy[plots]'" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.json"], "nowhere.json"),
        (["{tmp}"], "holds no rule.json"),
        (["{tmp}/bad.json"], "bad.json is no usable discovered rule"),
        (["{tmp}/x.json", "--updates", "0"], "updates must be an integer of at least 1"),
        (["{tmp}/x.json", "--folder", "{tmp}/no/where"], "there is no folder"),
        (["{tmp}/x.json", "--folder", "{tmp}/x.json"], "is no folder"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    write(tmp_path / "x.json", "schedule")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_moments_of_a_life():
    """0.98·50 = 49; of two updates, 0.25 and 0.5 are updates 0 and 1."""
    assert [int(moment.updates) for moment in moments(50)] == [0, 12, 25, 37, 49]
    assert [int(moment.updates) for moment in moments(2)] == [0, 1]
    assert [int(moment.updates) for moment in moments(1)] == [0]


def test_figures_in_words_and_in_json():
    assert [spelled(value) for value in (1.23456, 3e-17, float("nan"))] == ["1.23", "0", "–"]
    record = {"a": [1.0, float("nan")], "b": ({"c": float("inf")}, "x", None, 3)}
    assert without_nan(record) == {"a": [1.0, None], "b": [{"c": None}, "x", None, 3]}


@pytest.mark.usefixtures("no_pictures")
def test_a_schedule_by_hand(tmp_path, monkeypatch, capsys):
    """At its knots the entropy's weight is e⁰, e¹ and e⁻¹ times 0.01. So the largest, at n/N = 0.5,
    is 0.0271828; the smallest is that of 0.98, with the exponent 1 − 2·0.48/0.5 = −0.92.
    """
    rule_M = torch.tensor([0.0, 1.0, -1.0, 0.0, 0.0, 0.0])
    Discovered("schedule", NETWORKS["schedule"], rule_M, ORIGIN).save(tmp_path / "x.json")
    call(monkeypatch, tmp_path / "x.json", "--folder", tmp_path / "out", "--updates", "100")
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    weights = record["schedule"]["entropy_coefficient"]
    assert record["amplitude"]["entropy_coefficient_ratio"] == pytest.approx(
        math.exp(1.92), rel=1e-4
    )
    assert max(weights) == pytest.approx(0.0271828, rel=1e-4)
    assert record["amplitude"]["discount_range"] == 0.0
