"""What is known about Bernoulli bandits: exact values, indices, and the players."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quickstudy.envs.references import references_of
from quickstudy.envs.references.bandit_values import (
    bayes_optimal_return,
    count_beliefs,
    gittins_indices,
    has_optimal_return,
)
from quickstudy.envs.references.bandits import (
    PLAYERS,
    GittinsPlayer,
    GreedyPlayer,
    ThompsonPlayer,
    UCB1Player,
)
from quickstudy.envs.references.reference import Trials

EVERY_PLAYER = [make for make, _ in PLAYERS.values()] + [lambda seed: GittinsPlayer()]

# --- the exact optimum ------------------------------------------------------------------------


def test_one_pull_is_worth_half_a_reward():
    assert bayes_optimal_return(7, 1) == 0.5


def test_two_pulls_of_two_arms_worked_by_hand():
    """The first pays ½. If it did, the same arm's mean is 2/3; if not, the other's is ½.

    ½ + ½ · 2/3 + ½ · ½ = 13/12.
    """
    assert bayes_optimal_return(2, 2) == pytest.approx(13 / 12, rel=1e-14)


@cache
def best_return(counts, pulls):
    """The optimum by recursion over what each arm did, arms told apart."""
    if pulls == 0:
        return 0.0
    values = []
    for arm, (s, f) in enumerate(counts):
        p = (s + 1) / (s + f + 2)
        paid = (*counts[:arm], (s + 1, f), *counts[arm + 1 :])
        failed = (*counts[:arm], (s, f + 1), *counts[arm + 1 :])
        after = best_return(paid, pulls - 1), best_return(failed, pulls - 1)
        values.append(p * (1.0 + after[0]) + (1.0 - p) * after[1])
    return max(values)


@pytest.mark.parametrize(("arms", "pulls"), [(1, 5), (2, 1), (2, 7), (3, 5), (4, 4), (5, 3)])
def test_the_optimum_is_that_of_a_search_through_everything(arms, pulls):
    expected = best_return(((0, 0),) * arms, pulls)
    assert bayes_optimal_return(arms, pulls) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("arms", "pulls", "value"),
    [(2, 10, 6.0218), (3, 10, 6.4096), (5, 10, 6.6600), (10, 10, 6.7140), (2, 50, 31.9967)],
)
def test_the_optimum_has_its_known_values(arms, pulls, value):
    assert bayes_optimal_return(arms, pulls) == pytest.approx(value, abs=5e-5)


def test_the_optimum_of_a_hundred_pulls_has_its_known_value():
    assert bayes_optimal_return(2, 100) == pytest.approx(64.9184, abs=5e-5)


def test_arms_beyond_the_pulls_are_worth_nothing_and_others_something():
    values = [bayes_optimal_return(arms, 6) for arms in (1, 2, 3, 6, 7, 50)]
    assert values[0] == 3.0  # one arm: ½ per pull
    assert values[0] < values[1] < values[2] < values[3]
    assert values[3] == values[4] == values[5]


def test_beliefs_are_counted():
    """Up to 2 pulls of 2 arms.

    None: 1. One: {1/0}, {0/1} = 2. Two: on one arm {2/0}, {1/1}, {0/2}, on two {1/0, 1/0},
    {1/0, 0/1}, {0/1, 0/1} = 6.
    """
    assert count_beliefs(2, 2) == 1 + 2 + 6


def test_too_many_beliefs_are_refused_with_the_reason():
    assert has_optimal_return(2, 100)
    assert not has_optimal_return(5, 100)
    with pytest.raises(ValueError, match=r"5 arms and 100 pulls lead to 3\.63e\+11 beliefs"):
        bayes_optimal_return(5, 100)


# --- Gittins indices --------------------------------------------------------------------------


def test_the_index_of_the_last_pull_is_the_mean():
    table = gittins_indices(6)[0]
    for s, f in [(0, 0), (2, 0), (1, 3), (0, 5)]:
        assert table[s, f] == pytest.approx((s + 1) / (s + f + 2), abs=1e-12)


def test_the_index_of_a_new_arm_with_two_pulls_left_worked_by_hand():
    """At a charge c between 1/3 and 2/3 one goes on only after a success.

    ½ − c + ½ (2/3 − c) = 0, so c = 5/9.
    """
    assert gittins_indices(2)[1, 0, 0] == pytest.approx(5 / 9, abs=1e-12)


def slow_index(s, f, pulls):
    """The charge at which up to `pulls` pulls are worth nothing, by bisection."""

    def worth(s, f, pulls, charge):
        p = (s + 1) / (s + f + 2)
        if pulls == 1:
            return p - charge
        paid = max(worth(s + 1, f, pulls - 1, charge), 0.0)
        failed = max(worth(s, f + 1, pulls - 1, charge), 0.0)
        return p - charge + p * paid + (1 - p) * failed

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(s, f, pulls, middle) > 0 else (low, middle)
    return low


def test_indices_are_those_of_a_bisection():
    table = gittins_indices(8)
    for s, f, pulls in [(0, 0, 8), (0, 0, 5), (1, 0, 7), (0, 1, 7), (2, 1, 5), (0, 4, 4)]:
        assert table[pulls - 1, s, f] == pytest.approx(slow_index(s, f, pulls), abs=2e-5)


def test_indices_rise_with_successes_and_pulls_left_and_fall_with_failures():
    table = gittins_indices(20)
    r, s, f = np.ogrid[:19, :19, :19]
    used = r + s + f < 18  # the entry and its neighbours
    for axis, sign in ((0, 1), (1, 1), (2, -1)):
        change = np.diff(table, axis=axis)[:19, :19, :19]
        assert bool((sign * change[used] > 0).all())


def test_a_table_that_would_not_fit_is_refused():
    with pytest.raises(ValueError, match="500 pulls"):
        gittins_indices(500)


# --- what the players see and do --------------------------------------------------------------


def blind_env(num_worlds, arms, pulls):
    """All a player may know of its worlds."""
    return SimpleNamespace(
        num_worlds=num_worlds,
        device="cpu",
        trial_length=pulls,
        family=SimpleNamespace(task_space=SimpleNamespace(dim=arms)),
    )


def percept(arms, rewards, start=False):
    """All a player may see at a step."""
    return SimpleNamespace(
        previous_action=torch.tensor(arms),
        previous_reward=torch.tensor(rewards, dtype=torch.float32),
        trial_start=torch.full((len(arms),), start),
    )


def blank(num_worlds=1):
    return percept([0] * num_worlds, [0.0] * num_worlds, start=True)


@pytest.mark.parametrize("make", EVERY_PLAYER)
def test_a_player_needs_nothing_but_what_an_agent_sees(make):
    """And forgets it at a trial's start: it then acts as a fresh one with as many draws behind."""

    def play(second):
        player = make(0)
        player.begin(blind_env(3, 4, 9))
        first = [player.act(blank(3))] + [
            player.act(percept([0, 1, 2], [1.0, 0.0, 1.0])) for _ in range(8)
        ]
        return first, [player.act(blank(3)), second(player)]

    first, after = play(lambda p: p.act(percept([3, 3, 3], [1.0, 1.0, 0.0])))
    again, changed = play(lambda p: p.act(percept([3, 3, 3], [0.0, 0.0, 1.0])))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(after[0], changed[0])
    assert all(int(a.min()) >= 0 and int(a.max()) < 4 for a in [*first, *after])
    if not isinstance(make(0), ThompsonPlayer):
        assert torch.equal(after[0], first[0])


