"""Fitness shaping: cases worked by hand, and scores that are not finite."""

import pytest
import torch

from quickstudy.experiments.discovery.estimators.shaping import (
    SHAPINGS,
    described,
    ranks,
    require_shaping,
    shaped,
)

NAN, INF = float("nan"), float("inf")


def scores(first, second):
    return torch.tensor([first, second], dtype=torch.float64)


def test_pairwise_says_who_won():
    """1 > 0; 2 = 2 is a draw; −5 < 4."""
    result = shaped(scores([1.0, 2.0, -5.0], [0.0, 2.0, 4.0]), "pairwise")
    assert result.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_centred_ranks_by_hand():
    """−1 < 3 = 3 < 7 have the ranks 1, 2.5, 2.5, 4; less 1, over 3, less ½."""
    result = shaped(scores([3.0, 7.0], [-1.0, 3.0]), "centred-ranks")
    assert result == pytest.approx(scores([0.0, 0.5], [-0.5, 0.0]))


def test_ranks_share_places():
    assert ranks(scores([5.0, 5.0], [5.0, 9.0])).tolist() == [[2, 2], [2, 4]]


@pytest.mark.parametrize("broken", [NAN, INF, -INF, 1e20, -1e300])
def test_what_is_not_finite_is_worst(broken):
    score = scores([broken, 1.0], [-7.0, 2.0])
    assert shaped(score, "pairwise").tolist() == [[0, 0], [1, 1]]
    assert shaped(score, "centred-ranks")[0, 0] == -0.5
    assert shaped(score, "raw").tolist() == [[-7, 1], [-7, 2]]


@pytest.mark.parametrize("shaping", SHAPINGS)
def test_where_all_broke_nothing_is_said(shaping):
    first, second = shaped(scores([NAN, INF], [NAN, -INF]), shaping)
    assert torch.equal(first, second)
    assert first.isfinite().all()


def test_broken_ones_are_counted_and_left_out_of_the_mean():
    assert described(scores([1.0, NAN], [3.0, INF])) == {"fitness": 2.0, "broken": 2.0}


def test_an_unknown_shaping_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'pairwise'"):
        require_shaping("pairwize")
