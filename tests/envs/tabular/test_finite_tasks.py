"""Random MDPs, delayed chains, bandits; and what holds for every named task."""

import itertools

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.tabular.bandits import Bandits
from quickstudy.envs.tabular.delayed_chain import DelayedChains
from quickstudy.envs.tabular.random_mdps import RandomMDPs
from quickstudy.envs.tabular.registry import TABULAR_TASKS, make_tabular_tasks
from quickstudy.envs.tabular.two_colours import TwoColours

CONSTRUCTORS = TABULAR_TASKS | {"two-colours": TwoColours}


def keys(count, seed=0):
    return rng.world_keys(seed, rng.Stream.TASK, count)


def draws(key_P, copies, size, step):
    key_PE = rng.fold_in(key_P.unsqueeze(1), torch.arange(copies))
    return rng.uniform(rng.fold_in(key_PE, step), size)


def rows(values, index):
    return {name: row[index] for name, row in values.items()}


def play(finite, key_P, copies, num_steps):
    """States, rewards and ends of random actions; all chance follows from the keys."""
    tasks = finite.sample(key_P)
    worlds = finite.begin(tasks, draws(key_P, copies, finite.num_draws, 0))
    for t in range(1, 1 + num_steps):
        state_PE = finite.state(tasks, worlds)
        action_PE = (draws(key_P, copies, 1, -t)[..., 0] * finite.num_actions).long()
        u_PEU = draws(key_P, copies, finite.num_draws, t)
        step = finite.step(tasks, worlds, action_PE, u_PEU)
        yield state_PE, action_PE, u_PEU, step
        worlds = step.worlds


# --- what holds for all -----------------------------------------------------------------------


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_a_task_and_its_steps_follow_from_the_key_alone(name):
    finite, key_P = CONSTRUCTORS[name](), keys(8)
    together, alone = finite.sample(key_P), finite.sample(key_P[5:6])
    for column, row in alone.items():
        assert torch.equal(together[column][5:6], row)
    for many, one in zip(play(finite, key_P, 3, 60), play(finite, key_P[5:6], 3, 60), strict=True):
        assert torch.equal(many[0][5:6], one[0])
        assert torch.equal(many[3].reward_PE[5:6], one[3].reward_PE)
        assert torch.equal(many[3].ended_PE[5:6], one[3].ended_PE)


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_shapes_types_and_states_are_the_contracts(name):
    finite = CONSTRUCTORS[name]()
    tasks = finite.sample(keys(6))
    assert {len(row) for row in tasks.values()} == {6}
    for state_PE, _, _, step in play(finite, keys(6), 2, 60):
        assert state_PE.shape == step.reward_PE.shape == step.ended_PE.shape == (6, 2)
        assert (state_PE.dtype, step.reward_PE.dtype, step.ended_PE.dtype) == (
            torch.int64,
            torch.float32,
            torch.bool,
        )
        assert set(state_PE.flatten().tolist()) <= set(range(finite.num_states))
        assert {row.shape for row in step.worlds.values()} == {(6, 2)}


@pytest.mark.parametrize("name", TABULAR_TASKS)
def test_an_ended_episode_is_followed_by_another_from_the_start(name):
    finite = make_tabular_tasks(name)
    tasks = finite.sample(keys(4))
    first_PE = finite.state(tasks, finite.begin(tasks, draws(keys(4), 3, finite.num_draws, 0)))
    for _, _, _, step in play(finite, keys(4), 3, 100):
        after_PE = finite.state(tasks, step.worlds)
        assert torch.equal(after_PE[step.ended_PE], first_PE[step.ended_PE])


