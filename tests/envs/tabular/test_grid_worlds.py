"""Grid-worlds: what is drawn, and every step beside a reference that walks one world at a time."""

import itertools

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.tabular import grid_maps
from quickstudy.envs.tabular.grid_rules import GridMap, GridObject, RandomGrids, places
from quickstudy.envs.tabular.grid_worlds import GridWorlds, tables

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
STAY, UP, RIGHT, DOWN, LEFT = range(5)
LIVELY = RandomGrids(
    size=(3, 5),
    length=(6, 30),
    num_objects=(1, 3),
    num_walls=4,
    ends=(0.1, 0.9),
    respawns=(0.05, 0.5),
)


def keys(count, seed=0):
    return rng.world_keys(seed, rng.Stream.TASK, count)


def draws(count, copies, size, step, seed=0):
    key_PE = rng.fold_in(keys(count, seed).unsqueeze(1), torch.arange(copies))
    return rng.uniform(rng.fold_in(key_PE, step), size)


class SlowGrid:
    """One copy of one task, from its rules and places alone."""

    def __init__(self, rules, drawn, place_PK, row):
        self.size = rules.max_size
        self.blocked = set(drawn["blocked"][row].nonzero()[:, 0].tolist())
        start, *cells = place_PK[row].tolist()
        numbers = [drawn[name][row].tolist() for name in ("reward", "ends", "respawns")]
        objects = list(zip(cells, *numbers, strict=True))[: int(drawn["num_objects"][row])]
        self.objects = {i: each for i, each in enumerate(objects) if each[0] not in self.blocked}
        self.start, self.length = start, int(drawn["length"][row])
        self.begin()

    def begin(self):
        self.cell, self.there, self.time = self.start, set(self.objects), 0

    @property
    def state(self):
        return self.cell + self.size**2 * sum(2**i for i in self.there)

    def moved(self, cell, action):
        x, y = cell % self.size + MOVES[action][0], cell // self.size + MOVES[action][1]
        target = x + self.size * y
        inside = 0 <= x < self.size and 0 <= y < self.size
        return target if inside and target not in self.blocked else cell

    def step(self, action, u):
        self.cell = self.moved(self.cell, action)
        found = [i for i in self.there if self.objects[i][0] == self.cell]
        reward = sum(self.objects[i][1] for i in found)
        over = any(u[0] < self.objects[i][2] for i in found)
        back = {i for i in self.objects if i not in self.there and u[1 + i] < self.objects[i][3]}
        self.there = (self.there - set(found)) | back
        self.time += 1
        ended = over or self.time >= self.length
        if ended:
            self.begin()
        return reward, ended, {"over": over, "back": bool(back), "full": ended and not over}


def both(rules, count, seed=0):
    """The fast tasks, and what the reference is made from."""
    key_P = keys(count, seed)
    drawn = rules.sample(key_P)
    return (
        GridWorlds(rules).sample(key_P),
        drawn,
        places(drawn["blocked"], key_P, 1 + rules.max_objects),
    )


@pytest.mark.parametrize(
    "rules", [LIVELY, RandomGrids(length=(5, 20)), grid_maps.LONGER], ids=["lively", "all", "map"]
)
def test_every_step_is_the_references(rules):
    count, copies, fast = 8, 3, GridWorlds(rules)
    tasks, drawn, place_PK = both(rules, count)
    worlds = fast.begin(tasks, draws(count, copies, fast.num_draws, 0))
    slow = [[SlowGrid(rules, drawn, place_PK, p) for _ in range(copies)] for p in range(count)]
    met = {"over": 0, "back": 0, "full": 0}
    for t in range(1, 120):
        assert fast.state(tasks, worlds).tolist() == [[w.state for w in row] for row in slow]
        action_PE = (draws(count, copies, 1, t, seed=1)[..., 0] * 5).long()
        u_PEU = draws(count, copies, fast.num_draws, t)
        step = fast.step(tasks, worlds, action_PE, u_PEU)
        worlds = step.worlds
        for p, e in itertools.product(range(count), range(copies)):
            reward, ended, events = slow[p][e].step(int(action_PE[p, e]), u_PEU[p, e].tolist())
            assert float(step.reward_PE[p, e]) == reward
            assert bool(step.ended_PE[p, e]) == ended
            met = {name: met[name] + events[name] for name in met}
    if rules is LIVELY:
        assert min(met.values()) > 10


