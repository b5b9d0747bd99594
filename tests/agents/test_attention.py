"""Parts of attention, each by hand: heads, rotary positions, where a stretch of inputs begins."""

import math

import pytest
import torch

from quickstudy.agents.attention import attend, rotate, rotation, stretch_starts


def test_attention_by_hand():
    """One head of one feature: scores q·k/√1 = 0 and ln 3, so weights 1/4 and 3/4.

    Values 8 and 4: 8/4 + 3·4/4 = 5. Blind to the second key, or causal: the first value, 8.
    """
    q, k = torch.tensor([[[math.log(3.0)]]]), torch.tensor([[[0.0], [1.0]]])
    v = torch.tensor([[[8.0], [4.0]]])
    torch.testing.assert_close(attend(q, k, v, 1), torch.tensor([[[5.0]]]))
    first = torch.tensor([True, False]).view(1, 1, 1, 2)
    torch.testing.assert_close(attend(q, k, v, 1, first), torch.tensor([[[8.0]]]))
    both = attend(q.expand(1, 2, 1), k, v, 1, causal=True)
    torch.testing.assert_close(both, torch.tensor([[[8.0], [5.0]]]))


def test_heads_attend_for_themselves():
    """Two heads of one feature; the second sees the scores ln 3 and 0: 3/4·8 + 1/4·4 = 7."""
    q = torch.tensor([[[math.log(3.0), math.log(3.0)]]])
    k, v = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), torch.tensor([[[8.0, 8.0], [4.0, 4.0]]])
    torch.testing.assert_close(attend(q, k, v, 2), torch.tensor([[[5.0, 7.0]]]))


def test_rotation_by_hand():
    """Head of four features at position 2: the pairs turn by 2 · 1 and 2 · 10⁻² radians."""
    turns = rotation(torch.tensor([2]), 4, torch.float64)
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = [[math.cos(2.0), math.sin(2.0), -math.sin(0.02), math.cos(0.02)]]
    torch.testing.assert_close(rotate(x, turns), torch.tensor(expected, dtype=torch.float64))


def test_products_of_rotated_features_see_distances_alone():
    """q·k at positions (m, n) is that at (m + s, n + s), also where the positions are large."""
    q, k = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def product(m, n):
        at_m, at_n = (rotation(torch.tensor([p]), 8, torch.float64) for p in (m, n))
        return (rotate(q, at_m) * rotate(k, at_n)).sum()

    for shift in (1, 400, 100_000):
        torch.testing.assert_close(
            product(9 + shift, 4 + shift), product(9, 4), rtol=1e-10, atol=1e-11
        )
    assert (product(9, 4) - product(9, 5)).abs() > 1e-3


def test_angles_stay_exact_in_long_trials():
    """In float32 the angle 10⁵ + 1/4 would be off by up to 0.004; formed in float64 it is not."""
    turns = rotation(torch.tensor([100_001]), 2, torch.float32)
    assert turns.dtype == torch.complex64
    assert float(turns.real) == pytest.approx(math.cos(100_001.0), abs=1e-6)
    assert float(turns.imag) == pytest.approx(math.sin(100_001.0), abs=1e-6)


def test_stretches_begin_at_resets_or_before_the_scan():
    """World 0: 3 inputs before, never reset. World 1: the same, reset at steps 1 and 2."""
    reset_TB = torch.tensor([[False, False], [False, True], [False, True], [False, False]])
    starts_TB = stretch_starts(reset_TB, torch.tensor([3, 3]))
    assert starts_TB.T.tolist() == [[-3, -3, -3, -3], [-3, 1, 2, 2]]
