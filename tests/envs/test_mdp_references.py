"""The planners for tabular MDPs: their beliefs, their plans, and what they earn."""

from types import SimpleNamespace

import pytest
import torch

from quickstudy.envs.families.tabular_mdp import NUM_ACTIONS, NUM_STATES, plan, tables
from quickstudy.envs.references import references_of
from quickstudy.envs.references.reference import Omniscient, Trials
from quickstudy.envs.references.tabular_mdp import BonusPlayer, Posterior, PSRLPlayer
from quickstudy.envs.trials import TrialEnv

EVERY_PLANNER = [
    PSRLPlayer,
    lambda seed: BonusPlayer(1.0, each_step=True),
    lambda seed: BonusPlayer(1.0, each_step=False),
]


def see(posterior, pair, reward, after, known=True):
    """One step of a single world."""
    posterior.see(
        torch.tensor([pair]),
        torch.tensor([reward], dtype=torch.float64),
        torch.tensor([after]),
        torch.tensor([known]),
    )


# --- beliefs ----------------------------------------------------------------------------------


def test_a_belief_worked_by_hand():
    """Pair (2, 3) pays 4 and 1: mean (1 + 4 + 1) / 3 = 2, deviation 1 / √3; it led to 7 and 0."""
    posterior = Posterior(1)
    see(posterior, 2 * NUM_ACTIONS + 3, 4.0, 7)
    see(posterior, 2 * NUM_ACTIONS + 3, 1.0, 0)
    assert float(posterior.reward_mean[0, 2, 3]) == pytest.approx(2.0)
    assert float(posterior.reward_deviation[0, 2, 3]) == pytest.approx(3**-0.5)
    assert posterior.concentration[0, 2, 3].tolist() == [2, 1, 1, 1, 1, 1, 1, 2, 1, 1]


def test_an_unknown_next_state_is_not_counted_but_its_reward_is():
    posterior = Posterior(1)
    see(posterior, 0, 3.0, 5, known=False)
    assert float(posterior.reward_mean[0, 0, 0]) == pytest.approx(2.0)
    assert bool((posterior.concentration == 1.0).all())


def test_nothing_seen_is_the_prior_and_forgetting_leads_back_to_it():
    posterior, prior = Posterior(2), Posterior(2)
    posterior.see(torch.tensor([4, 9]), torch.ones(2).double(), torch.tensor([1, 2]), torch.ones(2))
    posterior.forget(torch.tensor([False, True]))
    assert bool((prior.reward_mean == 1.0).all())
    assert bool((prior.reward_deviation == 1.0).all())
    assert bool((prior.concentration == 1.0).all())
    for name in ("reward_mean", "reward_deviation", "concentration"):
        assert torch.equal(getattr(posterior, name)[1], getattr(prior, name)[1])
    assert float(posterior.concentration[0].sum()) == 501.0


def test_a_sampled_mdp_has_the_beliefs_moments():
    """4000 draws after pair 0 paid 3 and led to state 4.

    Reward N(2, 1/2): standard errors 0.011 and 0.011; share of state 4: Beta(2, 9), mean 2/11.
    """
    player, posterior = PSRLPlayer(0), Posterior(4000)
    ones = torch.ones(4000)
    posterior.see(ones.long() * 0, 3.0 * ones.double(), 4 * ones.long(), ones.bool())
    reward, transition = player._mdp(posterior)
    assert float(reward[:, 0, 0].mean()) == pytest.approx(2.0, abs=0.045)
    assert float(reward[:, 0, 0].var()) == pytest.approx(0.5, abs=0.045)
    assert float(transition[:, 0, 0, 4].mean()) == pytest.approx(2 / 11, abs=0.007)
    assert float(transition[:, 0, 0, 4].var()) == pytest.approx(18 / 1452, rel=0.1)
    # Untouched pairs: as the family's own tables.
    assert float(reward[:, 1:].mean()) == pytest.approx(1.0, abs=0.01)
    assert float(transition[:, 1:].var()) == pytest.approx(9 / 1100, rel=0.02)


# --- what the planners see and do -------------------------------------------------------------


def blind_env(num_worlds):
    """All a planner may know of its worlds."""
    return SimpleNamespace(num_worlds=num_worlds, episode_length=10)


def percept(state, action=0, reward=0.0, start="no"):
    """All a planner may see at a step of two worlds, here of a trial, an episode, or neither."""
    return SimpleNamespace(
        observation=torch.eye(NUM_STATES)[[state, state]],
        previous_action=torch.tensor([action, action]),
        previous_reward=torch.tensor([reward, reward]),
        episode_start=torch.full((2,), start != "no"),
        trial_start=torch.full((2,), start == "trial"),
    )


@pytest.mark.parametrize("make", EVERY_PLANNER)
def test_a_planner_needs_nothing_but_what_an_agent_sees(make):
    """And repeats itself for its seed."""

    def play():
        player = make(0)
        player.begin(blind_env(2))
        seen = [percept(0, start="trial"), percept(3, 1, 5.0), percept(0, 2, 1.0, start="episode")]
        return [player.act(step) for step in [*seen, percept(3, 1, 0.0), percept(0, start="trial")]]

    assert all(torch.equal(a, b) for a, b in zip(play(), play(), strict=True))