def corridor(length=9, ends=0.25, respawns=0.5, reward=1.0):
    """Three cells in a row, 0 1 2; the start is 0, the object lies on 2."""
    walls = tuple((x, y) for x in range(3) for y in (1, 2))
    rules = GridMap(3, length, (GridObject(reward, ends, respawns),), walls)
    return GridWorlds(rules), tables(rules.sample(keys(1)), torch.tensor([[0, 2]]))


def test_a_walk_worked_by_hand():
    """9 cells, one object: states are cell + 9 if the object is there.

    Right, right collects; away for that step, it stays away while 0.6 ≥ 0.5, and comes back at 0.4
    under the agent, whose next stay collects it again, with 0.2 < 0.25 for the last time.
    """
    fast, tasks = corridor()
    worlds = fast.begin(tasks, torch.zeros(1, 1, 2))
    walk = [  # action, draws, state after, reward, ended
        (UP, (0.9, 0.9), 9, 0.0, False),
        (RIGHT, (0.0, 0.9), 10, 0.0, False),
        (RIGHT, (0.25, 0.0), 2, 1.0, False),
        (STAY, (0.0, 0.6), 2, 0.0, False),
        (RIGHT, (0.0, 0.4), 11, 0.0, False),
        (STAY, (0.2, 0.0), 9, 1.0, True),
    ]
    for action, u, state, reward, ended in walk:
        step = fast.step(tasks, worlds, torch.tensor([[action]]), torch.tensor([[u]]))
        worlds = step.worlds
        assert fast.state(tasks, worlds).item() == state
        assert (step.reward_PE.item(), step.ended_PE.item()) == (reward, ended)


def test_an_episode_ends_after_its_length():
    fast, tasks = corridor(length=3)
    worlds = fast.begin(tasks, torch.zeros(1, 1, 2))
    ended = []
    for _ in range(7):
        step = fast.step(tasks, worlds, torch.tensor([[RIGHT]]), torch.full((1, 1, 2), 0.9))
        worlds = step.worlds
        ended.append(step.ended_PE.item())
    assert ended == [False, False, True, False, False, True, False]


def test_a_step_leaves_the_old_worlds_alone():
    fast, tasks = corridor(length=1)
    worlds = fast.begin(tasks, torch.zeros(1, 1, 2))
    before = {name: row.clone() for name, row in worlds.items()}
    fast.step(tasks, worlds, torch.tensor([[RIGHT]]), torch.zeros(1, 1, 2))
    assert all(torch.equal(worlds[name], before[name]) for name in before)


# --- what is drawn ----------------------------------------------------------------------------