@pytest.mark.parametrize(
    "name", ["grid-small", "grid-sparse", "random-mdp", "delayed-chain", "bandit"]
)
def test_an_optimum_is_one_number_per_task_and_no_random_player_beats_it(name):
    """First episodes of 400 copies; the interval is 4 standard errors."""
    finite, key_P, copies = make_tabular_tasks(name), keys(20), 400
    earned_PE = torch.zeros(20, copies, dtype=torch.float64)
    playing_PE = torch.ones(20, copies, dtype=torch.bool)
    for _, _, _, step in play(finite, key_P, copies, 50):
        earned_PE += step.reward_PE * playing_PE
        playing_PE &= ~step.ended_PE
    assert not bool(playing_PE.any())
    optimum_P = finite.optimal_return(finite.sample(key_P))
    assert (optimum_P.shape, optimum_P.dtype) == ((20,), torch.float64)
    error_P = earned_PE.std(dim=1) / copies**0.5
    assert bool((earned_PE.mean(dim=1) <= optimum_P + 4 * error_P).all())


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'grid-smal'\. Did you mean 'grid-small'"):
        make_tabular_tasks("grid-smal")


# --- random MDPs ------------------------------------------------------------------------------


def test_a_random_mdp_steps_as_its_table_says():
    finite = RandomMDPs(num_states=4, num_actions=3, horizon=5)
    tasks = finite.sample(keys(6))
    state = [[0] * 2 for _ in range(6)]
    for t, (state_PE, action_PE, u_PEU, step) in enumerate(play(finite, keys(6), 2, 23), start=1):
        assert state_PE.tolist() == state
        for p, e in itertools.product(range(6), range(2)):
            pair = 3 * state[p][e] + int(action_PE[p, e])
            assert float(step.reward_PE[p, e]) == float(tasks["reward"][p, pair])
            cumulative = tasks["cumulative"][p, pair].tolist()
            after = next(s for s in range(4) if float(u_PEU[p, e, 0]) < cumulative[s])
            state[p][e] = 0 if t % 5 == 0 else after
        assert bool((step.ended_PE == (t % 5 == 0)).all())


def test_random_mdps_have_the_stated_moments():
    """1500 MDPs of 4 states: 18 000 rewards N(0, 1), rows of means 1/4 and variances
    3 / (16 · 5) = 0.0375.
    """
    finite = RandomMDPs(num_states=4, num_actions=3)
    tasks = finite.sample(keys(1500))
    assert float(tasks["reward"].mean()) == pytest.approx(0.0, abs=4 / 18_000**0.5)
    assert float(tasks["reward"].var()) == pytest.approx(1.0, abs=4 * (2 / 18_000) ** 0.5)
    chance = tasks["cumulative"].diff(dim=2, prepend=torch.zeros(1500, 12, 1)).flatten(0, 1)
    assert float(chance.min()) >= 0.0
    assert bool((tasks["cumulative"][..., -1] == 1.0).all())
    assert chance.mean(dim=0).tolist() == pytest.approx(
        [0.25] * 4, abs=4 * (0.0375 / 18_000) ** 0.5
    )
    assert chance.var(dim=0).tolist() == pytest.approx([0.0375] * 4, abs=0.002)
    assert abs(float(torch.corrcoef(tasks["reward"].T)[0, 1])) < 4 / 1500**0.5


def test_the_optimum_of_a_random_mdp_worked_by_hand():
    """State 0: stay for 1, or go to state 1 for 0; state 1: stay for 2, or go back for 0.

    Of 3 steps: go, then 2 + 2 = 4 (staying earns 3).
    """
    finite = RandomMDPs(num_states=2, num_actions=2, horizon=3)
    stay, go = [1.0, 1.0], [0.0, 1.0]  # from state 0; cumulative
    tasks = {
        "reward": torch.tensor([[1.0, 0.0, 2.0, 0.0]]),
        "cumulative": torch.tensor([[stay, go, go, stay]], dtype=torch.float64),
    }
    assert finite.optimal_return(tasks).tolist() == [4.0]


def test_a_draw_of_1_leads_to_the_last_state():
    finite = RandomMDPs(num_states=3)
    tasks = finite.sample(keys(1))
    one = torch.ones(1, 1, 1)
    step = finite.step(tasks, finite.begin(tasks, one), torch.zeros(1, 1, dtype=torch.int64), one)
    assert step.worlds["state"].item() == 2


# --- delayed chains ---------------------------------------------------------------------------


