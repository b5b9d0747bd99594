"""What `quickstudy anchors` says of the policies it was given."""

import json
import re

import pytest

from quickstudy.envs.anchors import ANCHORS_FILE, Anchor
from quickstudy.envs.families.point_goal import PointGoal
from quickstudy.experiments.anchors import (
    belief_in_words,
    hides_something,
    judged,
    late_rise,
    measure_anchors,
)


def test_a_long_belief_is_told_in_part():
    assert belief_in_words([0.5, -1 / 3]) == "0.5, -0.333"
    assert belief_in_words([1.0] * 11) == ", ".join(["1"] * 10) + ", … (11 numbers)"


def test_the_late_rise_is_the_last_step_between_fifths():
    # Means of fifths 0.5, 2.5, 4.5, 6.5, 8.5: the last of four equal steps.
    assert late_rise([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) == pytest.approx(0.25)


def test_a_flat_end_has_not_risen():
    assert late_rise([0, 0, 4, 4, 8, 8, 8, 8, 8, 8]) == 0.0


@pytest.mark.parametrize("returns", [[5, 4, 3, 2, 1], [1, 1, 1, 1, 1], [0, 9]])
def test_what_did_not_climb_or_is_too_short_counts_as_flat(returns):
    assert late_rise(returns) == 0.0


def test_an_oracle_that_knowing_brings_nothing_is_called_weak(monkeypatch):
    """PointGoal's expert, made to act as if every goal were at the origin."""
    monkeypatch.setattr(PointGoal, "expert_action", lambda self, belief_ND: 0.0 * self._position_N2)
    oracle = measure_anchors("PointGoal", num_tasks=20).oracle
    assert oracle.policy.startswith("scripted expert; weak: not clearly above zero action, ")
    assert oracle.policy.endswith("the non-adaptive policy")


def test_an_oracle_that_gains_from_knowing_is_not():
    assert measure_anchors("PointGoal", num_tasks=20).oracle.policy == "scripted expert"


def test_what_an_oracle_does_not_beat_by_hand():
    """[4, 6] is above [1, 3], but not clearly above [3, 5]."""
    oracle = Anchor(5.0, 4.0, 6.0, "oracle")
    poor, good = Anchor(2.0, 1.0, 3.0, "poor"), Anchor(4.0, 3.0, 5.0, "good")
    assert judged(oracle, {"poor": poor}) == oracle
    assert judged(oracle, {"poor": poor, "good": good}).policy == (
        "oracle; weak: not clearly above good"
    )


def test_some_families_hide_nothing():
    assert hides_something("PointGoal")
    assert not hides_something("MemoryChain")


@pytest.mark.parametrize(
    "anchors", json.loads(ANCHORS_FILE.read_text()).values(), ids=lambda record: record["family"]
)
def test_every_trained_anchor_says_how_it_was_trained(anchors):
    """The agent, the family and the frames of its description are those of a stored command."""
    for anchor in (anchors["oracle"], anchors["non_adaptive"]):
        trained = re.match(r"trained (\w+) \(PPO, (\d+) frames", anchor["policy"] if anchor else "")
        if trained:
            agent, frames = trained.groups()
            beginning = f"quickstudy train {anchors['family']} --agent {agent} --frames {frames} "
            assert any(command.startswith(beginning) for command in anchors["training"])
