"""The study of schedules: amplitudes and verdicts by hand, and the whole in small."""

import json
import sys

import pytest
import torch

from quickstudy.agents.lifetimes.tabular import TabularConfig
from quickstudy.agents.lifetimes.tabular_rules import LPGRuleConfig, ScheduleRuleConfig
from quickstudy.agents.objectives.lpg import LPG, LPGConfig
from quickstudy.experiments import cli
from quickstudy.experiments.discovery.arms import Arm
from quickstudy.experiments.discovery.config import build_estimator
from quickstudy.experiments.discovery.estimators.meta_gradient import MetaGradient
from quickstudy.experiments.discovery.exams import Exam
from quickstudy.experiments.discovery.schedule_study import (
    ARMS,
    PRESETS,
    ScheduleStudy,
    amplitude,
    schedule,
    verdict,
)
from quickstudy.experiments.discovery.schedules import curves

TINY = (
    "--arms open-es meta-gradient-value --seeds 2 --exam-lives 6 --tuning-lives 4 --steps 3000 "
    "--entropies 0.01 0.1 --processes 1 --lives copies 2 rollout_steps 4 min_updates 2 "
    "max_updates 3 evaluation_steps 20"
).split()


def exam(rule, updates=2):
    lives = TabularConfig(rule=rule, copies=2, rollout_steps=5, evaluation_steps=20)
    return Exam(lives, 5, seed=0).lasting(updates)


def test_the_amplitude_of_a_schedule_by_hand():
    """One hidden feature with W = 1, b = 0, v = 1, c = 0 at n/N = 0 and 1/2: 0.01 e^tanh(0) = 0.01
    and 0.01 e^tanh(0.5) = 0.01 e^0.462117 = 0.0158743. Twice v doubles the exponent: 0.0251994.
    """
    rule = ScheduleRuleConfig(time="fraction", width=1)
    rule_SM = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 2.0, 0.0]])
    found = curves(exam(rule), rule_SM)
    assert found.shape == (2, 5, 2)
    torch.testing.assert_close(found[0], torch.tensor([0.01, 0.0158743]).expand(5, 2))
    torch.testing.assert_close(found[1], torch.tensor([0.01, 0.0251994]).expand(5, 2))
    assert amplitude(found).tolist() == pytest.approx([0.0058743, 0.0151994], abs=1e-7)


def test_a_rule_that_sees_rewards_is_judged_by_those_of_its_own_agents():
    """Inputs n/N and recent reward; only the latter counts: it is 0 at first, then differs."""
    rule = ScheduleRuleConfig(time="fraction", width=1, sees_reward=True)
    found = curves(exam(rule, updates=4), torch.tensor([[0.0, 5.0, 0.0, 1.0, 0.0]]))[0]
    assert found[:, 0].tolist() == pytest.approx([0.01] * 5)
    assert len({round(weight, 6) for weight in found[:, 3].tolist()}) > 1


def lpg_curves(time, change=None):
    """Of a rule as it is first, but for what `change` does to its parts: `(P, N)`."""
    network = LPG(LPGConfig(time=time))
    rule_M = network.first_rule(0)
    if change is not None:
        change(network.layout.parts(rule_M))  # views
    rule = LPGRuleConfig(network=network.config)
    return curves(exam(rule, updates=4), rule_M.unsqueeze(0))[0]


def test_an_lpg_rule_without_a_clock_has_no_schedule():
    found_PN = lpg_curves("none")
    assert found_PN.shape == (5, 4)
    assert (found_PN > 0).all()
    assert torch.equal(found_PN, found_PN[:, :1].expand(5, 4))


def test_what_changes_with_age_is_the_rule_alone():
    """One with a clock says something else at each age of the same experience, unless it is deaf
    to the clock: with no weight on its inputs' last feature, n/N.
    """

    def deafen(parts):
        parts["input"][-1] = 0.0

    heard_PN, deaf_PN = lpg_curves("fraction"), lpg_curves("fraction", deafen)
    assert (heard_PN.diff(dim=1).abs() > 0).all()
    torch.testing.assert_close(deaf_PN, deaf_PN[:, :1].expand(5, 4))


def test_a_schedule_is_summed_up_by_hand():
    """Two seeds that bend in opposite ways agree on nothing: amplitudes 1, mean curve flat."""
    curve_SPN = torch.tensor([[[1.0, 2.0]], [[2.0, 1.0]]])
    found = schedule(curve_SPN)
    assert found["amplitude"]["per_seed"] == [1.0, 1.0]
    assert found["ratio"]["per_seed"] == [2.0, 2.0]
    assert found["amplitude_of_mean"] == 0.0
    assert found["curves"] == [[1.0, 2.0], [2.0, 1.0]]


def test_amplitudes_are_those_of_lives_not_of_their_mean():
    """Lives that bend up and down by 1 and by 3: 2 on average, though their mean bends by 1."""
    assert amplitude(torch.tensor([[[1.0, 2.0], [4.0, 1.0]]])).tolist() == [2.0]


def between(low, high):
    return {"over_seeds": {"point": (low + high) / 2, "low": low, "high": high}}


def test_verdicts_by_hand():
    assert verdict("bmg", between(1, 3), between(-3, -1)) == (
        "open-es − bmg: amplitude larger, return lower by -2.000 [-3.000, -1.000]."
    )
    assert verdict("pes", between(-3, -1), between(-1, 1)) == (
        "open-es − pes: amplitude smaller, return undecided by 0.000 [-1.000, 1.000]."
    )
    assert verdict("fixed", None, between(1, 3)) == (
        "open-es − fixed: return higher by 2.000 [1.000, 3.000]."
    )


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_can_be_built_with_64_agents(name):
    estimator = build_estimator(Arm(name, PRESETS[0], ARMS[name]).config(0, 1))
    config = estimator.config
    assert 64 in (2 * getattr(config, "pairs", 0), getattr(config, "agents", 0))
    assert config.shard == 64
    if isinstance(estimator, MetaGradient):
        assert config.window == 5
        assert config.lifetime_value is (name == "meta-gradient-value")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_study_runs(preset, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    written = ["--json", "found.json", "--plot", "study.png", "--preset", preset]
    monkeypatch.setattr(sys, "argv", ["quickstudy", "discover", "schedules", *TINY, *written])
    cli.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    arms = ["open-es", "meta-gradient-value"]
    assert list(found["contenders"]) == [*arms, "generation-0", "fixed"]
    assert list(found["schedules"]) == [*arms, "generation-0"]
    for bent in found["schedules"].values():
        assert [len(curve) for curve in bent["curves"]] == [3, 3]
    flat = found["schedules"]["generation-0"]["ratio"]["per_seed"] == [1.0, 1.0]
    assert flat is (preset == "a2c-schedule")
    assert all(min(spent["steps"]) >= 3000 for spent in found["discoveries"].values())
    assert list(found["amplitude_minus"]) == [*arms[1:], "generation-0"]
    assert len(found["verdict"]) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("open-es", "bgm")}, "Unknown arm 'bgm'. Did you mean 'bmg'"),
        ({"preset": "ta-lpg"}, "Unknown preset 'ta-lpg'. Did you mean 'ta-lpg-small'"),
        ({"arms": ("bmg",)}, "arms must hold open-es"),
        ({"entropies": (0.0,)}, "entropies must be one number or more, all above 0"),
        ({"exam_lives": 0}, "exam_lives must be an integer of at least 1"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        ScheduleStudy(**changes).check()
