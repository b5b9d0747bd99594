"""Bernoulli bandits and their prior: what the contracts over all families cannot know."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.registry import family_class, make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv

BANDITS = ("Bandit2", "Bandit5", "Bandit10", "Bandit50")


def random_arms(env, step):
    """An arm per world that depends on the world and the step alone."""
    key_N = rng.fold_in(rng.world_keys(5, rng.Stream.ACTION, env.num_worlds), step)
    return (rng.uniform(key_N, 1)[:, 0] * env.family.task_space.dim).long()


def rewards(env, arms, steps, seed=0):
    """Pull `arms` in every step; rewards `(steps, N)`."""
    env.reset(seed)
    return torch.stack([env.step(arms).reward for _ in range(steps)])


@pytest.mark.parametrize("name", BANDITS)
def test_the_name_says_how_many_arms_there_are(name):
    cls, arms = family_class(name), int(name.removeprefix("Bandit"))
    assert int(cls.action_space.n) == cls.task_space.dim == arms


def test_each_arm_pays_with_its_own_probability():
    """Worlds i pull arm i mod 5; 1000 × 100 pulls per arm: standard error ≤ 0.0016."""
    p = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)
    env = TrialEnv("Bandit5", 5000, episode_length=100, task_source=FixedTasks(p.expand(5000, 5)))
    paid = rewards(env, torch.arange(5000) % 5, 100)
    assert set(paid.unique().tolist()) == {0.0, 1.0}
    means = paid.double().mean(dim=0).view(1000, 5).mean(dim=0)
    assert float(means[0]) == 0.0
    assert float(means[4]) == 1.0
    assert means[1:4].tolist() == pytest.approx([0.1, 0.5, 0.9], abs=4 * 0.0016)


def test_pulls_are_independent_of_each_other_and_between_worlds():
    """400 steps of 500 worlds at p = ½: covariances of neighbours have a standard error 0.0006."""
    env = TrialEnv(
        "Bandit2", 500, episode_length=400, task_source=FixedTasks(torch.full((500, 2), 0.5))
    )
    paid = rewards(env, torch.zeros(500, dtype=torch.int64), 400).double() - 0.5
    assert float((paid[1:] * paid[:-1]).mean()) == pytest.approx(0.0, abs=0.0025)
    assert float((paid[:, 1:] * paid[:, :-1]).mean()) == pytest.approx(0.0, abs=0.0025)


def test_a_pull_follows_from_the_episodes_key_and_the_step_alone():
    def pulls(key_N):
        family = make_family("Bandit5", 4)
        tasks = torch.full((4, 5), 0.5, dtype=torch.float64)
        family.reset(torch.ones(4, dtype=torch.bool), tasks, key_N)
        arms = torch.zeros(4, dtype=torch.int64)
        return torch.stack([family.step(arms).reward for _ in range(40)], dim=1)

    keys = torch.tensor([1, 2, 1, 3])
    paid = pulls(keys)
    assert torch.equal(paid[0], paid[2])
    assert not torch.equal(paid[0], paid[1])
    assert torch.equal(pulls(keys.flip(0)), paid.flip(0))


def test_worlds_do_not_depend_on_how_many_there_are():
    few, many = TrialEnv("Bandit10", 3), TrialEnv("Bandit10", 8)
    few.reset(4), many.reset(4)
    for step in range(25):  # into the third trial
        a, b = few.step(random_arms(few, step)), many.step(random_arms(many, step))
        assert torch.equal(a.reward, b.reward[:3])
        assert torch.equal(few.tasks, many.tasks[:3])


def test_the_arms_stay_through_a_trial_and_change_with_it():
    env = TrialEnv("Bandit5", 6, episode_length=3, episodes_per_trial=2)
    env.reset(0)
    tasks = []
    for step in range(12):
        tasks.append(env.tasks)
        env.step(random_arms(env, step))
    assert all(torch.equal(task, tasks[0]) for task in tasks[:6])
    assert all(torch.equal(task, tasks[6]) for task in tasks[6:])
    assert not bool((tasks[0] == tasks[6]).any())


def test_random_pulls_earn_half_a_reward_each():
    """2000 trials of 10 pulls: standard deviation √(10 / 4) = 1.58, standard error 0.035."""
    env = TrialEnv("Bandit10", 2000)
    env.reset(0)
    for step in range(10):
        env.step(random_arms(env, step))
    assert float(env.finished().returns.mean()) == pytest.approx(5.0, abs=4 * 0.035)


def test_the_expert_pulls_the_arm_it_believes_best():
    family = make_family("Bandit5", 2)
    belief = torch.tensor([[0.1, 0.2, 0.9, 0.3, 0.0], [0.8, 0.2, 0.1, 0.3, 0.7]])
    assert family.expert_action(belief.double()).tolist() == [2, 0]


def test_the_picture_shows_probabilities_as_heights_and_the_pulled_arm_in_blue():
    family = make_family("Bandit2", 1)
    tasks = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    family.reset(torch.ones(1, dtype=torch.bool), tasks, torch.tensor([7]))
    family.step(torch.tensor([0]))
    picture = family.render()
    assert picture[0, 0].tolist() == [40, 90, 170]  # a bar to the top
    assert picture[0, 8].tolist() == [245, 245, 245]
    assert picture[-1, 8].tolist() == [170, 170, 170]


# --- the prior --------------------------------------------------------------------------------

PRIOR = family_class("Bandit10").task_space


@pytest.mark.parametrize(("split", "high"), [("train", 1.0), ("test", 1.0), ("ood", 0.5)])
def test_a_split_is_uniform_and_its_arms_independent(split, high):
    """4000 × 10 draws of U[0, h]: mean h / 2 ± 0.0015 h, variance h² / 12 ± 0.0004 h²."""
    tasks = PRIOR.sample(split, rng.world_keys(2, rng.Stream.TASK, 4000))
    assert float(tasks.mean()) == pytest.approx(high / 2, abs=4 * 0.0015 * high)
    assert float(tasks.var()) == pytest.approx(high**2 / 12, abs=4 * 0.0004 * high**2)
    assert 0.0 <= float(tasks.min()) < 0.01 * high
    assert 0.99 * high < float(tasks.max()) < high
    correlations = torch.corrcoef(tasks.T) - torch.eye(10)
    assert float(correlations.abs().max()) < 0.08  # standard error 0.016


def test_train_and_test_never_draw_the_same_task():
    """Not even under the same keys, nor in listings of the same seed."""
    keys = rng.world_keys(0, rng.Stream.TASK, 500)
    drawn = {split: PRIOR.sample(split, keys) for split in PRIOR.splits}
    listed = {split: PRIOR.listing(split, 500, seed=0) for split in PRIOR.splits}
    rows = torch.cat([*drawn.values(), *listed.values()])
    assert len(rows[:, 0].unique()) == len(rows) == 3000


def test_the_prior_contains_what_lies_in_its_box():
    inside, beyond = torch.full((1, 10), 0.4), torch.full((1, 10), 0.6)
    assert [bool(PRIOR.contains(split, inside)) for split in PRIOR.splits] == [True] * 3
    assert [bool(PRIOR.contains(split, beyond)) for split in PRIOR.splits] == [True, True, False]
