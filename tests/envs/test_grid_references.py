"""The grids' references against brute force on small boards, and against play on the real ones."""

import functools
import itertools

import numpy as np
import pytest
import torch

from quickstudy.envs.families import dark_room, grid_navi
from quickstudy.envs.families.grid import MOVES, board
from quickstudy.envs.references.grids import (
    WIDTH,
    Search,
    all_images,
    best_plan,
    dark_room_plan,
    dark_room_references,
    dark_room_search,
    episode_returns,
    goal_steps,
    grid_navi_references,
    key_to_door_references,
    most_steps,
    quarter_sweeps,
)
from quickstudy.envs.references.recall import memory_chain_references, point_recall_references
from quickstudy.envs.references.reference import Trials
from quickstudy.envs.trials import FixedTasks, TrialEnv

CORNER = tuple(cell for cell in board(3) if cell != (0, 0))
SMALL = [
    Search(3, (0, 0), CORNER, 1.0, -0.1, 5, 2),
    Search(3, (1, 1), tuple(cell for cell in board(3) if cell != (1, 1)), 1.0, 0.0, 4, 2),
    Search(3, (0, 0), ((2, 0), (0, 2), (2, 2)), 1.0, -0.1, 3, 3),
]


def moved(cell, move, size):
    return tuple(min(max(c + d, 0), size - 1) for c, d in zip(cell, move, strict=True))


def bayes_optimal(search):
    """The best mean trial return by dynamic programming over beliefs, one action at a time.

    Nothing is assumed about plans: a belief is the set of goals not yet excluded, every action may
    depend on it, and it is updated from each reward.
    """

    @functools.cache
    def value(episode, step, cell, belief):
        """The sum over the belief's goals of the returns still to come."""
        if step == search.episode_length:
            episode, step, cell = episode + 1, 0, search.start
        if episode == search.episodes:
            return 0.0
        return max(act(episode, step, moved(cell, move, search.size), belief) for move in MOVES)

    def act(episode, step, cell, belief):
        here, elsewhere = belief & {cell}, belief - {cell}
        total = search.on * len(here) + search.off * len(elsewhere)
        return total + sum(
            value(episode, step + 1, cell, part) for part in (here, elsewhere) if part
        )

    goals = frozenset(search.goals)
    return value(0, 0, search.start, goals) / len(goals)


@pytest.mark.parametrize("search", SMALL)
def test_the_best_plan_is_bayes_optimal_on_small_boards(search):
    plan = best_plan(search, WIDTH)
    total = sum(episode_returns(search, goal_steps(search, plan)))
    assert total == pytest.approx(bayes_optimal(search), abs=1e-9)
    assert goal_steps(search, plan).sum() <= most_steps(search)


def test_the_best_plan_is_the_best_of_all_paths():
    """All 5⁵ paths of one episode of five steps."""
    search = Search(3, (0, 0), CORNER, 1.0, 0.0, 5, 1)
    best = 0
    for moves in itertools.product(MOVES, repeat=5):
        path = list(itertools.accumulate(moves, lambda c, m: moved(c, m, 3), initial=(0, 0)))[1:]
        best = max(best, int(goal_steps(search, (tuple(path),)).sum()))
    assert int(goal_steps(search, best_plan(search, WIDTH)).sum()) == best


@pytest.mark.parametrize("search", SMALL)
def test_no_beam_exceeds_the_bound_and_wider_beams_of_all_plans_change_nothing(search):
    narrow, wide = (int(goal_steps(search, best_plan(search, width)).sum()) for width in (3, 10**9))
    assert narrow <= wide <= most_steps(search)
    assert wide == int(goal_steps(search, best_plan(search, WIDTH)).sum())


def test_goal_steps_by_hand():
    """Two episodes of three steps from (0, 0): first to (1, 0), (2, 0) and (2, 1), then nowhere.

    (1, 0), one step away: met at step 1, steps 1–3 count; later 3 + 1 − 1 = 3.
    (2, 1), three away: met at step 3; later 1. (0, 1): never met, 0 and 0.
    """
    search = Search(3, (0, 0), ((1, 0), (2, 1), (0, 1)), 1.0, -0.1, 3, 2)
    plan = (((1, 0), (2, 0), (2, 1)), ((0, 0),) * 3)
    steps = goal_steps(search, plan)
    assert steps.tolist() == [[3, 3], [1, 1], [0, 0]]
    # Means 4/3 per episode: 3 · (−0.1) + 1.1 · 4/3 = 1.1667.
    assert episode_returns(search, steps) == pytest.approx((7 / 6, 7 / 6))


def test_a_goal_that_is_too_far_is_never_reached():
    search = Search(5, (0, 0), ((4, 4),), 1.0, 0.0, 3, 2)
    assert search.steps_when_known((4, 4)) == 0
    assert most_steps(search) == 0


# --- the registered families ------------------------------------------------------------------


