"""Populations on control tasks: agents by themselves, in company, in pairs and broken."""

import math

import pytest
import torch

from quickstudy.agents.lifetimes.control import ANCHORS, ControlConfig, ControlLifetimes
from quickstudy.agents.lifetimes.control_learning import (
    ControlLearningConfig,
    Experience,
    whitened,
)
from quickstudy.agents.lifetimes.control_worlds import ControlRollout, ControlWorlds
from quickstudy.agents.lifetimes.lifetimes import joined, rows_of
from quickstudy.agents.lifetimes.stacked_moments import StackedMoments
from quickstudy.agents.normalization import RewardScaler
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.envs import rng
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import FixedTasks, TrialEnv
from quickstudy.experiments.threads import torch_threads

FAMILIES = ["CartPole", "Pendulum"]


@pytest.fixture(autouse=True)
def _one_thread():
    """As populations are trained; two threads cut a batch in two, whose last bits may differ."""
    with torch_threads(1):
        yield


def lives(family="CartPole", **changes):
    """Short lives of small agents."""
    small = {"min_updates": 3, "max_updates": 3, "copies": 3, "rollout_steps": 12}
    small |= {"episode_length": 10, "hidden_size": 8, "families": (family,)}
    return ControlConfig(**small | changes).build()


def keys(count, seed=0):
    return rng.world_keys(seed, rng.Stream.STUDENT, count)


def rules(lifetimes, count):
    """PPO's drift, and others around it."""
    size = lifetimes.num_parameters
    noise = 0.5 * rng.normal(rng.world_keys(7, rng.Stream.BOOTSTRAP, count), size).float()
    return lifetimes.first_rule(0) + noise * (torch.arange(count) > 0).float().unsqueeze(1)


def assert_same(rows, others):
    assert set(rows) == set(others)
    for name, row in rows.items():
        assert torch.equal(row.nan_to_num(7.0), others[name].nan_to_num(7.0)), name


