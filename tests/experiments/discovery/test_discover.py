"""Discoveries: what they leave behind, and that stopping, going on and processes change nothing."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from quickstudy.agents.lifetimes.noisy_quadratic import NoisyQuadraticConfig
from quickstudy.agents.objectives.discovered import Discovered
from quickstudy.experiments.benchmarks.record import record
from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.discovery import discover as discover_module
from quickstudy.experiments.discovery import discovery as discovery_module
from quickstudy.experiments.discovery import presets
from quickstudy.experiments.discovery.config import DiscoverConfig, build_estimator
from quickstudy.experiments.discovery.discover import discover, resume
from quickstudy.experiments.discovery.discovery import Discovery, Verdict
from quickstudy.experiments.discovery.estimators import ESTIMATORS
from quickstudy.experiments.discovery.jobs import estimate_jobs
from quickstudy.experiments.discovery.keys import Purpose, keys
from quickstudy.experiments.discovery.workers import Workers

SMALL = DiscoverConfig(
    preset="noisy-quadratic",
    lives={"min_updates": "2", "max_updates": "5"},
    estimator_options={"pairs": "6", "shard": "4"},
    generations=12,
    centre_lives=5,
    final_lives=7,
    checkpoint_interval=5,
)
SMALL_FLAGS = (
    "noisy-quadratic --lives min_updates 2 max_updates 5 --estimator-options pairs 6 shard 4 "
    "--generations 12 --centre-lives 5 --final-lives 7 --checkpoint-interval 5"
).split()
SILENT = Console(quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run."""
    return discover(SMALL, tmp_path_factory.mktemp("run") / "whole", SILENT)


def rows(run: Path):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def final_state(run: Path):
    return Checkpoints(run / "checkpoints").load_latest()[0]


def events_of(run: Path, kind: str) -> EventAccumulator:
    """All of a kind that TensorBoard shows."""
    return EventAccumulator(str(run), size_guidance={kind: 0}).Reload()