@pytest.mark.parametrize(("good", "pays"), [(0, -1.0), (1, 1.0)])
def test_a_chain_worked_by_hand(good, pays):
    """Length 3, actions 1 0 0: states 2 · steps + first action are 0, 3, 5."""
    finite = DelayedChains()
    tasks = {"length": torch.tensor([3]), "good": torch.tensor([good])}
    worlds = finite.begin(tasks, torch.zeros(1, 1, 0))
    seen = []
    for action in (1, 0, 0):
        seen.append(finite.state(tasks, worlds).item())
        step = finite.step(tasks, worlds, torch.tensor([[action]]), torch.zeros(1, 1, 0))
        seen += [step.reward_PE.item(), step.ended_PE.item()]
        worlds = step.worlds
    assert seen == [0, 0.0, False, 3, 0.0, False, 5, pays, True]


def test_a_chain_steps_as_the_reference():
    finite = DelayedChains()
    tasks = finite.sample(keys(10))
    first, time = [None] * 10, [0] * 10
    for state_PE, action_PE, _, step in play(finite, keys(10), 1, 90):
        for p in range(10):
            assert int(state_PE[p, 0]) == 2 * time[p] + (first[p] or 0)
            first[p] = int(action_PE[p, 0]) if time[p] == 0 else first[p]
            time[p] += 1
            last = time[p] == int(tasks["length"][p])
            sign = 1.0 if first[p] == int(tasks["good"][p]) else -1.0
            assert float(step.reward_PE[p, 0]) == (sign if last else 0.0)
            assert bool(step.ended_PE[p, 0]) == last
            first[p], time[p] = (None, 0) if last else (first[p], time[p])


def test_lengths_and_good_actions_of_chains_are_uniform():
    """3000 chains: lengths 5–30 have mean 17.5 and variance (26² − 1) / 12 = 56.25."""
    tasks = DelayedChains().sample(keys(3000))
    assert tasks["length"].unique().tolist() == list(range(5, 31))
    assert float(tasks["length"].double().mean()) == pytest.approx(17.5, abs=4 * 7.5 / 3000**0.5)
    assert float(tasks["good"].double().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 3000**0.5)


@pytest.mark.parametrize("wrong", [(0, 5), (6, 5)])
def test_lengths_of_chains_are_checked(wrong):
    with pytest.raises(ValueError, match="1 <= shortest <= longest"):
        DelayedChains(*wrong)


# --- bandits ----------------------------------------------------------------------------------


def test_an_arm_pays_as_often_as_it_should():
    """Arms 1/4 and 3/4; draws 0.2, 0.25 and 0.7 pay 1, 0, 0 and 1, 1, 1."""
    finite = Bandits(2)
    tasks = {"pays": torch.tensor([[0.25, 0.75]])}
    u = torch.tensor([[[0.2], [0.25], [0.7]]])
    worlds = finite.begin(tasks, u)
    for arm, paid in ((0, [1.0, 0.0, 0.0]), (1, [1.0, 1.0, 1.0])):
        step = finite.step(tasks, worlds, torch.full((1, 3), arm), u)
        assert step.reward_PE.tolist() == [paid]
        assert bool(step.ended_PE.all())
    assert finite.optimal_return(tasks).tolist() == [0.75]


def test_arms_are_uniform():
    """20 000 arms: mean 1/2, variance 1/12; the best of 10 pays 10/11 on average."""
    tasks = Bandits().sample(keys(2000))
    assert float(tasks["pays"].mean()) == pytest.approx(0.5, abs=4 * (1 / 12 / 20_000) ** 0.5)
    assert float(tasks["pays"].var()) == pytest.approx(1 / 12, abs=0.003)
    assert float(Bandits().optimal_return(tasks).mean()) == pytest.approx(10 / 11, abs=0.008)


@pytest.mark.parametrize("constructor", [Bandits, RandomMDPs, TwoColours])
def test_counts_are_checked(constructor):
    with pytest.raises(ValueError, match="must be an integer of at least 1, got 0"):
        constructor(0)