# --- an agent is a function of its rule and its key -------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_population_is_its_agents_one_by_one(family):
    lifetimes, key_P = lives(family), keys(3)
    rule_PM = rules(lifetimes, 3)
    rows = lifetimes.learn(rule_PM, lifetimes.begin(key_P), 3)
    alone = joined(
        [
            lifetimes.learn(rule_PM[p : p + 1], lifetimes.begin(key_P[p : p + 1]), 3)
            for p in range(3)
        ]
    )
    for name, row in rows.items():
        torch.testing.assert_close(row, alone[name], rtol=1e-4, atol=1e-5, msg=name)
    torch.testing.assert_close(lifetimes.score(rows), lifetimes.score(alone), rtol=1e-4, atol=1e-3)
    assert bool((rows["weight"] - lifetimes.begin(key_P)["weight"]).abs().amax(dim=1).gt(0).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pair_with_equal_keys_and_rules_lives_the_same_life(family):
    """Bit for bit where minibatches (4 · 16/4) and layers fill whole vectors, as usual sizes do."""
    lifetimes = lives(family, copies=4, rollout_steps=16, hidden_size=16)
    key_P = keys(1).expand(2)
    rule_PM = rules(lifetimes, 2)[1:].expand(2, -1)
    rows = lifetimes.learn(rule_PM, lifetimes.begin(key_P), 3)
    assert_same(rows_of(rows, slice(0, 1)), rows_of(rows, slice(1, 2)))
    score_P, _ = lifetimes.score(rows)
    assert score_P[0] == score_P[1]


def test_a_pair_with_other_rules_meets_the_same_task_weights_and_first_steps():
    """The drift is felt from the second gradient step on; the first rollout is the same."""
    lifetimes, key_P = lives(), keys(1).expand(2)
    born = lifetimes.begin(key_P)
    assert_same(rows_of(born, slice(0, 1)), rows_of(born, slice(1, 2)))
    rows = lifetimes.learn(rules(lifetimes, 2), born, 1)
    for name in ("shown", "seen.mean", "running_return", "world.family.state", "world.episode_key"):
        assert torch.equal(rows[name][0], rows[name][1]), name
    assert not torch.equal(rows["weight"][0], rows["weight"][1])


def test_agents_with_other_keys_live_other_lives():
    rows = lives().begin(keys(2))
    for name in ("task", "weight", "shown"):
        assert not torch.equal(rows[name][0], rows[name][1]), name
    copies = rows["shown"][0]
    assert not torch.equal(copies[0], copies[1])


def test_copies_share_their_agents_task_for_all_its_life():
    lifetimes = lives()
    rows = lifetimes.begin(keys(2))
    later = lifetimes.learn(rules(lifetimes, 2), rows, 3)  # 36 steps of episodes of at most 10
    assert bool((later["world.trial"] >= 3).all())
    for state in (rows, later):
        task_PED = state["world.family.task"]
        assert torch.equal(task_PED, rows["task"].unsqueeze(1).expand_as(task_PED))


# --- populations can be kept, cut and gone on with --------------------------------------------


@pytest.mark.parametrize("family", [*FAMILIES, "PointGoal"])
def test_three_updates_are_one_and_two_with_others_in_between(family):
    lifetimes, key_P = lives(family), keys(2)
    rule_PM = rules(lifetimes, 2)
    born = lifetimes.begin(key_P)
    kept = {name: row.clone() for name, row in born.items()}
    at_once = lifetimes.learn(rule_PM, born, 3)
    assert_same(born, kept)
    first = lifetimes.learn(rule_PM, born, 1)
    lifetimes.score(first)
    lifetimes.begin(keys(5, seed=9))
    assert_same(lifetimes.learn(rule_PM, first, 2), at_once)


def test_lives_of_one_update_and_more_are_what_they_are_alone():
    """Steps: 12 steps in 3 copies per update, and those of the last episodes (≤ 10 each)."""
    lifetimes, key_P = lives("Pendulum", min_updates=1, max_updates=3), keys(6)
    rule_PM = rules(lifetimes, 6)
    total_P = lifetimes.total(key_P)
    assert {1, 3} <= set(total_P.tolist()) <= {1, 2, 3}
    lived = lifetimes.live(rule_PM, key_P)
    assert torch.equal(lived.steps_P, total_P * 12 * 3 + 10 * 3)
    for p in range(6):
        alone = lifetimes.live(rule_PM[p : p + 1], key_P[p : p + 1])
        torch.testing.assert_close(lived.score_P[p : p + 1], alone.score_P, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_rule_breaks_its_own_agent_alone(broken):
    lifetimes, key_P = lives("Pendulum"), keys(3)
    rule_PM = rules(lifetimes, 3)
    whole = lifetimes.live(rule_PM, key_P)
    rule_PM[1] = broken
    lived = lifetimes.live(rule_PM, key_P)
    assert lived.score_P.isnan().tolist() == [False, True, False]
    assert torch.equal(lived.score_P[[0, 2]], whole.score_P[[0, 2]])


def test_scores_are_mean_returns_of_the_final_policy_or_on_the_anchors_scale():
    plain, scaled = lives("Pendulum"), lives("Pendulum", normalise=True)
    rows = plain.begin(keys(2))
    low, high = ANCHORS["Pendulum"]
    expected = (plain.score(rows)[0] - low) / (high - low)
    torch.testing.assert_close(scaled.score(rows)[0], expected)


# --- the worlds are TrialEnv's ----------------------------------------------------------------


def test_the_worlds_play_what_trial_env_plays():
    """Episodes of 10 steps cut in rollouts of 4, against one run of the same keys."""
    worlds = ControlWorlds("Pendulum", 2, episode_length=10, split="test")
    key_P = keys(3)
    task_PD = worlds.sample(key_P)
    assert bool(family_class("Pendulum").task_space.contains("test", task_PD).all())
    rows = worlds.begin(task_PD, key_P)
    source = FixedTasks(task_PD.repeat_interleave(2, dim=0))
    env = TrialEnv("Pendulum", 6, episode_length=10, episodes_per_trial=1, task_source=source)
    now = env.reset(rng.fold_in(key_P.unsqueeze(1), torch.arange(2)).flatten())
    for start in range(0, 24, 4):
        played, rows = worlds.play(rows, wave(start), 4)
        for step in range(4):
            seen = now.observation
            now = env.step(wave(start)(seen.view(3, 2, 3), step).view(6, 1))
            for mine, its in (
                (played.observation, seen),
                (played.next_observation, now.final_observation),
                (played.reward, now.reward),
                (played.ended, now.episode_start),
            ):
                assert torch.equal(mine[:, step].flatten(0, 1), its)


def wave(start):
    """An action that changes with time."""
    return lambda shown, step: torch.full((*shown.shape[:2], 1), math.sin(start + step))


def test_an_evaluation_counts_the_first_episode_of_each_copy_up_to_its_end():
    """Always to the right: the pole falls after 8 to 12 pushes or so, each of which earns 1."""
    worlds = ControlWorlds("CartPole", 4, episode_length=50, split="train")
    key_P = keys(2)
    found = worlds.evaluate(
        worlds.sample(key_P), key_P, lambda shown, step: torch.ones(shown.shape[:2]).long()
    )
    assert 5.0 <= float(found.returns.min()) <= float(found.returns.max()) <= 25.0
    assert torch.equal(found.returns.sum(dim=1), found.steps.double())


def test_mujoco_families_work_the_same():
    lifetimes, key_P = lives("HalfCheetahDir", copies=2, rollout_steps=6), keys(2)
    rule_PM = rules(lifetimes, 2)
    born = lifetimes.begin(key_P)
    at_once = lifetimes.learn(rule_PM, born, 2)
    in_two = lifetimes.learn(rule_PM, lifetimes.learn(rule_PM, born, 1), 1)
    assert_same(at_once, in_two)
    assert bool(lifetimes.score(at_once)[0].isfinite().all())


# --- the inner algorithm ----------------------------------------------------------------------


def random_experience(count, steps=20):
    noise = rng.normal(keys(count, seed=5), steps * 7).float().view(count, steps, 7)
    action = (noise[..., 4] > 0).long()
    return Experience(
        noise[..., :4], action, 0.3 * noise[..., 5] - 0.7, noise[..., 6], noise[..., 0]
    )


def test_with_ppos_drift_the_loss_is_ppos_clipped_surrogate():
    config = ControlLearningConfig(entropy_coefficient=0.02)
    learning = lives(learning=config).learning
    batch, weight_PW = random_experience(2), learning.networks.initial(keys(2))
    rule_PM = learning.drift.first_rule(0).expand(2, -1)
    age = Lifetime(torch.tensor([0, 2]), torch.tensor([3, 3]))
    policy = learning.networks.policy(weight_PW, batch.x)
    ratio = (policy.log_prob(batch.action) - batch.log_prob).exp()
    surrogate = torch.minimum(
        ratio * batch.advantage, ratio.clamp(0.8, 1.2) * batch.advantage
    ).mean(dim=1)
    error = learning.networks.value(weight_PW, batch.x) - batch.goal
    entropy = policy.entropy().mean(dim=1)
    expected = 0.25 * error.square().mean(dim=1) - surrogate - 0.02 * entropy
    torch.testing.assert_close(learning.loss(rule_PM, weight_PW, batch, age), expected)
    assert bool(((ratio > 1.2) | (ratio < 0.8)).any())


def test_every_agents_gradient_is_its_own_losss():
    """Agent 1's loss has no part in agent 0's gradient, nor clipping by another's norm."""
    learning = lives(learning=ControlLearningConfig(max_gradient_norm=1e9)).learning
    batch, weight_PW = random_experience(2), learning.networks.initial(keys(2))
    rule_PM = rules(lives(), 2)
    age = Lifetime(torch.tensor([1, 2]), torch.tensor([3, 3]))
    together_PW = learning.gradient(rule_PM, weight_PW, batch, age)
    for p in range(2):
        own = slice(p, p + 1)
        one = Experience(**{name: rows[own] for name, rows in vars(batch).items()})
        leaf = weight_PW[own].clone().requires_grad_()
        age_1 = Lifetime(age.updates[own], age.total[own])
        loss = learning.loss(rule_PM[own], leaf, one, age_1)
        (alone,) = torch.autograd.grad(loss.sum(), leaf)
        torch.testing.assert_close(together_PW[own], alone, rtol=1e-4, atol=1e-6)


def test_advantages_worked_by_hand_at_a_termination_and_at_a_time_limit():
    """γ = 0.5, λ = 1, rewards 1, values 2, values of what follows 4.

    δ = 1 + 0.5·4 − 2 = 1, but 1 − 2 = −1 where it terminated. Copy 0 terminates at its second of
    three steps: A = (1 + 0.5·(−1), −1, 1). Copy 1 is cut off there: A = (1 + 0.5·1, 1, 1).
    """
    learning = lives(learning=ControlLearningConfig(discount=0.5, trace=1.0)).learning
    no, end = [False, False], [True, True]
    rollout = ControlRollout(
        observation=torch.zeros(1, 3, 2, 4),
        next_observation=torch.zeros(1, 3, 2, 4),
        action=torch.zeros(1, 3, 2).long(),
        reward=torch.ones(1, 3, 2),
        terminated=torch.tensor([[no, [True, False], no]]),
        ended=torch.tensor([[no, end, no]]),
    )
    value_PB, next_PB = torch.full((1, 6), 2.0), torch.full((1, 6), 4.0)
    advantage_PB = learning._advantage(rollout, rollout.reward, value_PB, next_PB)
    expected = [[0.5, 1.5], [-1.0, 1.0], [1.0, 1.0]]
    assert advantage_PB.view(3, 2).tolist() == expected


def test_rewards_are_scaled_as_the_learner_scales_them():
    """Each agent against a `RewardScaler` of its own, over two rollouts with episodes' ends."""
    learning, copies = lives().learning, 3
    rows = learning.begin(keys(2), copies)
    plain = [RewardScaler(copies, learning.config.discount) for _ in range(2)]
    start_PE = torch.ones(2, copies, dtype=torch.bool)
    for seed in (1, 2):
        draw = rng.uniform(keys(2, seed), 15 * 2).float().view(2, 5, copies, 2)
        reward, ended = draw[..., 0], draw[..., 1] < 0.3
        rollout = ControlRollout(*([torch.empty(0)] * 3), reward, torch.empty(0), ended)
        earned, running_PE = learning._earned(rows, rollout)
        rows |= {"running_return": running_PE, **earned.rows("earned")}
        starts = torch.cat([start_PE.unsqueeze(1), ended], dim=1)
        start_PE = starts[:, -1]
        for p, scaler in enumerate(plain):
            scaler.update(reward[p], starts[p, :-1])
            own = StackedMoments.of(rows, "earned").scaled(reward)[p]
            torch.testing.assert_close(own, scaler.scale(reward[p]))


def test_minibatches_show_each_agent_all_its_steps_once_an_epoch_in_its_own_order():
    learning = lives(learning=ControlLearningConfig(epochs=2, minibatches=3)).learning
    batches = list(learning._minibatches(torch.cat([keys(2), keys(1)]), 10))
    assert [batch.shape for batch in batches] == [(3, 4), (3, 4), (3, 2)] * 2
    first, second = torch.cat(batches[:3], dim=1), torch.cat(batches[3:], dim=1)
    for order in (first, second):
        assert torch.equal(order.sort(dim=1).values, torch.arange(10).expand(3, -1))
        assert torch.equal(order[0], order[2])  # equal keys
        assert not torch.equal(order[0], order[1])
    assert not torch.equal(first, second)


def test_steps_are_picked_from_each_agents_own():
    batch = random_experience(3)
    index_PC = torch.tensor([[0, 5], [7, 7], [19, 1]])
    picked = batch.at(index_PC)
    for p in range(3):
        assert torch.equal(picked.x[p], batch.x[p, index_PC[p]])
        assert torch.equal(picked.action[p], batch.action[p, index_PC[p]])


def test_whitening_worked_by_hand():
    """1 and 5: mean 3, standard deviation 2. An agent whose advantages are equal gets zeros."""
    white = whitened(torch.tensor([[1.0, 5.0], [4.0, 4.0]]))
    torch.testing.assert_close(white, torch.tensor([[-1.0, 1.0], [0.0, 0.0]]))


# --- what a user may get wrong ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": ("CartPool",)}, "CartPole"),
        ({"families": ()}, "at least one"),
        ({"split": "tset"}, "test"),
        ({"copies": 0}, "copies"),
        ({"min_updates": 5, "max_updates": 4}, "max_updates"),
        ({"families": ("Wind",), "normalise": True}, "Options: CartPole, Pendulum, PointGoal"),
        ({"learning": ControlLearningConfig(minibatches=0)}, "minibatches"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        ControlConfig(**changes).build()


# --- and it learns ----------------------------------------------------------------------------


def learned(config, agents=3):
    """Mean scores of the new-born and of the grown-up, by PPO."""
    (family,) = config.families
    lifetimes, key_P = ControlLifetimes(config, family), keys(agents)
    rule_PM = lifetimes.first_rule(0).expand(agents, -1)
    rows = lifetimes.begin(key_P)
    before, _ = lifetimes.score(rows)
    after, _ = lifetimes.score(lifetimes.learn(rule_PM, rows, config.max_updates))
    return float(before.mean()), float(after.mean())


@pytest.mark.slow
def test_ppos_drift_learns_to_balance():
    """16 thousand steps each."""
    before, after = learned(ControlConfig(min_updates=64, max_updates=64))
    assert before < 60.0
    assert after >= 200.0


@pytest.mark.slow
def test_ppos_drift_learns_to_swing_up():
    """65 thousand steps each; random actions earn about −1,250."""
    config = ControlConfig(
        families=("Pendulum",),
        copies=16,
        rollout_steps=64,
        min_updates=64,
        max_updates=64,
        learning=ControlLearningConfig(discount=0.9, epochs=8),
    )
    before, after = learned(config)
    assert before < -900.0
    assert after > -700.0