def test_a_plan_is_made_at_an_episodes_start_or_at_every_step():
    """Action 0 in state 0 pays −9 and leads back to 0, seen within an episode."""
    actions = {}
    for each_step in (False, True):
        player = BonusPlayer(1.0, each_step=each_step)
        player.begin(blind_env(2))
        assert player.act(percept(0, start="trial")).tolist() == [0, 0]
        actions[each_step] = player.act(percept(0, 0, -9.0)).tolist()
        later = player.act(percept(0, 0, -9.0, start="episode")).tolist()
        assert later == [1, 1]  # by now both know
    assert actions == {False: [0, 0], True: [1, 1]}


def test_a_new_trial_forgets_and_a_new_episode_does_not():
    player = BonusPlayer(0.0, each_step=False)
    player.begin(blind_env(2))
    player.act(percept(0, start="trial"))
    player.act(percept(0, 0, -9.0))
    assert player.act(percept(0, 0, -9.0, start="episode")).tolist() == [1, 1]
    assert player.act(percept(0, start="trial")).tolist() == [0, 0]


def test_the_state_after_an_episode_is_not_taken_for_the_next():
    """State 0 is shown, but as the start of the new episode."""
    player = BonusPlayer(0.0, each_step=False)
    player.begin(blind_env(2))
    player.act(percept(0, start="trial"))
    player.act(percept(6, 2, 1.0))
    player.act(percept(0, 3, 1.0, start="episode"))
    seen = torch.nonzero(player._posterior.concentration[0] == 2.0).tolist()
    assert seen == [[0, 2, 6]]
    assert float(player._posterior.reward_deviation[0, 6, 3]) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("each_step", [False, True])
def test_a_played_trial_follows_a_scalar_reference(each_step):
    """One world at a time: dictionaries of what was seen, and the plan from scratch."""
    env = TrialEnv("TabularMDP", 3, episode_length=4, episodes_per_trial=3)
    player = BonusPlayer(1.0, each_step=each_step)
    step = env.reset(2)
    player.begin(env)
    rewards, visits = [{} for _ in range(3)], [{} for _ in range(3)]
    plans, previous = [None] * 3, [None] * 3
    for t in range(12):
        chosen = player.act(step)
        for world in range(3):
            state = int(step.observation[world].argmax())
            start = t % 4 == 0
            if previous[world] is not None:
                reward = float(step.previous_reward[world])
                rewards[world].setdefault(previous[world], []).append(reward)
                if not start:
                    visits[world].setdefault(previous[world], []).append(state)
            if start or each_step:
                plans[world] = slow_plan(rewards[world], visits[world], 4)
            action = int(plans[world][t % 4, 0, state])
            assert int(chosen[world]) == action
            previous[world] = (state, action)
        step = env.step(chosen)


def slow_plan(rewards, visits, horizon):
    reward = torch.full((1, NUM_STATES, NUM_ACTIONS), 2.0, dtype=torch.float64)
    transition = torch.full((1, NUM_STATES, NUM_ACTIONS, NUM_STATES), 0.1, dtype=torch.float64)
    for (s, a), seen in rewards.items():
        m = len(seen)
        reward[0, s, a] = (1.0 + sum(seen)) / (1 + m) + (1 + m) ** -0.5
    for (s, a), states in visits.items():
        counts = torch.ones(NUM_STATES).double()
        for state in states:
            counts[state] += 1.0
        transition[0, s, a] = counts / counts.sum()
    return plan(reward, transition, horizon)[0]


# --- what they earn ---------------------------------------------------------------------------


def test_the_omniscient_player_earns_the_value_of_the_true_mdps():
    trials = Trials("TabularMDP", 10, 2, 1000, seed=0)
    returns = trials.returns(lambda seed: Omniscient())
    space = TrialEnv("TabularMDP", 1).family.task_space
    seed_N = space.listing("test", 1000, 0)[:, 0].long()
    surplus = returns.mean(dim=1) - plan(*tables(seed_N), 10)[1][:, 0]
    assert float(surplus.mean()) == pytest.approx(0.0, abs=4 * float(surplus.std()) / 1000**0.5)


def test_the_references_are_in_their_order():
    """300 trials of 10 episodes on the same tasks: the gaps are several standard errors."""
    references = references_of("TabularMDP", 10, 10, 300, 0)
    score = {r.name: r for r in references}
    assert list(score) == [
        "omniscient", "bonus planner, each step", "bonus planner", "greedy planner", "PSRL",
        "random",
    ]  # fmt: skip
    assert score["random"].episode_returns == (10.0,) * 10
    assert score["omniscient"].trial_return > 200 > 170 > score["bonus planner"].trial_return
    assert score["bonus planner, each step"].trial_return > score["bonus planner"].trial_return + 5
    assert score["greedy planner"].trial_return > score["PSRL"].trial_return + 5
    assert score["PSRL"].trial_return > 125 > score["random"].trial_return
    # A first episode without a plan is as good as random: 10 ± 0.2.
    assert score["PSRL"].episode_returns[0] == pytest.approx(10.0, abs=1.0)
    assert all(r.standard_error < 3.0 for r in references)


def test_planners_learn_from_episode_to_episode():
    trials = Trials("TabularMDP", 10, 12, 200, seed=5)
    for make in EVERY_PLANNER:
        returns = trials.returns(make).mean(dim=0)
        assert float(returns[-3:].mean()) > float(returns[:3].mean()) + 3.0
