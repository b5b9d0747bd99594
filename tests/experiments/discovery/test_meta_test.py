"""Meta-tests: equal tuning, equal training, and what is said of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from quickstudy.agents.objectives.discovered import Discovered, Provenance
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.agents.objectives.lpg import LPG, LPGConfig
from quickstudy.experiments.compare import Row
from quickstudy.experiments.compare_config import Arena
from quickstudy.experiments.discovery import meta_test as meta_test_module
from quickstudy.experiments.discovery.meta_test import (
    TUNING_SEED,
    Contest,
    MetaTest,
    best,
    figures,
    late_return,
    meta_test,
    training_run,
)
from quickstudy.experiments.discovery.meta_test_table import plot_meta_test, table
from quickstudy.experiments.run_folder import MetricsLog
from quickstudy.experiments.statistics import Interval

ARENA = Arena.parse("ProbeArm/1x4")
ORIGIN = Provenance("quickstudy discover", (0,), 1000, {}, {})


def saved_rule(path, change=0.1, network=None):
    network = network or LearnedDrift(LearnedDriftConfig(hidden_size=2))
    kind = "drift" if isinstance(network, LearnedDrift) else "lpg"
    Discovered(kind, network, network.first_rule(0) + change, ORIGIN).save(path)
    return str(path)


def tiny(folder, **changes):
    small = MetaTest(
        families=("ProbeArm/1x4",),
        against=("ppo", "generation-0"),
        rates=(1e-3, 1e-2),
        seeds=2,
        frames=64,
        tasks=6,
        folder=folder,
        device="cpu",
    )
    return replace(small, **changes)


@pytest.fixture
def asked(monkeypatch):
    """Nothing is trained; the list of commands that would have been run."""
    commands = []

    def train_all(runs, jobs, console):
        commands.extend(run.arguments for run in runs)

    monkeypatch.setattr(meta_test_module, "train_all", train_all)
    monkeypatch.setattr(meta_test_module, "late_return", lambda *_: 0.0)
    monkeypatch.setattr(meta_test_module, "row_of", lambda *_: row(1.0, 2.0))
    return commands


def quiet():
    return Console(record=True, width=200)


def options(command):
    words = list(command[3:])
    return dict(zip(words[::2], words[1::2], strict=True))


# --- tuning -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "chosen"),
    [
        ({3e-3: 5.0, 3e-4: 2.0, 1e-3: 4.0}, 3e-3),
        ({3e-3: -5.0, 3e-4: -2.0}, 3e-4),
        ({3e-3: 5.0, 1e-3: 5.0}, 1e-3),
        ({3e-4: math.nan, 1e-3: -9.0}, 1e-3),
        ({3e-4: math.nan, 1e-3: -math.inf}, 3e-4),
    ],
)
def test_the_best_learning_rate_is_that_of_the_highest_return(late, chosen):
    assert best(late) == chosen


def test_late_returns_by_hand(tmp_path):
    """Of 5 updates the last quarter are 2 (rounded up): (30 + 50)/2; other rows do not count."""
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for update, value in enumerate((10.0, 10.0, 10.0, 30.0, 50.0), start=1):
        row = {"adapt/return_ep1": -1.0, "adapt/return_ep2": value}
        log.append(update, 10 * update, row)
    assert late_return(tmp_path, 2) == 40.0


# --- a whole meta-test ------------------------------------------------------------------------


def test_every_objective_is_tuned_and_trained_alike(tmp_path, monkeypatch, asked):
    # The second rate is the rule's best; the others', whose returns are equal, are the lower one.
    monkeypatch.setattr(
        meta_test_module, "late_return", lambda path, _: float("rule-" in path.name) * rate(path)
    )
    result = meta_test(saved_rule(tmp_path / "rule.json"), tiny(tmp_path / "runs"), quiet())
    runs = [options(command) for command in asked]
    for name in ("rule-", "ppo", "generation-0-"):
        own = [run for run in runs if name in run["--objective"]]
        tuning = [run for run in own if run["--seed"] == str(TUNING_SEED)]
        assert [run["--learner.learning-rate"] for run in tuning] == ["0.001", "0.01"]
        compared = [run for run in own if run not in tuning]
        assert [run["--seed"] for run in compared] == ["0", "1"]
        chosen = "0.01" if name == "rule-" else "0.001"
        assert {run["--learner.learning-rate"] for run in compared} == {chosen}
    assert len(runs) == 12
    assert {run["--frames"] for run in runs} == {"64"}
    assert [arm["learning_rate"] for arm in result["arms"]] == [1e-2, 1e-3, 1e-3]
    assert result["arms"][1]["tuning"] == {"0.001": 0.0, "0.01": 0.0}


def test_a_meta_test_from_start_to_end_and_once_more(tmp_path, trained_here):
    rule, config = (
        saved_rule(tmp_path / "rule.json"),
        tiny(tmp_path / "runs", rates=(1e-3,), seeds=1),
    )
    console = quiet()
    result = meta_test(rule, config, console)
    assert len(trained_here) == 3, "A single rate is not tried."
    arms = {arm["objective"]: arm for arm in result["arms"]}
    assert list(arms) == ["rule", "ppo", "generation-0"]
    assert arms["rule"]["behind_rule"] is None
    # Generation 0 is PPO, up to rounding.
    assert arms["generation-0"]["mean_by_seed"] == pytest.approx(arms["ppo"]["mean_by_seed"])
    assert arms["generation-0"]["tuning"] == {"0.001": None}
    assert "generation-0" in console.export_text()
    json.dumps(result)

    trained_here.clear()
    again = meta_test(rule, config, quiet())
    assert again == result
    assert trained_here == []


def rate(path):
    return float(path.name.partition("-lr")[2].rpartition("-64-")[0])


def test_another_rule_is_trained_anew_and_the_first_one_kept(tmp_path, asked):
    config = tiny(tmp_path / "runs", against=(), rates=(1e-3,), seeds=1)
    for change in (0.1, 0.2):
        meta_test(saved_rule(tmp_path / "rule.json", change), config, quiet())
    runs = [options(command) for command in asked]
    objectives = {run["--objective"] for run in runs}
    assert len({run["--run-dir"] for run in runs}) == 2
    assert len(objectives) == 2
    for objective in objectives:
        assert Discovered.load(Path(objective.removeprefix("discovered:"))).kind == "drift"


def test_other_rules_can_be_compared_with(tmp_path, asked):
    other = "discovered:" + saved_rule(tmp_path / "other.json", change=0.3)
    config = tiny(tmp_path / "runs", against=(other,), rates=(1e-3,), seeds=1)
    result = meta_test(saved_rule(tmp_path / "rule.json"), config, quiet())
    assert [arm["objective"] for arm in result["arms"]] == ["rule", other]
    names = [options(command)["--run-dir"].rpartition("/")[2] for command in asked]
    assert sum("-other-" in name for name in names) == 1


def test_a_run_is_named_after_all_that_makes_it():
    contest = Contest(ARENA, "rl2", "rule", "discovered:/somewhere/rule-0123abcd.json")
    run = training_run(tiny(folder=Path("f")), contest, 3e-4, 7)
    assert run.path.name == "ProbeArm-1x4-rl2-rule-0123abcd-lr0.0003-64-s7"
    run = training_run(tiny(Path("f"), train_options={"worlds": "4"}), contest, 3e-4, 7)
    assert run.path.name == "ProbeArm-1x4-rl2-rule-0123abcd-lr0.0003-64-worlds-4-s7"
    assert "--worlds 4" in " ".join(run.command)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": ("PointGaol",)}, "Did you mean 'PointGoal'"),
        ({"families": ()}, "families must not be empty"),
        ({"agents": ("rl3",)}, "Did you mean 'rl2'"),
        ({"train_options": {"wrlds": "2"}}, "Did you mean 'worlds'"),
        ({"train_options": {"learner.learning-rate": "1"}}, "candidates as rates"),
        ({"against": ("ppoo",)}, "Did you mean 'ppo'"),
        ({"rates": ()}, "rates must not be empty"),
        ({"rates": (0.0,)}, "rates must be above 0"),
        ({"seeds": 0}, "seeds"),
        ({"frames": 3}, "less than one trial of ProbeArm/1x4"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(tmp_path, asked, changes, message):
    rule = saved_rule(tmp_path / "rule.json")
    with pytest.raises(ValueError, match=message):
        meta_test(rule, tiny(tmp_path / "runs", **changes), quiet())
    assert not (tmp_path / "runs").exists()
    assert asked == []


def test_a_rule_that_these_agents_cannot_follow_is_refused(tmp_path, asked):
    rule = saved_rule(tmp_path / "lpg.json", network=LPG(LPGConfig()))
    with pytest.raises(ValueError, match="tells an agent what to predict"):
        meta_test(rule, tiny(tmp_path / "runs"), quiet())
    assert asked == []


# --- what is said of it -----------------------------------------------------------------------


def row(*by_seed):
    interval = Interval(sum(by_seed) / len(by_seed), min(by_seed), max(by_seed))
    four = (interval, interval, interval, interval)
    return Row(str(ARENA), "markov", 100, *four, list(by_seed), 1.0)


def made_up():
    contests = [Contest(ARENA, "markov", name, name) for name in ("rule", "ppo")]
    tuning = {contest: {1e-3: 1.0, 3e-3: 2.0} for contest in contests}
    rows = dict(zip(contests, (row(3.0, 5.0), row(1.0, 1.0)), strict=True))
    config = {"frames": 64, "seeds": 2, "tasks": 6}
    return {"config": config} | figures(rows, tuning)


def test_the_rules_lead_is_taken_seed_by_seed():
    """Differences 2 and 4: mean 3, standard deviation √2, t = 12.7062 at 1 degree of freedom."""
    behind = made_up()["arms"][1]["behind_rule"]
    assert behind["point"] == 3.0
    assert behind["low"] == pytest.approx(3.0 - 12.7062, abs=1e-3)
    assert behind["high"] == pytest.approx(3.0 + 12.7062, abs=1e-3)


def test_the_table_has_the_best_first():
    console = quiet()
    console.print(table(str(ARENA), made_up()))
    lines = console.export_text().splitlines()
    first, second = (next(n for n, x in enumerate(lines) if w in x) for w in ("rule  ", "ppo"))
    assert first < second
    assert "0.003 (edge)" in lines[first]


@pytest.mark.parametrize(
    ("tried", "shown"),
    [([1e-3, 3e-3], "0.001 (edge)"), ([3e-4, 1e-3, 3e-3], "0.001"), ([1e-3], "0.001")],
)
def test_a_learning_rate_at_the_edge_of_those_tried_says_so(tried, shown):
    result = made_up()
    for arm in result["arms"]:
        arm |= {"learning_rate": 1e-3, "tuning": {f"{rate:g}": 0.0 for rate in tried}}
    console = quiet()
    console.print(table(str(ARENA), result))
    row = next(line for line in console.export_text().splitlines() if "ppo" in line)
    assert f" {shown} " in row


def test_a_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    plot_meta_test(made_up(), tmp_path / "meta.png")
    assert (tmp_path / "meta.png").stat().st_size > 5000
