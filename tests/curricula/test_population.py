"""Who comes to school."""

from collections import Counter

import pytest

from quickstudy.curricula.classrooms.population import population, seeds


def test_in_turn():
    """Four combinations of 2 × 2, each twice among eight students."""
    vary = {"column": "1,2", "row": "3,4"}
    students = population("toy-grid-v2", 8, 0, vary=vary)
    assert Counter((s.column, s.row) for s in students) == dict.fromkeys(
        [(1, 3), (1, 4), (2, 3), (2, 4)], 2
    )


def test_drawn_from_whole_numbers():
    """Both ends come; the first students do not depend on how many there are."""
    students = population("toy-grid-v2", 300, 0, vary={"column": "3..5", "row": "-0..0"})
    assert Counter(s.column for s in students).keys() == {3, 4, 5}
    assert min(Counter(s.column for s in students).values()) > 70
    assert population("toy-grid-v2", 10, 0, vary={"column": "3..5", "row": "0..0"}) == students[:10]
    assert population("toy-grid-v2", 300, 1, vary={"column": "3..5", "row": "0..0"}) != students


def test_drawn_from_real_numbers():
    students = population("sb3", 200, 0, vary={"low": "-1..-0.5", "family.leg": "0.5..1.0"})
    lows = [s.low for s in students]
    legs = [float(dict(s.family_options)["leg"]) for s in students]
    assert -1 <= min(lows) < -0.98 < -0.52 < max(lows) < -0.5
    assert 0.5 <= min(legs) < 0.51 < 0.99 < max(legs) < 1


def test_as_they_usually_vary():
    assert [s.rotation for s in population("toy-grid", 5, 0)] == ["0", "90", "180", "270", "0"]
    assert len({(s.column, s.row) for s in population("toy-grid-v2", 50, 0)}) > 40
    assert population("sb3", 2, 0) == population("sb3", 1, 0) * 2


def test_mistakes():
    with pytest.raises(ValueError, match="count must be an integer of at least 1"):
        population("toy-grid", 0, 0)
    with pytest.raises(ValueError, match=r"column '5\.\.3': write a range as low\.\.high"):
        population("toy-grid-v2", 1, 0, vary={"column": "5..3"})
    with pytest.raises(ValueError, match=r"column 'a\.\.3': write a range"):
        population("toy-grid-v2", 1, 0, vary={"column": "a..3"})


def test_seeds():
    assert seeds(0, 5)[:3] == seeds(0, 3)
    assert len(set(seeds(0, 1000)) | set(seeds(1, 1000))) == 2000
