"""Chain and Room: dynamics against loops, optima by hand and by enumeration."""

import itertools

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.tabular.chains_rooms import (
    LEFT,
    RIGHT,
    ChainConfig,
    RoomConfig,
    SlipperyTasks,
    four_rooms,
    slipped,
)

UP, WEST, DOWN, EAST = range(4)


def optimum(config):
    tasks = SlipperyTasks(config.build())
    return float(tasks.optimal_return(tasks.sample(torch.zeros(1, dtype=torch.int64))))


def slow_chain_step(config, state, action):
    """Where a chain leads; None is out."""
    if action == RIGHT:
        return min(state + 1, config.left + config.right)
    return state - 1 if state else None


def slow_room_step(size, x, y, action):
    """Walls between the middle columns and rows, open at the published doors of 7 cells."""
    dx, dy = [(0, 1), (-1, 0), (0, -1), (1, 0)][action]
    if (x, y) == (0, 0) and action in (WEST, DOWN):
        return None
    if not (0 <= x + dx < size and 0 <= y + dy < size):
        return x, y
    if {x, x + dx} == {2, 3} and y not in (1, 5):
        return x, y
    if {y, y + dy} == {2, 3} and x not in (1, 5):
        return x, y
    return x + dx, y + dy


def test_a_short_chain_is_worth_what_the_hand_says():
    """Left end 0, start 1, goal 3: two steps to the goal, then 1 for each RIGHT; 5 − 2 = 3."""
    assert optimum(ChainConfig(right=2, left=1, distance=1, slip=0.0, horizon=5)) == 3.0


def test_a_slip_costs_what_the_hand_says():
    """Start 0 (the left end too), goal 1, two steps: RIGHT moves right with 1 − 0.1 / 2 = 0.95,
    else falls out; then RIGHT pays 1. At the goal the reward is for the action meant.
    """
    config = ChainConfig(right=1, left=0, distance=0, distractor=0.0, slip=0.1, horizon=2)
    assert optimum(config) == pytest.approx(0.95)


def test_the_distractor_is_the_best_where_the_goal_is_too_far():
    """Start 2, distractor at 1, goal 12: LEFT (0), LEFT (pays), RIGHT, LEFT (pays) in 4 steps."""
    near = ChainConfig(right=10, left=2, distance=1, distractor=0.05, slip=0.0, horizon=4)
    assert optimum(near) == pytest.approx(0.1)


def test_published_optima_without_slips():
    """Chain: 20 steps, then 20 rewards. Room: from (1, 1) to (6, 6) in 10 steps, then 20."""
    assert optimum(ChainConfig(slip=0.0)) == 20.0
    assert optimum(RoomConfig(slip=0.0)) == 20.0


def test_the_optimum_is_that_of_the_best_of_all_plans():
    """All policies of time and state on a chain of 4 places, 3 steps: 2^(4 · 3) of them."""
    config = ChainConfig(right=2, left=1, distance=0, distractor=0.3, slip=0.4, horizon=3)
    mdp = config.build()
    best = 0.0
    for plan in itertools.product([LEFT, RIGHT], repeat=12):
        chance = {config.left: 1.0}
        earned = 0.0
        for t in range(3):
            after = {}
            for state, p in chance.items():
                meant = plan[4 * t + state]
                earned += p * float(mdp.reward_SA[state, meant])
                for action, q in ((meant, 0.8), (1 - meant, 0.2)):
                    arrived = slow_chain_step(config, state, action)
                    if arrived is not None:
                        after[arrived] = after.get(arrived, 0.0) + p * q
            chance = after
        best = max(best, earned)
    assert optimum(config) == pytest.approx(best)


@pytest.mark.parametrize("state", range(61))
def test_a_chain_moves_as_it_says(state):
    config = ChainConfig()
    mdp = config.build()
    for action in (LEFT, RIGHT):
        slow = slow_chain_step(config, state, action)
        assert int(mdp.next_SA[state, action]) == (mdp.terminal if slow is None else slow)
    pays = {(60, RIGHT): 1.0, (25, LEFT): 0.05}
    for action in (LEFT, RIGHT):
        assert float(mdp.reward_SA[state, action]) == pytest.approx(pays.get((state, action), 0.0))