def test_the_greedy_player_stays_while_its_mean_is_highest():
    """Means after each pull: 2/3; 2/4; 2/5 < ½."""
    player = GreedyPlayer()
    player.begin(blind_env(1, 3, 10))
    seen = [blank(), percept([0], [1.0]), percept([0], [0.0]), percept([0], [0.0])]
    assert [player.act(step).tolist() for step in seen] == [[0], [0], [0], [1]]


def test_the_gittins_player_explores_where_the_greedy_one_does_not():
    """Mean ½ after a success and a failure, as for a new arm, of which less is known."""
    player = GittinsPlayer()
    player.begin(blind_env(1, 2, 10))
    seen = [blank(), percept([0], [1.0]), percept([0], [0.0])]
    assert [player.act(step).tolist() for step in seen] == [[0], [0], [1]]


def test_the_gittins_player_reads_the_row_of_the_pulls_left():
    """Index of a new arm at the last pull: ½; of an arm with 2 of 3 paid: 3/5."""
    player = GittinsPlayer()
    player.begin(blind_env(1, 2, 4))
    table = gittins_indices(4)
    index = player._index(torch.tensor([[2, 0]]), torch.tensor([[1, 0]]))
    assert index[0].tolist() == pytest.approx([3 / 5, 1 / 2])
    index = player._index(torch.tensor([[1, 0]]), torch.tensor([[0, 0]]))
    assert index[0].tolist() == [table[2, 1, 0], table[2, 0, 0]]


def test_ucb1_tries_every_arm_and_then_weighs_mean_and_doubt():
    """After 3 pulls: 1 + √(2 ln 3 / 1), and 0 + the same: arm 1. After 4: arm 1 has 2 of 2 paid,

    1 + √(2 ln 4 / 2) = 2.18; arm 0 failed once: √(2 ln 4) = 1.67.
    """
    player = UCB1Player()
    player.begin(blind_env(1, 3, 10))
    seen = [blank()] + [percept([arm], [float(arm == 1)]) for arm in (0, 1, 2, 1)]
    assert [player.act(step).tolist() for step in seen] == [[0], [1], [2], [1], [1]]
    index = player._index(torch.tensor([[0, 2]]), torch.tensor([[1, 1]]))
    expected = [np.sqrt(2 * np.log(4)), 2 / 3 + np.sqrt(2 * np.log(4) / 3)]
    assert index[0].tolist() == pytest.approx(expected)


