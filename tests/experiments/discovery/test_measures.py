"""What is followed of a rule while it is being discovered."""

import math

import numpy as np
import pytest
import torch

from quickstudy.agents.lifetimes.tabular_rules import ScheduleRuleConfig
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.experiments.discovery import measures
from quickstudy.experiments.discovery.config import DiscoverConfig
from quickstudy.experiments.discovery.discovery import Discovery
from quickstudy.experiments.discovery.measures import (
    drift_measures,
    drift_pictures,
    entropy_measures,
)
from quickstudy.experiments.discovery.presets import find_preset

LEARNED = LearnedDrift(LearnedDriftConfig(hidden_size=2, entropy_coefficient=0.01))


def test_a_drift_at_birth():
    found = drift_measures(LEARNED, LEARNED.first_rule(0), 50)
    assert (found["to_ppo"], found["amplitude"]) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert found["to_dpo"] > 0.3
    assert found["entropy_coefficient"] == pytest.approx(0.01)


def test_a_schedule_by_hand():
    """One unit that looks at n/N: 0.01·exp(2 tanh(n/N) + 0.5), at n = 0 and 1 of 2."""
    rule = ScheduleRuleConfig(width=1, time="fraction").build()
    rule_M = torch.tensor([1.0, 0.0, 2.0, 0.5])
    found = entropy_measures(rule, rule_M, 2)
    last = 0.01 * math.exp(2.0 * math.tanh(0.5) + 0.5)
    assert found == {
        "entropy_at_0_of_2": pytest.approx(0.01 * math.exp(0.5)),
        "entropy_at_1_of_2": pytest.approx(last),
        "amplitude": pytest.approx(math.exp(2.0 * math.tanh(0.5))),
    }


def test_pictures_are_pixels(monkeypatch):
    image_HW3 = drift_pictures(LEARNED, LEARNED.first_rule(0), 50)["rule/drift"]
    assert image_HW3.shape == (900, 800, 3)
    assert image_HW3.dtype == np.uint8
    assert len(np.unique(image_HW3.reshape(-1, 3), axis=0)) > 100
    monkeypatch.setattr(measures, "has_matplotlib", lambda: False)
    assert drift_pictures(LEARNED, LEARNED.first_rule(0), 50) == {}


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("ta-lpo-control", {"rule/to_ppo", "rule/to_dpo", "rule/amplitude"}),
        ("a2c-schedule", {"rule/entropy_at_0_of_50", "rule/amplitude"}),
        ("lpg-small", set()),
    ],
)
def test_what_presets_follow(preset, names):
    found = Discovery(DiscoverConfig(preset=preset))._measures()
    assert names <= found.keys()
    assert bool(found) == bool(names)


def test_the_control_presets_are_drawn():
    assert find_preset("lpo-control").draw is not None
