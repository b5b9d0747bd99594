"""The nearest earlier level, against a loop over all of them.

Shape legend: n points, d dimensions.
"""

import math

import pytest
import torch

from quickstudy.curricula.mixtures import neighbours
from quickstudy.curricula.mixtures.neighbours import NearestEarlier, NearestRecent
from quickstudy.envs import rng


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Trees over 8, 16, … points, so that few points make many."""
    monkeypatch.setattr(neighbours, "_LEAF", 8)


def drawn(n, dim, seed=0, steps=None):
    """Points of the unit cube, on a grid of so many steps a side if it is given."""
    key_n = rng.fold_in(rng.root_key(seed, rng.Stream.LEVEL), torch.arange(n))
    points = rng.uniform(key_n, dim)
    return points if steps is None else (points * steps).round() / steps


def slow_nearest_earlier(points, values):
    """One by one; the latest of equally near ones."""
    found = []
    for i, point in enumerate(points.tolist()):
        best, value = math.inf, math.nan
        for j in range(i):
            gap = sum((a - b) ** 2 for a, b in zip(point, points[j].tolist(), strict=True))
            if gap <= best:
                best, value = gap, float(values[j])
        found.append(value)
    return torch.tensor(found, dtype=torch.float64)


def equal(first, second):
    return torch.equal(first.nan_to_num(-1), second.nan_to_num(-1))


def added(memory, points, values, size):
    """All values found, with so many points added at a time."""
    blocks = zip(points.split(size), values.split(size), strict=True)
    return torch.cat([memory.add(block, value) for block, value in blocks])


@pytest.mark.parametrize("size", [1, 3, 8, 50, 300])
@pytest.mark.parametrize(("dim", "steps"), [(1, None), (2, None), (10, None), (1, 40), (2, 6)])
def test_equals_a_loop_in_blocks_of_any_size(dim, steps, size):
    """Also on grids, where many points coincide and more are equally near."""
    points, values = drawn(300, dim, steps=steps), torch.arange(300).double()
    found = added(NearestEarlier(dim), points, values, size)
    assert equal(found, slow_nearest_earlier(points, values))


def test_worked_by_hand():
    """0.5 has none before it; 0.9 has 0.5; 0.6 is 0.1 from 0.5; 0.7 is 0.1 from 0.6."""
    points = torch.tensor([[0.5], [0.9], [0.6], [0.7]], dtype=torch.float64)
    found = NearestEarlier(1).add(points, torch.tensor([1.0, 2, 3, 4]).double())
    assert equal(found, torch.tensor([math.nan, 1, 1, 3]).double())


def test_the_latest_of_coinciding_points_counts():
    """A corner of the cube, played 100 times: each time the one before is the nearest."""
    points, values = torch.ones(100, 2).double(), torch.arange(100).double()
    found = added(NearestEarlier(2), points, values, 7)
    assert equal(found[1:], values[:-1])


@pytest.mark.parametrize("before", [0, 1, 7, 8, 9, 63, 64, 65, 200])
def test_restored_it_goes_on_bit_for_bit(before):
    points, values = drawn(260, 2, steps=9), torch.arange(260).double()
    whole, first, second = NearestEarlier(2), NearestEarlier(2), NearestEarlier(2)
    whole.add(points[:before], values[:before])
    first.add(points[:before], values[:before])
    second.load_state_dict(first.state_dict())
    assert len(second) == before
    assert [tree.start for tree in second._trees] == [tree.start for tree in whole._trees]
    rest = points[before:], values[before:]
    assert equal(second.add(*rest), whole.add(*rest))


def test_what_was_saved_does_not_change_later():
    memory = NearestEarlier(1)
    memory.add(drawn(5, 1), torch.zeros(5).double())
    state = memory.state_dict()
    kept = state["points"].clone()
    other = NearestEarlier(1)
    other.load_state_dict(state)
    other.add(drawn(5, 1, seed=1), torch.ones(5).double())
    memory.add(drawn(5, 1, seed=2), torch.ones(5).double())
    assert torch.equal(state["points"], kept)


def test_no_points_are_no_answer():
    assert len(NearestEarlier(2).add(torch.empty(0, 2).double(), torch.empty(0).double())) == 0
    assert len(NearestRecent(2, 5).add(torch.empty(0, 2).double(), torch.empty(0).double())) == 0


def slow_nearest_recent(points, values, size, memory):
    """Batch by batch: the latest of the nearest among the last `memory` before the batch."""
    found = []
    for i, point in enumerate(points):
        end = i - i % size
        start = max(0, end - memory)
        gaps = (points[start:end] - point).norm(dim=1).tolist()
        near = [j for j, gap in enumerate(gaps) if gap == min(gaps)]
        found.append(float(values[start + near[-1]]) if near else math.nan)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 40, 2**20])
@pytest.mark.parametrize(("dim", "steps"), [(1, None), (10, None), (2, 6)])
@pytest.mark.parametrize("size", [1, 13, 40])
def test_recent_equals_a_loop(dim, steps, size, block, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    points, values = drawn(120, dim, steps=steps), torch.arange(120).double()
    found = added(NearestRecent(dim, 50), points, values, size)
    assert equal(found, slow_nearest_recent(points, values, size, 50))


def test_recent_goes_on_where_it_was_saved():
    points, values = drawn(120, 2), torch.arange(120).double()
    whole, restored = NearestRecent(2, 30), NearestRecent(2, 30)
    whole.add(points[:70], values[:70])
    restored.load_state_dict(whole.state_dict())
    rest = points[70:], values[70:]
    assert equal(restored.add(*rest), whole.add(*rest))
