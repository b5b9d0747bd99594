"""Tabular MDPs: their distribution, their steps, and planning in them."""

import itertools

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.families.tabular_mdp import (
    NUM_ACTIONS,
    NUM_STATES,
    TabularMDP,
    pick,
    plan,
    tables,
)
from quickstudy.envs.tasks import SeedTasks
from quickstudy.envs.trials import FixedTasks, TrialEnv


def seeds(count, first=0):
    return torch.arange(first, first + count)


def fixed(seed_N):
    return FixedTasks(seed_N.double().unsqueeze(1))


def random_actions(num_worlds, step):
    key_N = rng.fold_in(rng.world_keys(5, rng.Stream.ACTION, num_worlds), step)
    return (rng.uniform(key_N, 1)[:, 0] * NUM_ACTIONS).long()


# --- the distribution of MDPs -----------------------------------------------------------------


def test_an_mdp_is_the_released_one():
    """Changed numbers are other tasks under the same name: a new version of the family."""
    reward, transition = tables(torch.tensor([0, 2**40 - 1]))
    assert reward[:, 3, 4].tolist() == pytest.approx(
        [-0.6739517402621438, 0.6697830348382976], rel=1e-12
    )
    assert transition[:, 3, 4, 5].tolist() == pytest.approx(
        [0.027391143791804438, 0.054898667760068506], rel=1e-12
    )


def test_an_mdp_follows_from_its_seed_alone():
    together, alone = tables(seeds(5)), tables(torch.tensor([3]))
    for many, one in zip(together, alone, strict=True):
        assert torch.equal(many[3], one[0])


def test_mean_rewards_are_normal_with_mean_and_variance_1():
    """2000 MDPs × 50 pairs: standard errors 0.0032 of the mean, 0.0045 of the variance."""
    reward, _ = tables(seeds(2000))
    assert reward.shape == (2000, NUM_STATES, NUM_ACTIONS)
    assert float(reward.mean()) == pytest.approx(1.0, abs=4 * 0.0032)
    assert float(reward.var()) == pytest.approx(1.0, abs=4 * 0.0045)
    # Kurtosis 3, standard error √(96 / 10⁵) = 0.031.
    assert float(((reward - 1.0) ** 4).mean()) == pytest.approx(3.0, abs=4 * 0.031)


def test_transition_rows_are_probabilities_with_the_moments_of_a_flat_dirichlet():
    """Ten entries: mean 1/10, variance 9 / (100 · 11), covariance −1 / (100 · 11)."""
    _, transition = tables(seeds(1000))
    assert transition.shape == (1000, NUM_STATES, NUM_ACTIONS, NUM_STATES)
    torch.testing.assert_close(transition.sum(dim=-1), torch.ones(1000, 10, 5).double())
    assert float(transition.min()) >= 0.0
    rows = transition.view(-1, NUM_STATES)
    covariance = torch.cov(rows.T)
    expected = (torch.eye(10) * 10 - 1) / 1100
    assert rows.mean(dim=0).tolist() == pytest.approx([0.1] * 10, abs=4 * 0.0004)
    torch.testing.assert_close(covariance, expected.double(), rtol=0.0, atol=3e-4)


def test_the_pairs_of_an_mdp_and_the_mdps_are_independent():
    """4000 MDPs: correlations have a standard error of 0.016."""
    reward, transition = tables(seeds(4000))
    columns = torch.cat([reward.flatten(1)[:, :12], transition.flatten(1)[:, [0, 11, 22]]], dim=1)
    beside = torch.cat([columns, columns.roll(1, dims=0)], dim=1)
    correlations = torch.corrcoef(beside.T) - torch.eye(30)
    assert float(correlations.abs().max()) < 0.08


@pytest.mark.parametrize(
    ("u", "index"), [(0.0, 0), (0.2, 0), (0.25, 1), (0.74, 1), (0.75, 2), (1.0 - 2.0**-53, 2)]
)
def test_an_index_is_picked_in_proportion_to_its_weight(u, index):
    """Weights 1, 2, 1: cumulated 1, 3, 4, so the borders are 0.25 and 0.75."""
    weights = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64)
    assert pick(weights, torch.tensor([u], dtype=torch.float64)).tolist() == [index]


