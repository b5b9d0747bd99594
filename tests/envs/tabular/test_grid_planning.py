"""The optimal return of grid-worlds: by hand, by brute force, and as the best policy earns it."""

import functools
import itertools

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.tabular import grid_maps
from quickstudy.envs.tabular.grid_planning import arrival_values
from quickstudy.envs.tabular.grid_rules import GridMap, GridObject, RandomGrids
from quickstudy.envs.tabular.grid_worlds import GridWorlds, tables


def keys(count, seed=0):
    return rng.world_keys(seed, rng.Stream.TASK, count)


def row_of_cells(count, length, *objects):
    """Cells 0, 1, … in a row; objects are (cell, reward, ends, respawns), the start is 0."""
    walls = tuple((x, y) for x in range(count) for y in range(1, count))
    rules = GridMap(count, length, tuple(GridObject(*numbers) for _, *numbers in objects), walls)
    place_PK = torch.tensor([[0, *(cell for cell, *_ in objects)]])
    return GridWorlds(rules), tables(rules.sample(keys(1)), place_PK)


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 0.0), (2, 1.0), (3, 1.0), (4, 1.375), (5, 1.5625)]
)
def test_a_corridor_worked_by_hand(length, expected):
    """1 × 3 cells, the object (reward 1, ends 1/4, respawns 1/2) on the last.

    The second step collects. With k steps left let T_k be the worth of standing there with the
    object there, A_k with it away: T_k = 1 + 3/4 A_{k−1}, A_k = 1/2 T_{k−1} + 1/2 A_{k−1}, from
    T_0 = A_0 = 0. So A_1 = 0, T_1 = 1, A_2 = 1/2, T_2 = 1, A_3 = 3/4, T_3 = 1 + 3/8 = 1.375,
    T_4 = 1 + 9/16 = 1.5625. An episode of L steps is worth T_{L−1}.
    """
    fast, tasks = row_of_cells(3, length, (2, 1.0, 0.25, 0.5))
    assert fast.optimal_return(tasks).tolist() == [expected]


@pytest.mark.parametrize(("good", "expected"), [(1.0, 0.5), (0.25, 0.0)])
def test_a_bad_object_is_passed_only_where_it_pays(good, expected):
    """On the way lies −1/2: 1 − 1/2 = 1/2 is worth it, 1/4 − 1/2 is not."""
    fast, tasks = row_of_cells(3, 5, (1, -0.5, 0.0, 0.0), (2, good, 1.0, 0.0))
    assert fast.optimal_return(tasks).tolist() == [expected]


def outcomes(tasks, row, state, action):
    """All that a step may lead to: (probability, reward, next state or None), object by object."""
    cell, there = state
    cell = int(tasks["next"][row, 5 * cell + action])
    bit = int(tasks["object"][row, cell]) & there
    ends = float(tasks["ends"][row, cell]) if bit else 0.0
    reward = float(tasks["reward"][row, cell]) if bit else 0.0
    yield ends, reward, None
    respawns = tasks["respawns"][row].tolist()
    for back in itertools.product((0, 1), repeat=len(respawns)):
        chance, after = 1.0 - ends, there & ~bit
        for i, (comes, respawn) in enumerate(zip(back, respawns, strict=True)):
            if there >> i & 1:
                chance *= 1.0 - comes
            else:
                chance *= respawn if comes else 1.0 - respawn
                after |= comes << i
        yield chance, reward, (cell, after)


def slow_optimum(tasks, row):
    """By recursion over all actions and outcomes."""

    @functools.cache
    def value(state, steps):
        if state is None or steps == 0:
            return 0.0
        return max(
            sum(p * (r + value(after, steps - 1)) for p, r, after in step)
            for step in (list(outcomes(tasks, row, state, a)) for a in range(5))
        )

    return value(start(tasks, row), int(tasks["length"][row]))


def start(tasks, row):
    return int(tasks["start"][row]), int(tasks["objects"][row])