def test_thompson_sampling_pulls_an_arm_as_often_as_it_is_likely_to_be_best():
    """Arm 0 paid once: its posterior's mean 2/3 is the chance to beat U[0, 1]; s.e. 0.0075."""
    player = ThompsonPlayer(0)
    player.begin(blind_env(4000, 2, 10))
    player.act(blank(4000))
    arms = player.act(percept([0] * 4000, [1.0] * 4000))
    assert float((arms == 0).double().mean()) == pytest.approx(2 / 3, abs=0.03)


# --- what they earn ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda seed: GreedyPlayer(), 13 / 12),
        (lambda seed: GittinsPlayer(), 13 / 12),
        (ThompsonPlayer, 37 / 36),
        (lambda seed: UCB1Player(), 1.0),
    ],
)
def test_two_pulls_of_two_arms_earn_what_is_worked_by_hand(make, expected):
    """The optimum (see above) for those that stay with a success and leave after a failure.

    UCB1 pulls both: ½ + ½. Thompson sampling: after a success it stays with chance 2/3, to earn
    2/3, else ½: 11/18; after a failure it stays with chance 1/3, to earn 1/3, else ½: 4/9; so
    ½ + ½ (11/18 + 4/9) = 37/36. Standard error 0.005.
    """
    returns = Trials("Bandit2", 2, 1, 20_000, seed=0).returns(make)
    error = float(returns.std()) / 20_000**0.5
    assert float(returns.mean()) == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("family", ["Bandit5", "Bandit50"])
def test_the_gittins_player_earns_the_optimum_of_ten_pulls(family):
    """Indices are nearly optimal here: 0.03 % is lost at most. Standard error 0.03."""
    arms = int(family.removeprefix("Bandit"))
    score = Trials(family, 10, 1, 5000, seed=1).play("Gittins", lambda seed: GittinsPlayer(), "")
    best = bayes_optimal_return(arms, 10)
    assert score.trial_return == pytest.approx(best, abs=4 * score.standard_error)


def test_trials_are_told_apart_by_task_and_seed_alone():
    """Rows of more trials begin with those of fewer; another seed gives others."""
    few, more = (
        Trials("Bandit5", 10, 2, n, seed=3).returns(lambda seed: GreedyPlayer()) for n in (50, 80)
    )
    other = Trials("Bandit5", 10, 2, 50, seed=4).returns(lambda seed: GreedyPlayer())
    assert few.shape == (50, 2)
    assert torch.equal(more[:50], few)
    assert not torch.equal(other, few)


def test_a_players_score_is_the_mean_over_its_trials():
    trials = Trials("Bandit5", 10, 2, 50, seed=3)
    score = trials.play("greedy", lambda seed: GreedyPlayer(), "a book")
    returns = trials.returns(lambda seed: GreedyPlayer())
    assert score.episode_returns == pytest.approx(returns.mean(dim=0).tolist())
    assert score.trial_return == pytest.approx(float(returns.sum(dim=1).mean()))
    assert score.standard_error == pytest.approx(float(returns.sum(dim=1).std()) / 50**0.5)
    assert (score.name, score.kind, score.trials, score.source) == (
        "greedy",
        "played",
        50,
        "a book",
    )


# --- the entry --------------------------------------------------------------------------------


def test_a_bandits_references_and_their_order():
    references = {r.name: r for r in references_of("Bandit5", 10, 1, 400, 0)}
    assert list(references) == [
        "omniscient", "Bayes-optimal", "Gittins index", "UCB1", "greedy", "Thompson sampling",
        "random",
    ]  # fmt: skip
    assert references["omniscient"].trial_return == pytest.approx(10 * 5 / 6)
    assert references["random"].trial_return == 5.0
    assert references["Bayes-optimal"].trial_return == bayes_optimal_return(5, 10)
    for reference in references.values():
        assert reference.trial_return == pytest.approx(sum(reference.episode_returns))
        assert (reference.standard_error == 0) == (reference.kind == "exact")


def test_what_is_not_computed_is_left_out():
    """The optimum of many beliefs or of several episodes, and very long index tables."""
    names = [r.name for r in references_of("Bandit5", 5, 2, 10, 0)]
    assert "Bayes-optimal" not in names
    assert "Gittins index" in names
    long = references_of("Bandit10", 201, 1, 10, 0)
    assert not {"Bayes-optimal", "Gittins index"} & {r.name for r in long}
    assert long[0].trial_return == pytest.approx(201 * 10 / 11)


def test_two_episodes_are_one_bandit_with_as_many_pulls():
    score = {r.name: r for r in references_of("Bandit5", 5, 2, 3000, 0)}["Gittins index"]
    assert len(score.episode_returns) == 2
    assert score.episode_returns[0] < score.episode_returns[1]
    best = bayes_optimal_return(5, 10)
    assert score.trial_return == pytest.approx(best, abs=4 * score.standard_error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Bandit6", 10, 1, 10, 0), "Did you mean 'Bandit5'"),
        (("AntDir", 10, 1, 10, 0), "Unknown family with references 'AntDir'"),
        (("Bandit5", 0, 1, 10, 0), "episode_length must be"),
        (("Bandit5", 10, 0, 10, 0), "episodes_per_trial must be"),
        (("Bandit5", 10, 1, 1, 0), "trials must be at least 2"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        references_of(*arguments)
