"""Running statistics against numpy over everything seen."""

import numpy as np
import pytest
import torch

from quickstudy.agents.normalization import RewardScaler, RunningMoments


def batches(sizes=(7, 1, 50, 13)):
    """Batches whose mean and scale drift, far from zero so that cancellation would show."""
    generator = np.random.default_rng(0)
    return [
        1000.0 * (i + 1) + (i + 1) * generator.standard_normal((size, 3))
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("seen", [1, 2, 4])
def test_moments_equal_numpy_over_all_batches_seen(seen):
    moments = RunningMoments(3)
    for rows in batches()[:seen]:
        moments.update(torch.from_numpy(rows))
    everything = np.concatenate(batches()[:seen])
    np.testing.assert_allclose(moments.mean_F, everything.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.var_F, everything.var(axis=0), rtol=1e-9)
    assert moments.count == len(everything)


def test_moments_do_not_depend_on_leading_axes():
    """Rows `(T, B, F)` count like `(T·B, F)`."""
    rows = torch.from_numpy(batches((12,))[0])
    flat, folded = RunningMoments(3), RunningMoments(3)
    flat.update(rows)
    folded.update(rows.view(4, 3, 3))
    assert torch.equal(flat.mean_F, folded.mean_F)
    assert torch.equal(flat.var_F, folded.var_F)


def test_normalized_rows_have_zero_mean_and_unit_variance():
    moments = RunningMoments(3)
    rows = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)) * 3.0 + 5.0
    moments.update(rows)
    normal = moments.normalize(rows)
    assert normal.dtype == torch.float32
    # float32 rounding of rows of size 10 leaves about 1e-6.
    torch.testing.assert_close(normal.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var(dim=0, correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_before_the_first_batch_rows_pass_unchanged_up_to_the_clip():
    rows = torch.tensor([[0.0, 0.5, -3.0], [11.0, -1e9, 10.0]])
    expected = torch.tensor([[0.0, 0.5, -3.0], [10.0, -10.0, 10.0]])
    torch.testing.assert_close(RunningMoments(3).normalize(rows), expected)


def test_outliers_are_clipped_at_ten_standard_deviations():
    """Mean 0, variance 4: 19 becomes 9.5, 21 is clipped to 10."""
    moments = RunningMoments(1)
    moments.update(torch.tensor([[-2.0], [2.0]]))
    normal = moments.normalize(torch.tensor([[19.0], [21.0], [-1e30]]))
    torch.testing.assert_close(normal, torch.tensor([[9.5], [10.0], [-10.0]]))


def test_a_constant_feature_becomes_zero():
    moments = RunningMoments(1)
    moments.update(torch.full((20, 1), 0.1))
    assert moments.normalize(torch.tensor([[0.1]])) == 0.0


def test_the_reward_scale_worked_by_hand():
    """γ = ½, rewards 4 2 | 6 with a trial starting at the third step.

    Discounted returns: 4, ½·4 + 2 = 4, then 0 + 6 = 6. Mean 14/3, variance
    (2·(2/3)² + (4/3)²) / 3 = 8/9.
    """
    scaler = RewardScaler(1, 0.5)
    reward_TB = torch.tensor([[4.0], [2.0], [6.0]])
    scaler.update(reward_TB, torch.tensor([[True], [False], [True]]))
    torch.testing.assert_close(scaler.scale(reward_TB), reward_TB / (8 / 9) ** 0.5)


def test_the_reward_scale_equals_a_naive_loop_over_several_rollouts():
    """World by world, with staggered trial starts, the return carried from rollout to rollout."""
    generator = np.random.default_rng(0)
    num_worlds, discount = 4, 0.9
    reward = generator.standard_normal((15, num_worlds)) * 5 + 2
    start = generator.random((15, num_worlds)) < 0.2
    scaler = RewardScaler(num_worlds, discount)
    for part in (slice(0, 6), slice(6, 7), slice(7, 15)):
        scaler.update(torch.from_numpy(reward[part]), torch.from_numpy(start[part]))
    returns = []
    for world in range(num_worlds):
        running = 0.0
        for t in range(15):
            running = reward[t, world] + (0.0 if start[t, world] else discount * running)
            returns.append(running)
    scaled = scaler.scale(torch.ones(1, num_worlds))
    np.testing.assert_allclose(scaled, 1.0 / np.std(returns), rtol=1e-6)


def test_rewards_are_scaled_but_not_shifted():
    """Zero stays zero and signs stay: the task is the same."""
    scaler = RewardScaler(2, 0.99)
    reward_TB = torch.tensor([[100.0, 90.0], [0.0, -1.0]])
    scaler.update(reward_TB, torch.zeros(2, 2, dtype=torch.bool))
    scaled_TB = scaler.scale(reward_TB)
    assert scaled_TB[1, 0] == 0.0
    assert torch.equal(scaled_TB.sign(), reward_TB.sign())
    assert scaled_TB.dtype == torch.float32


@pytest.mark.parametrize("make", [lambda: RunningMoments(3), lambda: RewardScaler(3, 0.9)])
def test_a_state_dict_holds_all_there_is(make):
    """A restored copy goes on as the original does."""
    original, copy = make(), make()
    rows = torch.from_numpy(batches((5,))[0])
    arguments = (torch.zeros(5, 3, dtype=torch.bool),) if isinstance(original, RewardScaler) else ()
    original.update(rows, *arguments)
    copy.load_state_dict(original.state_dict())
    for module in (original, copy):
        module.update(2.0 * rows, *arguments)
    for name, value in original.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value), name