def test_the_published_distribution():
    """4000 tasks; intervals are 4 standard errors.

    Sizes: mean 7, variance 4. Of 15 walls among 100 cells, 0.15 g² are expected on a board of g²
    cells. log(length) is uniform: mean (log 20 + log 750) / 2, width log 37.5 = 3.62.
    """
    drawn = grid_maps.ALL.sample(keys(4000))
    cell = torch.arange(100)
    inside = [(cell % 10 < g) & (cell // 10 < g) for g in range(11)]
    size = next_size(drawn["blocked"])
    assert size.unique().tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert float(size.double().mean()) == pytest.approx(7.0, abs=4 * 2 / 4000**0.5)
    for g in (4, 10):
        walls = (drawn["blocked"][size == g] & inside[g]).sum(dim=1).double()
        expected, error = 0.15 * g * g, (3.65 / len(walls)) ** 0.5
        assert float(walls.mean()) == pytest.approx(expected, abs=4 * error + 1e-9)
    length = drawn["length"]
    assert (int(length.min()), int(length.max())) == (20, 750)
    error = 3.62 / 12**0.5 / 4000**0.5
    middle = float(torch.tensor(20.0 * 750.0).log() / 2)
    assert float(length.double().log().mean()) == pytest.approx(middle, abs=4 * error)
    assert drawn["num_objects"].unique().tolist() == [1, 2, 3, 4, 5]
    first, others = drawn["reward"][:, 0], drawn["reward"][:, 1:]
    assert 0.0 <= float(first.min()) < 0.01
    assert float(others.min()) < -0.99 < 0.99 < float(drawn["reward"].amax(dim=0).min())
    for name, low, high in (("ends", 0.01, 1.0), ("respawns", 0.001, 0.1)):
        assert low <= float(drawn[name].min()) < 1.1 * low
        assert 0.9 * high < float(drawn[name].max()) <= high


def next_size(blocked_PC):
    """Where the board's last column and row lie (a full one of walls does not happen)."""
    open_PYX = ~blocked_PC.view(-1, 10, 10)
    furthest = torch.stack([open_PYX.any(dim=1), open_PYX.any(dim=2)]).any(dim=0)
    return (furthest * torch.arange(1, 11)).amax(dim=1)


def test_start_and_objects_lie_on_different_free_cells():
    key_P = keys(500)
    blocked = grid_maps.ALL.sample(key_P)["blocked"]
    place_PK = places(blocked, key_P, 6)
    assert not bool(blocked.gather(1, place_PK).any())
    assert all(len(set(row)) == 6 for row in place_PK.tolist())
    assert place_PK[:, 0].unique().numel() > 60


def test_an_object_without_a_free_cell_is_missing():
    """A board of 2 × 2 with up to 3 walls has room for 1 to 4 things, one of them the start."""
    rules = RandomGrids(size=(2, 3), num_objects=(3, 3), num_walls=3, length=(5, 5))
    tasks = GridWorlds(rules).sample(keys(300))
    free = (~rules.sample(keys(300))["blocked"]).sum(dim=1)
    on_board = (tasks["object"] > 0).sum(dim=1)
    assert on_board.tolist() == (free - 1).clamp(max=3).tolist()
    assert on_board.unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(tasks["object"].sum(dim=1), tasks["objects"])


def test_the_maps_are_the_published_ones():
    """Walls seen from above, the row y = 0 first."""
    longer, long_dense = grid_maps.LONGER, grid_maps.LONG_DENSE
    column = ["....#....", "........."]
    assert picture(longer) == [column[y in (1, 7)] for y in range(9)]
    walled, opened, across = ".....#.....", "...........", "##.#####.##"
    assert (
        picture(long_dense) == [opened, *[walled] * 3, across, *[walled] * 2, opened] + [walled] * 3
    )
    numbers = [
        (grid_maps.DENSE, 11, 500, [1, 1, -1, -1], [0, 0, 0.5, 0], [0.05, 0.05, 0.1, 0.5]),
        (grid_maps.SPARSE, 13, 50, [1, -1], [1, 1], [0, 0]),
        (grid_maps.LONG, 11, 1000, [1, 1, -1, -1], [0, 0, 0.5, 0.5], [0.01, 0.01, 1, 1]),
        (longer, 9, 2000, [1] * 2 + [-1] * 5, [0.1] * 2 + [0.8] * 5, [0.01] * 2 + [1] * 5),
        (long_dense, 11, 2000, [1] * 4, [0] * 4, [0.005] * 4),
    ]
    for rules, size, length, *columns in numbers:
        drawn = rules.sample(keys(2))
        assert (rules.max_size, drawn["length"].tolist()) == (size, [length] * 2)
        for name, column in zip(("reward", "ends", "respawns"), columns, strict=True):
            assert torch.equal(drawn[name], torch.tensor([column] * 2, dtype=torch.float32))


def picture(rules):
    rows = rules.sample(keys(1))["blocked"][0].view(rules.size, rules.size).tolist()
    return ["".join("#" if wall else "." for wall in row) for row in rows]


def test_the_small_preset_has_200_states():
    fast = GridWorlds(grid_maps.SMALL)
    tasks = fast.sample(keys(300))
    assert (fast.num_states, fast.num_actions) == (200, 5)
    assert set(tasks["length"].tolist()) <= set(range(20, 51))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (6, 5)}, r"size must be \(lowest, highest\), got \(6, 5\)"),
        ({"size": (3, 5), "num_walls": 9}, "9 walls and 5 objects leave no free cell .* 3 × 3"),
    ],
)
def test_rules_that_cannot_be_played_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RandomGrids(**wrong)


def test_a_map_without_room_is_refused():
    with pytest.raises(ValueError, match="leave no free cell"):
        GridMap(2, 5, 3 * (GridObject(1.0, 0.0, 0.0),), walls=((0, 0),))