def test_the_optimum_is_that_of_the_recursion():
    rules = RandomGrids(
        size=(2, 3), length=(2, 9), num_objects=(1, 3), num_walls=2, respawns=(0.05, 0.9)
    )
    fast = GridWorlds(rules)
    tasks = fast.sample(keys(12))
    expected = [slow_optimum(tasks, row) for row in range(12)]
    assert fast.optimal_return(tasks).tolist() == pytest.approx(expected, rel=1e-12)
    assert len(tasks["length"].unique()) > 3
    assert max(expected) > 0.5


def worth_of_policy(tasks, policy, length):
    """Of actions `policy[step, cell, there]`."""

    def value(state, step):
        if state is None or step == length:
            return 0.0
        action = policy[(step, *state)]
        return sum(
            p * (r + value(after, step + 1))
            for p, r, after in outcomes(tasks, 0, state, action)
            if p > 0.0
        )

    return value(start(tasks, 0), 0)


def test_no_policy_of_all_is_better_and_one_is_as_good():
    """Two cells, one object, three steps: to stay (0) or go (2 right, 4 left) in 4 states, 2¹²
    policies. The object pays 1, ends 1/2, comes back with 1/2: go and collect, then stay:
    1 + 1/2 · (0 + 1/2 · 1) = 1.25.
    """
    fast, tasks = row_of_cells(2, 3, (1, 1.0, 0.5, 0.5))
    states = list(itertools.product(range(3), (0, 1), (0, 1)))
    worths = [
        worth_of_policy(tasks, dict(zip(states, actions, strict=True)), 3)
        for actions in itertools.product(*[(0, 4 if cell else 2) for _, cell, _ in states])
    ]
    assert len(worths) == 2**12
    assert max(worths) == fast.optimal_return(tasks).item() == 1.25


def test_the_best_policy_earns_what_is_promised():
    """200 tasks × 50 copies, paired by task; the interval is 4 standard errors."""
    fast, count, copies = GridWorlds(grid_maps.SMALL), 200, 50
    tasks = fast.sample(keys(count))
    arrivals = torch.stack(list(arrival_values(tasks, 50)))
    key_PE = rng.fold_in(keys(count, seed=1).unsqueeze(1), torch.arange(copies))
    worlds = fast.begin(tasks, rng.uniform(key_PE, fast.num_draws))
    each_P1, earned_PE = torch.arange(count).unsqueeze(1), torch.zeros(count, copies).double()
    playing_PE = torch.ones(count, copies, dtype=torch.bool)
    for t in range(50):
        left_P1 = (tasks["length"].unsqueeze(1) - worlds["time"] - 1).clamp(min=0)
        next_PEA = tasks["next"][
            each_P1.unsqueeze(2), 5 * worlds["cell"].unsqueeze(2) + torch.arange(5)
        ]
        worth_PEA = arrivals[
            left_P1.unsqueeze(2), each_P1.unsqueeze(2), next_PEA, worlds["there"].unsqueeze(2)
        ]
        step = fast.step(
            tasks, worlds, worth_PEA.argmax(dim=2), rng.uniform(rng.fold_in(key_PE, t), 4)
        )
        earned_PE += step.reward_PE * playing_PE
        playing_PE &= ~step.ended_PE
        worlds = step.worlds
    assert not bool(playing_PE.any())
    optimum_P = fast.optimal_return(tasks)
    surplus_P = earned_PE.mean(dim=1) - optimum_P
    error = float(surplus_P.std()) / count**0.5
    assert float(surplus_P.mean()) == pytest.approx(0.0, abs=4 * error)
    assert error < 0.02 < 0.5 < float(optimum_P.mean())


def test_an_optimum_does_not_depend_on_tasks_beside_it():
    """Tasks with shorter episodes leave the computation early."""
    fast = GridWorlds(grid_maps.SMALL)
    tasks = fast.sample(keys(20))
    together = fast.optimal_return(tasks)
    for row in range(20):
        alone = {name: value[row : row + 1] for name, value in tasks.items()}
        assert torch.equal(fast.optimal_return(alone), together[row : row + 1])
