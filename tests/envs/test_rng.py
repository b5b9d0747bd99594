"""The counter-based random numbers against SplitMix64 written out in plain integers."""

import itertools
import math

import pytest
import torch
from scipy import stats

from quickstudy.envs import rng

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15

# The first outputs of the published generator (Vigna's splitmix64.c) for these seeds.
PUBLISHED = {
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
    1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431],
}
AWKWARD = [0, 1, -1, 2**63 - 1, -(2**63), 12345678901234567, -987654321098765]


def slow_mix(x: int) -> int:
    """splitmix64.c, line by line, on unsigned 64-bit integers."""
    z = x & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def slow_fold_in(key: int, counter: int) -> int:
    return slow_mix(key + (counter + 1) * GOLDEN)


def unsigned(key: torch.Tensor) -> int:
    return int(key) & MASK


def signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


def many_keys(count: int, seed: int = 0) -> torch.Tensor:
    return rng.world_keys(seed, rng.Stream.TASK, count)


@pytest.mark.parametrize("seed", PUBLISHED)
def test_folding_in_0_1_2_gives_the_published_splitmix64_sequence(seed):
    counters = torch.arange(len(PUBLISHED[seed]))
    keys = rng.fold_in(torch.tensor(seed), counters)
    assert [unsigned(key) for key in keys] == PUBLISHED[seed]


@pytest.mark.parametrize("mix", [rng.mix, rng.mix_tensor])
def test_mix_equals_the_slow_reference_also_for_negative_and_extreme_keys(mix):
    mixed = mix(torch.tensor(AWKWARD))
    assert [unsigned(x) for x in mixed] == [slow_mix(x) for x in AWKWARD]


def test_fold_in_wraps_at_64_bits_for_tensor_and_integer_counters():
    for key, counter in itertools.product(AWKWARD, [0, 1, 7, 2**31, 2**62, -1]):
        expected = slow_fold_in(key, counter)
        assert unsigned(rng.fold_in(torch.tensor(key), counter)) == expected
        assert unsigned(rng.fold_in(torch.tensor(key), torch.tensor(counter))) == expected


def test_world_keys_are_the_seed_then_the_stream_then_the_world():
    keys = rng.world_keys(42, rng.Stream.EPISODE, 3)
    stream_key = slow_fold_in(slow_mix(42), int(rng.Stream.EPISODE))
    assert [unsigned(key) for key in keys] == [slow_fold_in(stream_key, i) for i in range(3)]


def test_seeds_beyond_64_bits_wrap_instead_of_failing():
    def root(seed):
        return int(rng.root_key(seed, rng.Stream.TASK))

    assert root(2**64 + 5) == root(5)
    assert root(2**64 - 1) == root(-1)
    assert root(2**63) == root(-(2**63))
    assert root(5) != root(-5)


def test_uniform_is_the_top_53_bits_over_two_to_the_53():
    u_NK = rng.uniform(torch.tensor(AWKWARD), 5)
    for row, key in zip(u_NK, AWKWARD, strict=True):
        expected = [(slow_fold_in(key, k) >> 11) * 2.0**-53 for k in range(5)]
        assert row.tolist() == expected


def test_normal_is_box_and_muller_on_the_uniforms():
    key = 7
    u = [(slow_fold_in(key, k) >> 11) * 2.0**-53 for k in range(4)]
    radii = [math.sqrt(-2.0 * math.log(1.0 - x)) for x in u[:2]]
    cosines = [r * math.cos(2 * math.pi * x) for r, x in zip(radii, u[2:], strict=True)]
    sines = [r * math.sin(2 * math.pi * x) for r, x in zip(radii, u[2:], strict=True)]
    draws = rng.normal(torch.tensor([key]), 3)[0]  # an odd size drops the last of four
    assert draws.tolist() == pytest.approx([*cosines, sines[0]], rel=1e-14)


def test_uniforms_lie_in_the_unit_interval_and_have_its_distribution():
    u = rng.uniform(many_keys(500), 100)
    assert u.dtype == torch.float64
    assert float(u.min()) >= 0.0
    assert float(u.max()) < 1.0
    # 50 000 draws: the mean's standard error is 0.0013, the variance's 0.0003.
    assert float(u.mean()) == pytest.approx(1 / 2, abs=0.006)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.0015)
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(u[:, 0].numpy(), "uniform").pvalue > 1e-3  # first draws of many keys