def assert_same_run(run: Path, reference: Path):
    assert (run / "metrics.jsonl").read_bytes() == (reference / "metrics.jsonl").read_bytes()
    left, right = final_state(run), final_state(reference)
    assert torch.equal(left["rule"], right["rule"])
    assert str(left) == str(right)
    evaluations = [json.loads((r / "evaluation.json").read_text()) for r in (run, reference)]
    assert evaluations[0] == evaluations[1]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "quickstudy.experiments.cli", *arguments]


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        command("discover", *SMALL_FLAGS, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_rows(run: Path, count: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        metrics = run / "metrics.jsonl"
        if metrics.exists() and metrics.read_text().count("\n") >= count:
            return
        time.sleep(0.001)


# --- what a run leaves behind -----------------------------------------------------------------


def test_a_run_leaves_everything_behind(finished):
    assert json.loads((finished / "config.json").read_text())["preset"] == "noisy-quadratic"
    assert [row["update"] for row in rows(finished)] == list(range(1, 13))
    last = rows(finished)[-1]
    names = "fitness broken gradient_norm rule_norm learning_rate".split()
    assert {f"discovery/{name}" for name in names} <= last.keys()
    assert last["centre/score_low"] < last["centre/score"] < last["centre/score_high"]
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert len(evaluation["scores"]) == len(evaluation["first_scores"]) == 7
    state = final_state(finished)
    assert (state["generation"], state["steps"]) == (12, last["frames"])


def test_tensorboard_shows_the_run(finished):
    events = events_of(finished, "scalars")
    assert len(events.Scalars("discovery/fitness")) == 12
    assert {"centre/score", "perf/steps_per_second"} <= set(events.Tags()["scalars"])
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_steps_are_counted(finished):
    """12 candidates cost their updates and a look each; so do the 5 lives of the centre."""
    lifetimes = NoisyQuadraticConfig(min_updates=2, max_updates=5).build()
    own = centre = 0
    for number, row in enumerate(rows(finished)):
        own += 2 * int((lifetimes.total(keys(0, Purpose.LIFE, number, 6)) + 1).sum())
        centre += int((lifetimes.total(keys(0, Purpose.CENTRE, number, 5)) + 1).sum())
        assert (row["frames"], row["centre/steps"]) == (own, centre)


def test_the_centre_is_scored_on_fresh_lives_before_the_step(finished):
    """The first row is of generation 0's rule, whatever the perturbations were."""
    lifetimes = NoisyQuadraticConfig(min_updates=2, max_updates=5).build()
    rule_5M = lifetimes.first_rule(0).expand(5, -1)
    scores = [
        lifetimes.live(rule_5M, keys(0, Purpose.CENTRE, number, 5)).score_P.mean()
        for number in range(2)
    ]
    assert rows(finished)[0]["centre/score"] == pytest.approx(float(scores[0]), rel=1e-12)
    assert scores[0] != scores[1]


def test_looking_more_often_changes_nothing_else(finished, tmp_path):
    other = discover(replace(SMALL, centre_lives=9, checkpoint_interval=4), tmp_path / "o", SILENT)
    assert torch.equal(final_state(other)["rule"], final_state(finished)["rule"])


def test_the_optimiser_is_adam_on_the_estimates(finished):
    """Written out for two generations (Kingma & Ba 2015, algorithm 1), float32."""
    config = replace(SMALL, generations=2)
    discovery = Discovery(config)
    rule, gradients = discovery.centre, []
    with Workers(partial(build_estimator, config), 1) as workers:
        for number in range(2):
            jobs = estimate_jobs(build_at(config, number).shards(discovery.centre))
            estimator = build_at(config, number)
            gradients.append(estimator.combine(workers.run(jobs)).gradient_M)
            discovery.next_generation(workers)
    first, second = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for number, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient.square()
        size = 0.05 * 0.999 ** (number - 1)
        whole = (first / (1 - 0.9**number)) / ((second / (1 - 0.999**number)).sqrt() + 1e-8)
        rule = rule + size * whole
    assert discovery.centre == pytest.approx(rule.float(), rel=1e-5)


def build_at(config, generation):
    estimator = build_estimator(config)
    estimator.generation = generation
    return estimator


# --- it finds what there is to find -----------------------------------------------------------


def test_a_discovery_raises_the_score(tmp_path):
    config = replace(SMALL, lives={"max_updates": "20"}, generations=40, final_lives=64)
    config = replace(config, estimator_options={"pairs": "16"})
    run = discover(config, tmp_path / "run", SILENT)
    lifetimes = NoisyQuadraticConfig(max_updates=20).build()
    key_n = keys(0, Purpose.CONCLUSION, 0, 64)
    before = lifetimes.live(lifetimes.first_rule(0).expand(64, -1), key_n).score_P
    evaluation = json.loads((run / "evaluation.json").read_text())
    after = torch.tensor(evaluation["scores"])
    assert after.mean() > before.mean() + 0.5
    assert sorted(evaluation["first_scores"]) == pytest.approx(sorted(before.tolist()))
    assert evaluation["figures"]["final/gain_low"] > 0.5


def test_a_gain_by_hand():
    """Of three lives one breaks under the final rule: gains 2 and 4, whose mean is 3."""
    verdict = Verdict(torch.tensor([3.0, math.nan, 4.0]), torch.tensor([1.0, 1.0, 0.0]), 10)
    figures = verdict.figures()
    assert figures["final/broken"] == 1
    assert figures["final/score"] == 3.5
    assert figures["first/score"] == pytest.approx(2 / 3)
    assert figures["final/gain"] == 3
    assert figures["final/gain_low"] < 3 < figures["final/gain_high"]


def test_nothing_is_said_of_agents_that_all_broke():
    figures = Verdict(torch.full((2,), math.nan), torch.zeros(2), 10).figures()
    assert "final/score" not in figures
    assert "final/gain" not in figures


# --- stopping and going on --------------------------------------------------------------------


def test_the_same_seed_twice_is_the_same_run(finished, tmp_path):
    assert_same_run(discover(SMALL, tmp_path / "again", SILENT), finished)


def test_another_seed_is_another_run(finished, tmp_path):
    other = discover(replace(SMALL, seed=1), tmp_path / "other", SILENT)
    assert not torch.equal(final_state(other)["rule"], final_state(finished)["rule"])


@pytest.mark.slow
def test_kill_minus_nine_and_resume_is_bit_equal(finished, tmp_path):
    """Killed at an arbitrary moment, with two processes at work, it ends as if nothing happened."""
    run = tmp_path / "killed"
    process = start("--run-dir", str(run), "--processes", "2")
    wait_for_rows(run, 3 + os.getpid() % 6, process)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL, process.stdout.read()
    assert_same_run(resume(run, SILENT, processes=1), finished)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_cut_off_in_the_middle_of_a_generation(name, tmp_path, monkeypatch):
    """In the seventh, with a checkpoint of the fifth: work is lost, and a row is taken back."""
    size = {"agents": "4"} if name in ("meta-gradient", "bmg") else {"pairs": "4"}
    config = replace(SMALL, estimator=name, estimator_options=size, generations=7)
    whole = discover(config, tmp_path / "whole", SILENT)
    calls = []

    def cut(results):
        calls.append(None)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return steps(results)

    steps = discovery_module._steps
    monkeypatch.setattr(discovery_module, "_steps", cut)
    with pytest.raises(KeyboardInterrupt):
        discover(config, tmp_path / "cut", SILENT)
    monkeypatch.undo()
    assert_same_run(resume(tmp_path / "cut", SILENT), whole)


def test_sigterm_saves_at_the_next_boundary(finished, tmp_path, monkeypatch):
    run, log = tmp_path / "stopped", discover_module._log

    def log_and_stop(discovery, *others):
        log(discovery, *others)
        if discovery.generation == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(discover_module, "_log", log_and_stop)
    with pytest.raises(SystemExit) as stopped:
        discover(SMALL, run, SILENT)
    monkeypatch.undo()
    assert stopped.value.code == 143
    assert final_state(run)["generation"] == len(rows(run)) == 4
    assert_same_run(resume(run, SILENT), finished)
    # TensorBoard shows each generation once, the last one before the stop, too.
    scalars = events_of(run, "scalars").Scalars("discovery/fitness")
    assert [point.step for point in scalars] == [row["frames"] for row in rows(run)]


def test_a_folder_of_another_command_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no discovery"):
        resume(tmp_path, SILENT)


# --- budgets ----------------------------------------------------------------------------------


def test_a_budget_of_steps_is_rounded_up_to_whole_generations(finished, tmp_path):
    spent = [row["frames"] for row in rows(finished)]
    config = replace(SMALL, generations=None, steps=spent[3] + 1)
    run = discover(config, tmp_path / "budget", SILENT)
    assert [row["frames"] for row in rows(run)] == spent[:5]


def test_the_nearer_limit_counts(finished, tmp_path):
    spent = [row["frames"] for row in rows(finished)]
    run = discover(replace(SMALL, steps=spent[1]), tmp_path / "both", SILENT)
    assert len(rows(run)) == 2


# --- processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["open-es", "pes", "meta-gradient"])
def test_results_do_not_depend_on_processes(name):
    size = {"agents": "8"} if name == "meta-gradient" else {"pairs": "6"}
    config = replace(SMALL, estimator=name, estimator_options=size | {"shard": "4"})
    outcomes = []
    for processes in (1, 2, 3):
        discovery = Discovery(config)
        with Workers(partial(build_estimator, config), processes) as workers:
            metrics = [discovery.next_generation(workers).metrics for _ in range(2)]
        outcomes.append((discovery.centre, metrics))
    for rule, metrics in outcomes[1:]:
        assert torch.equal(rule, outcomes[0][0])
        assert str(metrics) == str(outcomes[0][1])


def test_a_process_that_dies_is_said_so():
    discovery = Discovery(SMALL)
    with Workers(partial(build_estimator, SMALL), 2) as workers:
        discovery.next_generation(workers)
        for process in list(workers._pool._processes.values()):
            process.kill()
            process.join()
        with pytest.raises(ChildProcessError, match="--resume"):
            discovery.next_generation(workers)


# --- presets -----------------------------------------------------------------------------------


def one_pair(preset, lives):
    """The smallest discovery."""
    return DiscoverConfig(
        preset=preset,
        lives=lives,
        estimator_options={"pairs": "1"},
        generations=1,
        centre_lives=2,
        final_lives=2,
    )


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_makes_its_first_generation(name, tmp_path):
    """With lives of one update, and short episodes."""
    preset = presets.find_preset(name)
    short = {"min_updates": "1", "max_updates": "1", "num_updates": "1", "episode_length": "5"}
    lives = {k: v for k, v in short.items() if hasattr(preset.lives, k)}
    run = discover(one_pair(name, lives), tmp_path / "run", SILENT)
    assert rows(run)[0]["discovery/broken"] == 0
    if preset.rule is not None:
        found = Discovered.load(run / "rule.json")
        assert torch.equal(found.rule_M, final_state(run)["rule"])
        assert found.provenance.environment_steps > 0
        assert found.provenance.notes["lives"]["max_updates"] == "1"


def test_a_rule_names_the_command_that_began_its_discovery(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["quickstudy", "discover", "begun"])
    config = one_pair("lpg-small", {"min_updates": "1", "max_updates": "1"})
    run = discover(config, tmp_path / "run", SILENT)
    monkeypatch.setattr(sys, "argv", ["quickstudy", "discover", "--resume"])
    resume(run, console=SILENT)
    assert Discovered.load(run / "rule.json").provenance.command == "quickstudy discover begun"


def test_pictures_of_the_rule(tmp_path, monkeypatch):
    def draw(lives, rule_M):
        return {"rule/square": np.zeros((4, 6, 3), dtype=np.uint8)}

    drawn = replace(presets.find_preset("noisy-quadratic"), draw=draw)
    monkeypatch.setitem(presets.PRESETS, "noisy-quadratic", lambda: drawn)
    run = discover(replace(SMALL, generations=4, picture_interval=2), tmp_path / "run", SILENT)
    events = events_of(run, "images")
    # After generations 2 and 4, and at the end.
    assert [image.width for image in events.Images("rule/square")] == [6, 6, 6]


def test_a_finished_discovery_makes_one_record(finished):
    made = record(finished)
    assert made["config"]["preset"] == "noisy-quadratic"
    assert made["evaluation"] == json.loads((finished / "evaluation.json").read_text())
    assert [point["update"] for point in made["curve"]] == list(range(1, 13))
    assert made["curve"][0].keys() > {"discovery/fitness", "centre/score", "frames"}
    perf = [json.loads(line) for line in (finished / "perf.jsonl").read_text().splitlines()]
    seconds = sum(row["perf/seconds"] for row in perf)
    assert made["training_seconds"] == pytest.approx(seconds, abs=0.05)
