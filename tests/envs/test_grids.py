"""The grids by hand: moves, walls, rewards, splits, pictures."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.families import dark_room, grid_navi, key_to_door
from quickstudy.envs.families.grid import (
    AGENT,
    DOWN,
    GOAL,
    LEFT,
    RIGHT,
    STAY,
    UP,
    next_cells,
    one_hot_cells,
)
from quickstudy.envs.registry import family_class, make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv

GRIDS = ("GridNavi", "DarkRoom", "KeyToDoor")


def start(name, *tasks):
    """A family at the start of an episode on these tasks."""
    family = make_family(name, len(tasks))
    keys = rng.world_keys(0, rng.Stream.EPISODE, len(tasks))
    everywhere = torch.ones(len(tasks), dtype=torch.bool)
    family.reset(everywhere, torch.tensor(tasks, dtype=torch.float64), keys)
    return family


def position(family, world=0):
    """(x, y) read from the observation."""
    x, y = family.observe()[world].view(2, family.size)
    assert float(x.sum()) == float(y.sum()) == 1.0
    return int(x.argmax()), int(y.argmax())


def play(family, actions):
    """Rewards and `terminated` of the only world."""
    outcomes = [family.step(torch.tensor([action])) for action in actions]
    rewards = [float(outcome.reward) for outcome in outcomes]
    return rewards, [bool(outcome.terminated) for outcome in outcomes]


# --- the board --------------------------------------------------------------------------------


def test_the_board_of_two_by_two_by_hand():
    """Cells 0 (0, 0), 1 (1, 0), 2 (0, 1), 3 (1, 1); each row: stay, up, right, down, left."""
    assert next_cells(2).view(4, 5).tolist() == [
        [0, 2, 1, 0, 0],
        [1, 3, 1, 1, 0],
        [2, 2, 3, 0, 2],
        [3, 3, 3, 1, 2],
    ]
    assert one_hot_cells(2).tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]


@pytest.mark.parametrize("name", GRIDS)
def test_the_agent_starts_where_the_manual_says(name):
    cls = family_class(name)
    task = cls.task_space.listing("train", 1, seed=0)[0].tolist()
    assert position(start(name, task)) == cls.start == {"GridNavi": (0, 0)}.get(name, (4, 4))


@pytest.mark.parametrize(
    ("action", "after"),
    [(STAY, (4, 4)), (UP, (4, 5)), (RIGHT, (5, 4)), (DOWN, (4, 3)), (LEFT, (3, 4))],
)
def test_actions_move_by_one_cell(action, after):
    family = start("DarkRoom", (0.0, 0.0))
    play(family, [action])
    assert position(family) == after


@pytest.mark.parametrize(
    ("action", "wall"), [(UP, (4, 8)), (RIGHT, (8, 4)), (DOWN, (4, 0)), (LEFT, (0, 4))]
)
def test_walls_stop_the_agent(action, wall):
    """Four moves reach the wall from the centre; the fifth and sixth change nothing."""
    family = start("DarkRoom", (0.0, 0.0))
    for _ in range(6):
        play(family, [action])
    assert position(family) == wall


@pytest.mark.parametrize("name", GRIDS)
def test_moves_are_those_of_plain_arithmetic(name):
    """200 random steps in 16 worlds against clamped integers."""
    cls = family_class(name)
    family = start(name, *cls.task_space.listing("train", 16, seed=0).tolist())
    x, y = ([cls.start[i]] * 16 for i in (0, 1))
    keys = rng.world_keys(5, rng.Stream.ACTION, 16)
    offsets = {STAY: (0, 0), UP: (0, 1), RIGHT: (1, 0), DOWN: (0, -1), LEFT: (-1, 0)}
    for step in range(200):
        action = (rng.uniform(rng.fold_in(keys, step), 1)[:, 0] * 5).long()
        family.step(action)
        for world, a in enumerate(action.tolist()):
            x[world] = min(max(x[world] + offsets[a][0], 0), cls.size - 1)
            y[world] = min(max(y[world] + offsets[a][1], 0), cls.size - 1)
            assert position(family, world) == (x[world], y[world])


# --- rewards by hand --------------------------------------------------------------------------


def test_grid_navi_pays_one_on_the_goal_and_costs_a_tenth_elsewhere():
    """Goal (2, 1): right, right, up reaches it; stay; left leaves it; right returns."""
    rewards, ends = play(start("GridNavi", (2.0, 1.0)), [RIGHT, RIGHT, UP, STAY, LEFT, RIGHT])
    assert rewards == [-0.1, -0.1, 1.0, 1.0, -0.1, 1.0]
    assert not any(ends)


def test_dark_room_pays_one_on_the_goal_and_nothing_elsewhere():
    """Goal (5, 3): right and down from the centre; stay; down leaves it."""
    rewards, ends = play(start("DarkRoom", (5.0, 3.0)), [RIGHT, DOWN, STAY, DOWN])
    assert rewards == [0.0, 1.0, 1.0, 0.0]
    assert not any(ends)


def test_key_to_door_pays_the_key_once_and_the_door_with_the_key_only():
    """Key (6, 4), door (5, 4), start (4, 4): the door lies on the way to the key.

    Right: on the door without the key, 0. Right: the key, 1. Stay: it is gone, 0. Left: the door,
    1, and the end.
    """
    family = start("KeyToDoor", (6.0, 4.0, 5.0, 4.0))
    outcomes = [family.step(torch.tensor([a])) for a in (RIGHT, RIGHT, STAY, LEFT)]
    assert [float(o.reward_terms["key"]) for o in outcomes] == [0.0, 1.0, 0.0, 0.0]
    assert [float(o.reward_terms["door"]) for o in outcomes] == [0.0, 0.0, 0.0, 1.0]
    assert [bool(o.terminated) for o in outcomes] == [False, False, False, True]


def test_the_key_is_lost_with_the_episode():
    """Key (5, 4), door (6, 4): after a reset the way by (4, 5) to the door pays nothing."""
    family = start("KeyToDoor", (5.0, 4.0, 6.0, 4.0))
    assert play(family, [RIGHT])[0] == [1.0]
    keys = rng.world_keys(1, rng.Stream.EPISODE, 1)
    family.reset(torch.ones(1, dtype=torch.bool), family.task_ND, keys)
    assert play(family, [UP, RIGHT, RIGHT, DOWN]) == ([0.0] * 4, [False] * 4)


def test_holding_the_key_is_not_seen():
    """Both worlds stand on (5, 4); one found its key there."""
    family = start("KeyToDoor", (5.0, 4.0, 0.0, 0.0), (8.0, 8.0, 0.0, 0.0))
    reward = family.step(torch.tensor([RIGHT, RIGHT])).reward
    assert reward.tolist() == [1.0, 0.0]
    assert torch.equal(family.observe()[0], family.observe()[1])


def test_key_to_door_goes_on_from_its_state():
    """Restored with the key in hand, the door opens."""
    family, other = (start("KeyToDoor", (5.0, 4.0, 6.0, 4.0)) for _ in range(2))
    play(family, [RIGHT])
    other.load_state_dict(family.state_dict())
    assert play(other, [RIGHT]) == play(family, [RIGHT]) == ([1.0], [True])


@pytest.mark.parametrize("name", GRIDS)
def test_the_expert_walks_a_shortest_path(name):
    """On 100 tasks: the return of an episode from the distances alone."""
    tasks = family_class(name).task_space.listing("test", 100, seed=0)
    env = TrialEnv(name, 100, episodes_per_trial=1, task_source=FixedTasks(tasks))
    env.reset(0)
    returns = torch.full((100,), torch.nan).double()
    for _ in range(env.episode_length):
        env.step(env.family.expert_action(env.tasks))
        results = env.finished()
        new = returns[results.worlds].isnan()
        returns[results.worlds[new]] = results.returns[new, 0]
    start_N2 = torch.tensor(env.family.start, dtype=torch.float64)
    away = (tasks[:, :2] - start_N2).abs().sum(dim=1)
    on_goal = env.episode_length + 1 - away
    expected = {
        "GridNavi": on_goal - 0.1 * (away - 1),
        "DarkRoom": on_goal,
        "KeyToDoor": torch.full((100,), 2.0, dtype=torch.float64),
    }[name]
    torch.testing.assert_close(returns, expected)


# --- splits -----------------------------------------------------------------------------------


def test_grid_navi_has_21_goals_outside_the_start_block():
    goals = set(grid_navi.GOALS)
    assert len(grid_navi.GOALS) == len(goals) == 21
    assert not goals & {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize(
    ("train", "test", "total"),
    [
        (dark_room.TRAIN_GOALS, dark_room.TEST_GOALS, 80),
        (key_to_door.TRAIN_PAIRS, key_to_door.TEST_PAIRS, 80 * 79),
    ],
)
def test_held_out_tasks_are_a_fifth_and_never_met_in_training(train, test, total):
    assert not set(train) & set(test)
    assert len(set(train)) + len(set(test)) == len(train) + len(test) == total
    assert len(test) == total // 5


def test_no_goal_key_or_door_lies_at_the_start_and_no_key_at_its_door():
    assert (4, 4) not in dark_room.TRAIN_GOALS + dark_room.TEST_GOALS
    for *key, door_x, door_y in key_to_door.TRAIN_PAIRS + key_to_door.TEST_PAIRS:
        assert [4, 4] != key != [door_x, door_y] != [4, 4]


# --- pictures ---------------------------------------------------------------------------------


def test_the_picture_shows_goal_and_agent_with_y_upwards():
    """Cells are 48 pixels wide: (0, 0) is bottom left, the goal (0, 4) top left."""
    picture = start("GridNavi", (0.0, 4.0)).render()
    assert tuple(picture[24, 24]) == GOAL
    assert tuple(picture[240 - 24, 24]) == AGENT
    assert tuple(picture[24, 240 - 24]) not in (GOAL, AGENT)


def test_a_found_key_leaves_the_picture():
    family = start("KeyToDoor", (5.0, 4.0, 8.0, 8.0))

    def shows(colour):
        return bool((family.render() == colour).all(axis=2).any())

    assert shows(key_to_door.KEY)
    assert shows(key_to_door.DOOR)
    play(family, [RIGHT, RIGHT])
    assert not shows(key_to_door.KEY)
    assert shows(key_to_door.DOOR)