def test_normals_have_the_moments_and_distribution_of_the_standard_normal():
    x = rng.normal(many_keys(500), 100)
    assert x.dtype == torch.float64
    # 50 000 draws: standard errors 0.0045, 0.0063, 0.011 and 0.022.
    assert float(x.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(x.var()) == pytest.approx(1.0, abs=0.03)
    assert float(x.pow(3).mean()) == pytest.approx(0.0, abs=0.08)
    assert float(x.pow(4).mean()) == pytest.approx(3.0, abs=0.15)
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3


def test_the_two_halves_of_a_normal_draw_are_uncorrelated():
    x = rng.normal(many_keys(20_000), 2)
    assert abs(float(torch.corrcoef(x.T)[0, 1])) < 0.03  # standard error 0.007


def test_the_extreme_uniform_gives_a_finite_normal():
    """log(1 − u) is finite for the largest u, 1 − 2⁻⁵³; log(u) would not be for u = 0."""
    assert math.isfinite(math.log1p(-(1.0 - 2.0**-53)))
    assert bool(rng.normal(many_keys(20_000), 4).isfinite().all())


@pytest.mark.parametrize("size", [1, 2, 3, 8, 17])
@pytest.mark.parametrize("count", [1, 3, 5, 16, 33])
def test_draws_of_world_i_do_not_depend_on_the_number_of_worlds(count, size):
    keys = many_keys(50)
    assert torch.equal(many_keys(count), keys[:count])
    assert torch.equal(rng.uniform(keys[:count], size), rng.uniform(keys, size)[:count])
    assert torch.equal(rng.normal(keys[:count], size), rng.normal(keys, size)[:count])
    assert torch.equal(rng.normal(keys[count], size), rng.normal(keys, size)[count])


def test_keys_of_all_streams_seeds_and_worlds_are_distinct():
    keys = torch.cat(
        [rng.world_keys(seed, stream, 50) for seed in range(20) for stream in rng.Stream]
    )
    assert len(keys.unique()) == len(keys) == 20 * len(rng.Stream) * 50


def test_streams_of_one_seed_are_uncorrelated():
    draws = torch.stack(
        [rng.uniform(rng.world_keys(3, stream, 10_000), 1)[:, 0] for stream in rng.Stream]
    )
    correlation = torch.corrcoef(draws) - torch.eye(len(draws))
    assert float(correlation.abs().max()) < 0.05  # standard error 0.01


def test_released_stream_numbers_keep_their_meaning():
    """Changing one changes every stored result."""
    released = {
        "TASK": 1, "EPISODE": 2, "ACTION": 3, "MINIBATCH": 4,
        "WEIGHTS": 5, "EVALUATION": 6, "SPLIT": 7, "BOOTSTRAP": 8,
    }  # fmt: skip
    assert released.items() <= {s.name: int(s) for s in rng.Stream}.items()


def test_neighbouring_counters_share_no_more_bits_than_chance():
    keys = rng.fold_in(many_keys(1), torch.arange(2001))
    flipped = [(unsigned(a) ^ unsigned(b)).bit_count() for a, b in itertools.pairwise(keys)]
    # 64 fair coins: mean 32, standard error of 2000 of them 0.09.
    assert sum(flipped) / len(flipped) == pytest.approx(32.0, abs=0.5)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_permutation_holds_each_index_once_and_repeats_for_its_key(size):
    order = rng.permutation(torch.tensor(5), size)
    assert sorted(order.tolist()) == list(range(size))
    assert torch.equal(order, rng.permutation(torch.tensor(5), size))


def test_every_order_of_four_is_about_equally_likely():
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for key in many_keys(2400):
        counts[tuple(rng.permutation(key, 4).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_generators_repeat_for_a_seed_and_stream_and_differ_otherwise():
    def draw(seed, stream):
        return torch.randn(4, generator=rng.generator(seed, stream)).tolist()

    assert draw(1, rng.Stream.WEIGHTS) == draw(1, rng.Stream.WEIGHTS)
    assert draw(1, rng.Stream.WEIGHTS) != draw(2, rng.Stream.WEIGHTS)
    assert draw(1, rng.Stream.WEIGHTS) != draw(1, rng.Stream.ACTION)


def test_no_draw_touches_the_global_generator():
    before = torch.random.get_rng_state()
    rng.normal(many_keys(4), 4)
    rng.permutation(torch.tensor(1), 10)
    torch.randn(3, generator=rng.generator(0, rng.Stream.WEIGHTS))
    assert torch.equal(torch.random.get_rng_state(), before)