def test_rounding_does_not_pick_an_index_beyond_the_last():
    weights = torch.full((1, 10), 0.1, dtype=torch.float64)
    assert pick(weights, torch.ones(1, dtype=torch.float64)).tolist() == [9]


# --- steps ------------------------------------------------------------------------------------


def test_a_step_pays_the_pairs_mean_and_a_standard_normal_noise():
    """500 worlds × 40 steps: standard errors 0.007 of the mean, 0.01 of the variance."""
    env = TrialEnv("TabularMDP", 500, episode_length=40, task_source=fixed(seeds(500)))
    family, noise = env.family, []
    reward_NSA, _ = tables(seeds(500))
    state = env.reset(0).observation.argmax(dim=1)
    for step in range(40):
        action = random_actions(500, step)
        expected = reward_NSA[torch.arange(500), state, action]
        key_N, step_N = family._key_N, family._step_N
        outcome = family.step(action)
        assert torch.equal(outcome.reward_terms["mean"], expected)
        u_N3 = rng.uniform(rng.fold_in(key_N, step_N), 3)
        assert torch.equal(outcome.reward_terms["noise"], rng.box_muller(u_N3[:, :2])[:, 0])
        noise.append(outcome.reward_terms["noise"])
        state = family.observe().argmax(dim=1)
    noise = torch.stack(noise)
    assert float(noise.mean()) == pytest.approx(0.0, abs=4 * 0.007)
    assert float(noise.var()) == pytest.approx(1.0, abs=4 * 0.01)
    assert float((noise**4).mean()) == pytest.approx(3.0, abs=4 * 0.07)
    assert float((noise[1:] * noise[:-1]).mean()) == pytest.approx(0.0, abs=4 * 0.007)


def test_next_states_come_as_often_as_the_table_says():
    """20 000 worlds take action 2 in state 0 of MDP 6: standard errors below 0.0036."""
    env = TrialEnv("TabularMDP", 20_000, task_source=fixed(torch.full((20_000,), 6)))
    env.reset(0)
    after = env.step(torch.full((20_000,), 2)).observation
    _, transition = tables(torch.tensor([6]))
    assert torch.equal(after.sum(dim=1), torch.ones(20_000))
    assert after.double().mean(dim=0).tolist() == pytest.approx(
        transition[0, 0, 2].tolist(), abs=4 * 0.0036
    )


def test_episodes_start_in_state_0_of_the_same_mdp():
    env = TrialEnv("TabularMDP", 4, episode_length=5, episodes_per_trial=2)
    step = env.reset(3)
    tasks = []
    for t in range(20):
        if bool(step.episode_start.all()):
            assert step.observation.argmax(dim=1).tolist() == [0] * 4
        tasks.append(env.tasks)
        step = env.step(random_actions(4, t))
    assert all(torch.equal(task, tasks[0]) for task in tasks[:10])
    assert not bool((tasks[10] == tasks[0]).any())


def test_worlds_do_not_depend_on_how_many_there_are():
    few, many = TrialEnv("TabularMDP", 3), TrialEnv("TabularMDP", 7)
    few.reset(4), many.reset(4)
    for step in range(120):  # into the second trial
        a, b = few.step(random_actions(3, step)), many.step(random_actions(7, step))
        assert torch.equal(a.reward, b.reward[:3])
        assert torch.equal(a.observation, b.observation[:3])


def test_random_actions_earn_1_per_step():
    """1000 trials of 100 steps; the standard error is measured from them."""
    env = TrialEnv("TabularMDP", 1000)
    env.reset(0)
    for step in range(100):
        env.step(random_actions(1000, step))
    trial = env.finished().returns.sum(dim=1)
    assert float(trial.mean()) == pytest.approx(100.0, abs=4 * float(trial.std()) / 1000**0.5)


