"""The study of Two-Colours: sums by hand, runs that go on, and mistakes."""

import io
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from quickstudy.experiments.discovery import online_run
from quickstudy.experiments.discovery.online import Online
from quickstudy.experiments.discovery.online_run import History, OnlineRun, live
from quickstudy.experiments.discovery.two_colours_plot import plot_two_colours
from quickstudy.experiments.discovery.two_colours_study import (
    TwoColoursStudy,
    differences,
    online,
    study,
    summary,
)
from quickstudy.experiments.run_folder import RunFolder

SILENT = Console(file=io.StringIO())
TINY = TwoColoursStudy(
    runs=("fixed", "mg-none", "bmg-reward"),
    steps=5 * 48 + 10,
    seeds=2,
    width=4,
    period=100,
    sweep=(0.0, 0.2),
    updates=1,
    bootstrap=2,
)


def same(first, second):
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


# --- sums -------------------------------------------------------------------------------------


def test_a_summary_by_hand():
    """Windows of 48 steps begin at 0, 48, 96, 144, 192 in periods of 100: 0, 0, 0, 1, 1.

    One stream earns 1, 2, 3, 4, 5 per step: 48 · 15 = 720 in all, 2 in the first period and 4.5 in
    the second. The other earns nothing. Two bins of 50: the later half of the periods is the
    second, whose windows begin 44 and 92 steps after the switch; the next falls into the latter.
    """
    reward_WP = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [5.0, 0.0]])
    history = History(reward_WP.double(), torch.tensor([[0.5, 0.1]]).expand(5, 2))
    found = summary(history, TINY)
    assert found["total"] == pytest.approx([720e-6, 0.0])
    assert found["total_interval"]["point"] == pytest.approx(360e-6)
    assert found["late"] == [4.5, 0.0]
    assert found["late_interval"]["point"] == 2.25
    assert [r["point"] for r in found["reward_by_period"]] == [1.0, 2.25]
    assert found["entropy_by_period"] == pytest.approx([0.3, 0.3])
    after = found["after_switch"]
    assert (after["steps"], after["reward"]) == ([0.0], [2.0])


def test_differences_by_hand():
    """Seed by seed: 3 − 1 and 5 − 2 make 2.5; the worse fixed weight is not compared with.

    By another measure the other one may be the worse.
    """
    totals = {
        "fixed-0": [1.0, 1.0],
        "fixed-0.2": [1.0, 2.0],
        "mg-none": [1.0, 1.0],
        "mg-reward": [3.0, 5.0],
        "bmg-reward": [4.0, 5.0],
    }
    arms = {k: {"total": v, "total_interval": {"point": sum(v) / 2}} for k, v in totals.items()}
    found = {name: interval["point"] for name, interval in differences(arms, "total").items()}
    assert found == {
        "mg-none − fixed-0.2": -0.5,
        "mg-reward − fixed-0.2": 2.5,
        "bmg-reward − fixed-0.2": 3.0,
        "bmg-reward − mg-reward": 0.5,
        "mg-reward − mg-none": 3.0,
    }
    for arm in arms.values():
        arm |= {"late": [-x for x in arm["total"]], "late_interval": {"point": -sum(arm["total"])}}
    assert differences(arms, "late")["mg-reward − fixed-0"]["point"] == -3.0


# --- the whole --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = replace(TINY, folder=tmp_path_factory.mktemp("two-colours"))
    return config, study(config, SILENT)


def test_the_study_compares_what_it_was_asked_to(finished):
    _, result = finished
    assert list(result["arms"]) == ["fixed-0", "fixed-0.2", "mg-none", "bmg-reward"]
    for name, arm in result["arms"].items():
        assert len(arm["total"]) == 2
        assert arm["broken"] == 0
        assert len(arm["reward_by_period"]) == 2
        if name.startswith("fixed"):
            weight = float(name.removeprefix("fixed-"))
            assert arm["entropy_by_period"] == pytest.approx([weight] * 2)
        else:
            assert arm["entropy_by_period"] == pytest.approx([0.5] * 2, abs=0.01)
    assert len({tuple(arm["total"]) for arm in result["arms"].values()}) > 1
    assert json.loads(json.dumps(result)) == json.loads(json.dumps(result, allow_nan=False))


def test_what_is_finished_is_not_lived_again(finished, monkeypatch):
    config, result = finished
    monkeypatch.setattr(Online, "window", lambda self: pytest.fail("lived again"))
    assert same(study(config, SILENT)["arms"], result["arms"])


def test_cut_off_runs_go_on_bit_for_bit(finished, tmp_path, monkeypatch):
    """Windows 0 and 1 are saved, 2 and 3 are lost and lived again."""
    config, result = finished
    config = replace(config, folder=tmp_path)
    monkeypatch.setattr(online_run, "SAVE_EVERY", 2)
    for name in config.runs:
        with monkeypatch.context() as patch:
            crash_in_window(3, patch)
            with pytest.raises(RuntimeError, match="power cut"):
                study(replace(config, runs=(name,)), SILENT)
    assert same(study(config, SILENT)["arms"], result["arms"])


def test_finished_lives_go_on_with_more_steps_bit_for_bit(finished, tmp_path):
    config, result = finished
    config = replace(config, folder=tmp_path)
    study(replace(config, steps=2 * 48), SILENT)
    assert same(study(config, SILENT)["arms"], result["arms"])
    with pytest.raises(ValueError, match="5 windows have been lived already; steps are for 4"):
        study(replace(config, steps=4 * 48), SILENT)


def crash_in_window(number, patch):
    lived, window = [], Online.window

    def until(self):
        if len(lived) == number:
            raise RuntimeError("power cut")
        lived.append(self)
        window(self)

    patch.setattr(Online, "window", until)


def test_arms_share_their_luck_and_streams_do_not():
    fixed, learned = online(TINY, "fixed"), online(TINY, "mg-none")
    assert fixed.rows["key"].tolist() == learned.rows["key"].tolist() * 2
    assert torch.equal(fixed.rows["policy.0"][:2], learned.rows["policy.0"])
    assert not torch.equal(learned.rows["policy.0"][0], learned.rows["policy.0"][1])
    assert not torch.equal(learned.rule_PM[0], learned.rule_PM[1])


def test_a_picture_is_drawn(finished, tmp_path):
    pytest.importorskip("matplotlib")
    plot_two_colours(finished[1], tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")


# --- mistakes ---------------------------------------------------------------------------------


def test_a_run_of_another_configuration_is_refused(finished):
    config, _ = finished
    with pytest.raises(ValueError, match="holds a run with another width: choose another folder"):
        study(replace(config, width=5), SILENT)


def test_a_folder_in_use_is_refused(finished):
    config, _ = finished
    folder = config.folder / "fixed"
    run = OnlineRun(online(config, "fixed"), config.num_windows)
    kept = RunFolder(folder).config()
    with RunFolder.resume(folder, ["here"]), pytest.raises(ValueError, match="in use"):
        live(run, folder, kept, SILENT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": ("bmg-rewards",)}, "Unknown run 'bmg-rewards'. Did you mean 'bmg-reward'"),
        ({"sweep": (0.0, 1.5)}, "sweep must lie between 0 and 1"),
        ({"steps": 47}, "steps must be at least one window of 48"),
        ({"seeds": 0}, "seeds must be an integer of at least 1"),
        ({"agent_lr": 0.0}, "agent_lr must be positive, got 0.0"),
        ({"lr": float("nan")}, "lr must be positive, got nan"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        study(replace(TINY, **changes), SILENT)
