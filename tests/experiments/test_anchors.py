"""What `quickstudy anchors` says of the policies it was given."""

import pytest

from quickstudy.experiments.anchors import late_rise


def test_the_late_rise_is_the_last_step_between_fifths():
    # Means of fifths 0.5, 2.5, 4.5, 6.5, 8.5: the last of four equal steps.
    assert late_rise([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) == pytest.approx(0.25)


def test_a_flat_end_has_not_risen():
    assert late_rise([0, 0, 4, 4, 8, 8, 8, 8, 8, 8]) == 0.0


@pytest.mark.parametrize("returns", [[5, 4, 3, 2, 1], [1, 1, 1, 1, 1], [0, 9]])
def test_what_did_not_climb_or_is_too_short_counts_as_flat(returns):
    assert late_rise(returns) == 0.0
