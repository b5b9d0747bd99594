"""Two-Colours, beside a reference that walks one stream at a time."""

import itertools

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.tabular.two_colours import NUM_CELLS, PERIOD, TwoColours

UP, RIGHT, DOWN, LEFT = range(4)


def keys(count, seed=0):
    return rng.world_keys(seed, rng.Stream.TASK, count)


def draws(count, copies, step, seed=0):
    key_PE = rng.fold_in(keys(count, seed).unsqueeze(1), torch.arange(copies))
    return rng.uniform(rng.fold_in(key_PE, step), 3)


def free(taken):
    return [cell for cell in range(NUM_CELLS) if cell not in taken]


def pick(u, taken):
    cells = free(taken)
    return cells[int(u * len(cells))]


class SlowColours:
    """One stream."""

    def __init__(self, period, u):
        self.period, self.time = period, 0
        self.agent = pick(u[0], [])
        self.items = {"blue": pick(u[1], [self.agent])}
        self.items["red"] = pick(u[2], [self.agent, self.items["blue"]])

    @property
    def cells(self):
        return [self.agent, self.items["blue"], self.items["red"]]

    def step(self, action, u):
        dx, dy = ((0, 1), (1, 0), (0, -1), (-1, 0))[action]
        x, y = self.agent % 5 + dx, self.agent // 5 + dy
        if 0 <= x < 5 and 0 <= y < 5:
            self.agent = x + 5 * y
        good = ("blue", "red")[self.time // self.period % 2]
        self.time += 1
        for colour, other in (("blue", "red"), ("red", "blue")):
            if self.items[colour] == self.agent:
                self.items[colour] = pick(u[0], [self.agent, self.items[other]])
                return 1.0 if colour == good else -1.0
        return -0.04


def test_every_step_is_the_references():
    """With a period of 40 steps, so that signs swap several times."""
    count, copies, fast = 4, 3, TwoColours(period=40)
    tasks = fast.sample(keys(count))
    u_PEU = draws(count, copies, 0)
    worlds = fast.begin(tasks, u_PEU)
    slow = [[SlowColours(40, u_PEU[p, e].tolist()) for e in range(copies)] for p in range(count)]
    rewards = []
    for t in range(1, 300):
        state_PE = fast.state(tasks, worlds)
        action_PE = (draws(count, copies, t, seed=1)[..., 0] * 4).long()
        u_PEU = draws(count, copies, t)
        for p, e in itertools.product(range(count), range(copies)):
            agent, blue, red = slow[p][e].cells
            assert int(state_PE[p, e]) == agent + 25 * blue + 625 * red
        step = fast.step(tasks, worlds, action_PE, u_PEU)
        worlds = step.worlds
        expected = [
            [slow[p][e].step(int(action_PE[p, e]), u_PEU[p, e].tolist()) for e in range(copies)]
            for p in range(count)
        ]
        assert torch.equal(step.reward_PE, torch.tensor(expected))
        assert not bool(step.ended_PE.any())
        rewards += itertools.chain(*expected)
    assert min(rewards.count(1.0), rewards.count(-1.0)) > 50


def placed(agent, blue, red, time=0):
    rows = {"board": agent + 25 * blue + 625 * red, "time": time}
    return {name: torch.tensor([[value]]) for name, value in rows.items()}


def cells_of(worlds):
    board = worlds["board"]
    return board % 25, board // 25 % 25, board // 625


@pytest.mark.parametrize(
    ("time", "action", "reward", "blue", "red"),
    [
        # The agent is on 12 = (2, 2), blue on 13 to the right, red on 17 above. Draw 0.5 picks
        # place int(0.5 · 23) = 11 of the free cells: 11 either way, as only later ones are taken.
        (0, RIGHT, 1.0, 11, 17),
        (0, UP, -1.0, 13, 11),
        (PERIOD - 1, RIGHT, 1.0, 11, 17),
        (PERIOD, RIGHT, -1.0, 11, 17),
        (PERIOD, UP, 1.0, 13, 11),
        (2 * PERIOD, RIGHT, 1.0, 11, 17),
        (0, LEFT, -0.04, 13, 17),
    ],
)
def test_contacts_worked_by_hand(time, action, reward, blue, red):
    fast = TwoColours()
    tasks = fast.sample(keys(1))
    u = torch.full((1, 1, 3), 0.5)
    step = fast.step(tasks, placed(12, 13, 17, time), torch.tensor([[action]]), u)
    assert step.reward_PE.item() == pytest.approx(reward)
    assert [cell.item() for cell in cells_of(step.worlds)[1:]] == [blue, red]


@pytest.mark.parametrize(
    ("cell", "action"), [(0, DOWN), (0, LEFT), (24, UP), (24, RIGHT), (4, RIGHT), (20, LEFT)]
)
def test_the_edges_stop_the_agent(cell, action):
    fast = TwoColours()
    step = fast.step(
        fast.sample(keys(1)), placed(cell, 12, 13), torch.tensor([[action]]), torch.zeros(1, 1, 3)
    )
    assert cells_of(step.worlds)[0].item() == cell


def test_a_collected_item_may_go_to_each_free_cell_as_often():
    """The 23 draws in the middle of each 1/23, and the extremes."""
    fast = TwoColours()
    u = torch.cat([(torch.arange(23) + 0.5) / 23, torch.tensor([0.0, 1.0])])
    worlds = {name: row.expand(1, 25) for name, row in placed(12, 13, 17).items()}
    action = torch.full((1, 25), RIGHT)
    step = fast.step(fast.sample(keys(1)), worlds, action, u.view(1, 25, 1).expand(1, 25, 3))
    cells = cells_of(step.worlds)[1][0].tolist()
    assert cells == [*free([13, 17]), 0, 24]


def test_first_places_are_different():
    fast = TwoColours()
    worlds = fast.begin(fast.sample(keys(50)), draws(50, 40, 0))
    agent, blue, red = cells_of(worlds)
    assert not bool(((agent == blue) | (agent == red) | (blue == red)).any())
    assert all(len(cells.unique()) == 25 for cells in (agent, blue, red))


def test_features_are_one_hot_columns_and_rows():
    """Agent on 7 = (2, 1), blue on 20 = (0, 4), red on 24 = (4, 4)."""
    seen = TwoColours().features(placed(7, 20, 24))
    assert seen.shape == (1, 1, 30)
    assert seen[0, 0].nonzero()[:, 0].tolist() == [2, 5 + 1, 10 + 0, 15 + 4, 20 + 4, 25 + 4]


def test_a_stream_has_no_optimal_return():
    fast = TwoColours()
    with pytest.raises(ValueError, match="stream without episodes"):
        fast.optimal_return(fast.sample(keys(1)))