def test_even_seeds_are_for_training_and_odd_ones_for_testing():
    space = TabularMDP.task_space
    drawn = {s: space.sample(s, rng.world_keys(0, rng.Stream.TASK, 2000)) for s in space.splits}
    for remainder, split in enumerate(space.splits):
        assert set((drawn[split] % 2).unique().tolist()) == {float(remainder)}
        assert 0 <= float(drawn[split].min()) < 0.01 * 2**40
        assert 0.99 * 2**40 < float(drawn[split].max()) < 2**40
        assert len(drawn[split].unique()) == 2000
    values = [-2.0, 0.0, 1.0, 1.5, 2.0**40 - 2, 2.0**40 - 1, 2.0**40]
    points = torch.tensor(values, dtype=torch.float64).unsqueeze(1)
    assert space.contains("train", points).tolist() == [0, 1, 0, 0, 1, 0, 0]
    assert space.contains("test", points).tolist() == [0, 0, 1, 0, 0, 1, 0]


def test_every_seed_of_a_small_space_is_drawn():
    space = SeedTasks(bits=3)
    keys = rng.world_keys(0, rng.Stream.TASK, 200)
    assert space.sample("train", keys).unique().tolist() == [0, 2, 4, 6]
    assert space.sample("test", keys).unique().tolist() == [1, 3, 5, 7]


# --- planning ---------------------------------------------------------------------------------


def test_a_plan_worked_by_hand():
    """State 0: stay for 1 or go to state 1 for 0; state 1: stay for 2, or go back for 0.

    With one step left, values are 1 and 2; with two, state 0 is worth max(1 + 1, 0 + 2) = 2
    (staying is listed first) and state 1 is worth 4; with three, state 0: max(1 + 2, 0 + 4) = 4.
    """
    reward = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]])
    transition = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]])
    actions, value = plan(reward, transition, 3)
    assert value.tolist() == [[4.0, 6.0]]
    assert actions[:, 0].tolist() == [[1, 0], [0, 0], [0, 0]]


def best_of_all_plans(reward_SA, transition_SAS, horizon):
    """The highest value of state 0 over every assignment of actions to steps and states."""
    states, actions = reward_SA.shape
    best = -torch.inf
    for chosen in itertools.product(range(actions), repeat=horizon * states):
        value = torch.zeros(states).double()
        for row in range(horizon):
            action = torch.tensor(chosen[row * states : (row + 1) * states])
            each = torch.arange(states)
            value = reward_SA[each, action] + transition_SAS[each, action] @ value
        best = max(best, float(value[0]))
    return best


def test_a_plan_is_worth_as_much_as_the_best_of_all():
    """3 states, 2 actions, 3 steps: 2⁹ plans."""
    reward, transition = tables(seeds(4))
    reward, transition = reward[:, :3, :2], transition[:, :3, :2, :3]
    transition = transition / transition.sum(dim=-1, keepdim=True)
    _, value = plan(reward, transition, 3)
    expected = [best_of_all_plans(reward[i], transition[i], 3) for i in range(4)]
    assert value[:, 0].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("length", [1, 4, 10])
def test_the_expert_earns_what_its_plan_promises(length):
    """Paired by MDP, so that only chance within it remains."""
    env = TrialEnv("TabularMDP", 2000, episode_length=length, episodes_per_trial=2)
    env.reset(1)
    _, value_NS = plan(*tables(env.tasks[:, 0].long()), length)
    for _ in range(2 * length):
        env.step(env.family.expert_action(env.tasks))
    surplus = env.finished().returns.mean(dim=1) - value_NS[:, 0]
    assert float(surplus.mean()) == pytest.approx(0.0, abs=4 * float(surplus.std()) / 2000**0.5)


def test_the_expert_acts_on_its_belief():
    """Told another MDP, it plans in that one, and plans anew when told again."""
    env = TrialEnv("TabularMDP", 50, task_source=fixed(seeds(50)))
    env.reset(0)
    beliefs = [seeds(50).double().unsqueeze(1), seeds(50, first=100).double().unsqueeze(1)]
    for belief in [*beliefs, beliefs[0]]:
        actions_HNS, _ = plan(*tables(belief[:, 0].long()), 10)
        assert torch.equal(env.family.expert_action(belief), actions_HNS[0, :, 0])
