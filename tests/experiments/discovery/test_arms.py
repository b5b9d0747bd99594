"""Arms of a study: nothing is discovered twice, what was cut off goes on, steps are equal."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.discovery.arms import Arm, Search, described, discover_arms, lpg_arm
from quickstudy.experiments.discovery.config import resolve
from quickstudy.experiments.discovery.discovery import Discovery

SILENT = Console(quiet=True)
LIVES = {"min_updates": "2", "max_updates": "5"}
ES = Arm("es", "noisy-quadratic", Search(None, {"pairs": "6", "shard": "4"}), LIVES)
PES = Arm("pes", "noisy-quadratic", Search("pes", {"pairs": "3", "window": "2"}), LIVES)
STEPS = 400


def run(folder, arms=(ES, PES), seeds=(0, 1), steps=STEPS, processes=1):
    return discover_arms(arms, seeds, steps, folder, processes, SILENT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arms")
    return folder, run(folder)


def same(left, right):
    return left.keys() == right.keys() and all(
        torch.equal(a.rule_M, b.rule_M) and (a.steps, a.generations) == (b.steps, b.generations)
        for arm in left
        for a, b in zip(left[arm], right[arm], strict=True)
    )


def test_all_arms_spend_the_same_steps(finished):
    """The budget, and less than one generation more: of 12 lives of at most 5 updates and a score
    (72 steps), or of 6 windows of at most 2 and a score (18).
    """
    spent = described(finished[1])
    assert all(STEPS <= steps < STEPS + 72 for steps in spent["es"]["steps"])
    assert all(STEPS <= steps < STEPS + 18 for steps in spent["pes"]["steps"])
    assert max(spent["es"]["generations"]) < min(spent["pes"]["generations"])


def test_a_finding_is_what_the_discovery_of_its_seed_began_and_ended_with(finished):
    folder, findings = finished
    for seed, found in enumerate(findings["es"]):
        kept = json.loads((folder / f"es-s{seed}" / "config.json").read_text())
        assert (kept["seed"], kept["steps"]) == (seed, STEPS)
        state = Checkpoints(folder / f"es-s{seed}" / "checkpoints").load_latest()[0]
        assert torch.equal(found.rule_M, state["rule"])
        assert torch.equal(found.first_M, Discovery(ES.config(seed, STEPS)).centre)
        assert not torch.equal(found.first_M, found.rule_M)
    assert not torch.equal(findings["es"][0].rule_M, findings["es"][1].rule_M)


def test_what_is_finished_is_not_discovered_again(finished, monkeypatch):
    folder, findings = finished
    monkeypatch.setattr(Discovery, "next_generation", lambda *_: pytest.fail("again"))
    monkeypatch.setattr(Discovery, "judge", lambda *_: pytest.fail("judged again"))
    assert same(run(folder, processes=2), findings)
    assert run(folder, (PES,), (1,))["pes"][0].steps == findings["pes"][1].steps


def test_a_study_that_was_stopped_goes_on(finished, tmp_path, monkeypatch):
    """A signal in generation 12 of the second discovery: the first is whole, the others follow."""
    with monkeypatch.context() as patch:
        stop_in_generation(12, tmp_path / "pes-s0", patch)
        with pytest.raises(SystemExit):
            run(tmp_path)
    assert (tmp_path / "es-s0" / "evaluation.json").exists()
    assert not (tmp_path / "pes-s0" / "evaluation.json").exists()
    assert not (tmp_path / "es-s1").exists()
    assert Checkpoints(tmp_path / "pes-s0" / "checkpoints").load_latest()[0]["generation"] == 12
    assert same(run(tmp_path), finished[1])


def stop_in_generation(number, folder, patch):
    lived = Discovery.next_generation

    def until(self, workers):
        if folder.exists() and self.generation + 1 == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return lived(self, workers)

    patch.setattr(Discovery, "next_generation", until)


def test_a_crash_before_the_first_checkpoint_costs_no_more_than_that(finished, tmp_path, patched):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path, (ES,), (0,))
    patched.undo()
    assert same(run(tmp_path, (ES,), (0,)), {"es": finished[1]["es"][:1]})


@pytest.fixture
def patched(monkeypatch):
    lived = Discovery.next_generation

    def until(self, workers):
        if self.generation == 4:
            raise RuntimeError("power cut")
        return lived(self, workers)

    monkeypatch.setattr(Discovery, "next_generation", until)
    return monkeypatch


def test_lpg_arms_differ_in_what_they_show_of_time():
    lives = [resolve(lpg_arm(time, LIVES).config(0, 1)).lives for time in ("none", "raw")]
    assert [found.rule.network.time for found in lives] == ["none", "raw"]
    assert replace(lives[0], rule=lives[1].rule) == lives[1]
    assert lives[0].max_updates == 5


# --- mistakes ---------------------------------------------------------------------------------


def test_a_discovery_of_another_configuration_is_refused(finished):
    with pytest.raises(ValueError, match="es-s0 holds a discovery with another steps: choose"):
        run(finished[0], steps=STEPS + 1)
    other = replace(ES, search=Search(None, {"pairs": "5"}))
    with pytest.raises(ValueError, match="another estimator_options"):
        run(finished[0], (other,))


def test_a_mistake_in_any_arm_is_named_before_anything_is_discovered(tmp_path):
    wrong = replace(PES, name="wrong", search=Search("pess"))
    with pytest.raises(ValueError, match=r"'pess'\. Did you mean 'pes'"):
        run(tmp_path, (ES, wrong))
    assert list(tmp_path.iterdir()) == []