@functools.cache
def grid_navi_plan():
    search = Search(5, (0, 0), grid_navi.GOALS, 1.0, -0.1, 15, 4)
    return search, best_plan(search, WIDTH)


def test_grid_navis_plan_meets_the_bound_so_it_is_optimal():
    """First episode 84/21, each later one 232.5/21: 781.5/21 = 37.2143 in all."""
    search, plan = grid_navi_plan()
    assert int(goal_steps(search, plan).sum()) == most_steps(search)
    returns = episode_returns(search, goal_steps(search, plan))
    assert returns == pytest.approx((84 / 21, *[232.5 / 21] * 3))
    assert sum(returns) == pytest.approx(781.5 / 21)


def follow(plan, env):
    """Play a plan until the goal pays, and from then on the shortest path; mean returns `(K,)`."""
    found = torch.zeros(env.num_worlds, dtype=torch.bool)
    env.reset(0)
    at = {move: action for action, move in enumerate(MOVES)}
    for cells in plan:
        before = env.family.start
        for after in cells:
            action = at[after[0] - before[0], after[1] - before[1]]
            known = env.family.expert_action(env.tasks)
            step = env.step(torch.where(found, known, torch.full_like(known, action)))
            found |= step.reward > 0.5
            before = after
    return env.finished().returns.mean(dim=0).tolist()


def test_grid_navis_optimum_is_what_its_plan_earns_in_play():
    search, plan = grid_navi_plan()
    tasks = torch.tensor(grid_navi.GOALS, dtype=torch.float64)
    env = TrialEnv("GridNavi", 21, task_source=FixedTasks(tasks))
    expected = episode_returns(search, goal_steps(search, plan))
    assert follow(plan, env) == pytest.approx(expected)


def test_dark_rooms_search_is_what_its_plan_earns_in_play():
    plan, share = dark_room_plan(20, 5)
    tasks = torch.tensor(dark_room.GOALS, dtype=torch.float64)
    env = TrialEnv("DarkRoom", 80, task_source=FixedTasks(tasks))
    search = dark_room_search(dark_room.GOALS, 20, 5)
    returns = episode_returns(search, goal_steps(search, plan))
    assert follow(plan, env) == pytest.approx(returns)
    assert sum(returns) == pytest.approx(51.75)
    assert share == pytest.approx(51.75 / 53.0375)


def test_four_quarters_pass_all_cells_once_in_connected_steps():
    plan = quarter_sweeps(20, 4)
    cells = [cell for episode in plan for cell in episode]
    assert sorted(cells) == sorted(dark_room.GOALS)
    for episode in plan:
        for before, after in itertools.pairwise([dark_room.START, *episode]):
            assert abs(before[0] - after[0]) + abs(before[1] - after[1]) == 1


def test_images_of_a_cell_are_its_eight_turned_and_mirrored_ones():
    """(5, 2) lies at (+1, −2) from the centre."""
    offsets = {(1, 2), (1, -2), (-1, 2), (-1, -2), (2, 1), (2, -1), (-2, 1), (-2, -1)}
    assert {(x - 4, y - 4) for x, y in all_images(((5, 2),))} == offsets


def trials(family, length, episodes, number=8):
    return Trials(family, length, episodes, number, 0)


def test_grid_navis_references():
    oracle, bayes = grid_navi_references(trials("GridNavi", 15, 4))
    assert (oracle.name, bayes.name, bayes.kind) == ("oracle", "Bayes-optimal", "exact")
    assert oracle.trial_return == pytest.approx(4 * 232.5 / 21)
    assert bayes.trial_return == pytest.approx(37.2143, abs=5e-5)


def test_dark_rooms_references():
    """The oracle by plain distances on the test goals: 21 − d per episode."""
    oracle, search = dark_room_references(trials("DarkRoom", 20, 5))
    away = np.abs(np.array(dark_room.TEST_GOALS) - 4).sum(axis=1)
    assert oracle.episode_returns == pytest.approx([float((21 - away).mean())] * 5)
    assert 0 < search.episode_returns[0] < search.episode_returns[-1]
    assert search.trial_return < oracle.trial_return


def test_key_to_doors_oracle_opens_every_door_in_time_and_none_in_one_step():
    """At most 8 steps to the key and 16 to the door, so 50 suffice; one step is no key and door."""
    assert key_to_door_references(trials("KeyToDoor", 50, 4))[0].episode_returns == (2.0,) * 4
    short = key_to_door_references(trials("KeyToDoor", 1, 1))[0].trial_return
    assert 0 < short < 0.1  # four of 80 key cells are next to the start: about 0.05


def test_references_of_the_recall_families():
    memory, none = memory_chain_references(trials("MemoryChain", 64, 2))
    assert (memory.episode_returns, none.episode_returns) == ((1.0, 1.0), (0.0, 0.0))
    expert, guess = point_recall_references(trials("PointRecall", 60, 1, number=8))
    assert (expert.trial_return, guess.trial_return) == (1.0, 0.25)
