"""Direction, noise and bias of estimates: by hand, and whether they tell bias from chance."""

import numpy as np
import pytest

from quickstudy.experiments.discovery.gradient_quality import Reference, bias, direction


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


AIM = Reference.of([[1.0, 2.0, -1.0, 0.5]])


def test_a_reference_by_hand():
    """Draws (1, 0) and (3, 0): mean (2, 0), standard deviation √2, error √2 / √2 = 1, half of the
    length. An exact estimate then has a length of 1 ± 1.96 / 2.
    """
    reference = Reference.of([[1.0, 0.0], [3.0, 0.0]])
    assert reference.mean_M == pytest.approx([2.0, 0.0])
    assert reference.error_M == pytest.approx([1.0, 0.0])
    assert reference.length_error == pytest.approx(0.5)
    length = bias(np.array([[2.0, 0.0]]), reference).length
    assert (length.low, length.point, length.high) == pytest.approx((0.02, 1.0, 1.98))
    assert Reference.of([[1.0, 2.0]]).error_M == pytest.approx([0.0, 0.0])


def test_directions_by_hand():
    """Against (2, 0): (1, 1) and (1, −1) have cosines of 1/√2, their mean (1, 0) one of 1. Each is
    1 from the mean, which is 1 long: noise 1.
    """
    found = direction(np.array([[1.0, 1.0], [1.0, -1.0]]), Reference.of([[2.0, 0.0]]), seed=0)
    assert found.cosine.point == pytest.approx(0.5**0.5)
    assert found.cosine_of_mean.point == pytest.approx(1.0)
    assert found.noise.point == pytest.approx(1.0)
    assert found.cosine_of_mean.low == pytest.approx(0.5**0.5)  # both the same


def test_the_bias_of_an_estimator_without_chance_by_hand():
    """(2, 1) against (2, 0): length 4 / 4 = 1, squared bias 1 / 4."""
    off = bias(np.array([[2.0, 1.0]]), Reference.of([[2.0, 0.0]]))
    assert (off.length.point, off.squared.point) == (1.0, 0.25)
    assert off.length.low == off.length.high
    assert off.largest_error is None
    assert off.unbiased is None


def test_four_estimates_by_hand():
    """Against (1, 0): errors (1, 0), (1, 2), (−1, 0), (1, 0). Products of neighbours: 1 and −1,
    mean 0. Lengths 2, 2, 0, 2: mean 1.5. First coordinate: off by 0.5, standard deviation 1, error
    1/2: z = 1; second: off by 0.5, standard deviation 1: z = 1.
    """
    draws = np.array([[2.0, 0.0], [2.0, 2.0], [0.0, 0.0], [2.0, 0.0]])
    off = bias(draws, Reference.of([[1.0, 0.0]]))
    assert off.length.point == pytest.approx(1.5)
    assert off.squared.point == pytest.approx(0.0)
    assert off.largest_error == pytest.approx(1.0)
    assert off.error_limit == pytest.approx(4.1765, abs=1e-4)  # 1 − 0.025/2 of t with 3
    assert off.unbiased


def test_unbiased_estimates_are_seldom_called_biased():
    """400 studies of 40 noisy estimates: 95 % intervals and the test hold in about 95 %."""
    draws = AIM.mean_M + 3.0 * generator(1).standard_normal((400, 40, 4))
    found = [bias(x, AIM) for x in draws]
    covered = np.mean([off.squared.low < 0.0 < off.squared.high for off in found])
    assert 0.92 < covered < 0.98
    assert 0.92 < np.mean([off.unbiased for off in found]) < 0.99
    assert 0.92 < np.mean([off.length.low < 1.0 < off.length.high for off in found]) < 0.98


def test_a_bias_is_found_and_measured():
    """Off by 1 in one of four coordinates: 1 / 6.25 of the squared length."""
    draws = AIM.mean_M + np.array([0, 0, 0, 1.0]) + generator(2).standard_normal((400, 4))
    off = bias(draws, AIM)
    assert off.unbiased is False
    assert off.squared.low < 0.16 < off.squared.high
    assert off.squared.low > 0.05


def test_the_error_of_the_reference_is_no_bias():
    """A reference of 10 draws with noise of 1: its error alone is 4 / 10 squared."""
    squares, called = [], 0
    for seed in range(200):
        random = generator(seed)
        reference = Reference.of(AIM.mean_M + random.standard_normal((10, 4)))
        off = bias(AIM.mean_M + 0.1 * random.standard_normal((40, 4)), reference)
        squares.append(off.squared.point)
        called += not off.unbiased
    error = np.std(squares) / len(squares) ** 0.5
    assert abs(np.mean(squares)) < 4 * error
    assert called < 0.2 * 200  # ten draws: t rather than normal tails


def test_too_few_estimates_are_refused():
    with pytest.raises(ValueError, match="at least 4 estimates, got 3"):
        bias(np.ones((3, 4)), AIM)