def test_rooms_move_as_they_say():
    mdp = RoomConfig().build()
    for x, y, action in itertools.product(range(7), range(7), range(4)):
        slow = slow_room_step(7, x, y, action)
        expected = mdp.terminal if slow is None else slow[1] * 7 + slow[0]
        assert int(mdp.next_SA[y * 7 + x, action]) == expected
    assert mdp.reward_SA.nonzero().tolist() == [[1, UP], [48, EAST]]
    assert mdp.start == 8


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 11])
def test_all_cells_can_be_reached_in_rooms_of_any_size(size):
    moves = four_rooms(size)
    reached = {0}
    for _ in range(4 * size):
        reached |= {int(cell) for s in reached for cell in moves[s]}
    assert len(reached) == size * size


def test_coordinates_span_the_unit_square():
    at = RoomConfig().build().coordinates_SC
    assert at[0].tolist() == [-1.0, -1.0]
    assert at[48].tolist() == [1.0, 1.0]
    assert at[8].tolist() == pytest.approx([-2 / 3, -2 / 3])
    assert ChainConfig().build().coordinates_SC[[0, 30, 60], 0].tolist() == [-1.0, 0.0, 1.0]


def test_slips_are_as_frequent_as_stated_and_even():
    """0.2 of draws slip, a quarter of them to each action: by hand 0.05 · k are the bounds."""
    draw = torch.tensor([0.0, 0.049, 0.051, 0.149, 0.199, 0.2, 0.9])
    action = torch.full((7,), 3)
    assert slipped(action, draw, 0.2, 4).tolist() == [0, 0, 1, 2, 3, 3, 3]
    assert slipped(action, draw, 0.0, 4) is action


@pytest.mark.parametrize("config", [ChainConfig(left=2, distance=1, horizon=9), RoomConfig()])
def test_tasks_step_as_loops_do(config):
    tasks = SlipperyTasks(config.build())
    mdp, key_P = tasks.mdp, rng.world_keys(3, rng.Stream.TASK, 5)
    rows = tasks.sample(key_P)
    worlds = tasks.begin(rows, rng.uniform(key_P, 2).view(5, 2, 1))
    state, time = [[mdp.start] * 2 for _ in range(5)], [[0] * 2 for _ in range(5)]
    ends = 0
    for t in range(80):
        draw = rng.uniform(rng.fold_in(key_P, t), 4).view(5, 2, 2)
        action = (draw[..., 1] * tasks.num_actions).long()
        step = tasks.step(rows, worlds, action, draw[..., :1])
        for p, e in itertools.product(range(5), range(2)):
            meant = moved = int(action[p, e])
            if float(draw[p, e, 0]) < mdp.slip:
                moved = int(float(draw[p, e, 0]) / mdp.slip * tasks.num_actions)
            assert float(step.reward_PE[p, e]) == float(mdp.reward_SA[state[p][e], meant])
            state[p][e], time[p][e] = int(mdp.next_SA[state[p][e], moved]), time[p][e] + 1
            ended = state[p][e] == mdp.terminal or time[p][e] == mdp.horizon
            assert bool(step.ended_PE[p, e]) == ended
            if ended:
                state[p][e], time[p][e], ends = mdp.start, 0, ends + 1
        worlds = step.worlds
        assert tasks.state(rows, worlds).tolist() == state
    assert ends


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ChainConfig(slip=1.5), "slip must be from 0 to 1, got 1.5"),
        (ChainConfig(distance=41), "distance must be from 0 to left = 40, got 41"),
        (ChainConfig(right=0), "right must be an integer of at least 1"),
        (RoomConfig(size=3), "size must be an integer of at least 4, got 3"),
        (RoomConfig(slip=-0.1), "slip must be from 0 to 1"),
    ],
)
def test_bad_sizes_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        config.build()
