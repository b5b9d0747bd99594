"""References of the grids, computed without playing.

Until a hidden goal is found, every observation and reward is the same wherever it lies. So whatever
a strategy does until then is a fixed plan of cells to visit; afterwards the best is known: stay,
and in later episodes take a shortest path and stay. The Bayes-optimal trial (all goals equally
likely) is therefore the plan with the most steps on the goal. A plan's score is exact; a plan is
proved to be optimal where its score equals a bound that holds for all plans.

Shape legend: G goals, K episodes, S = K · H steps of a trial.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from quickstudy.envs.families import dark_room, grid_navi, key_to_door
from quickstudy.envs.families.grid import MOVES, Cell
from quickstudy.envs.references.reference import Reference, Trials, exact

Plan = tuple[tuple[Cell, ...], ...]
"""For each of K episodes the cells after its H moves, for as long as the goal is not found."""

Link = tuple[Cell, "Link"] | None
"""A path, last cell first."""

Layer = dict[tuple[Cell, int], tuple[int, Link]]
"""Partial plans by where they stand and which goals they passed (bits): score and path."""

WIDTH = 4000
"""Partial plans kept at each step; GridNavi's optimum needs more than 1000."""

DARK_ROOM_WIDTH = 300
"""In trials of the default length a wider beam does not reach the quarters' plan either."""


@dataclass(frozen=True)
class Search:
    """A hidden goal on a board, K episodes of H steps to find it and be there."""

    size: int
    start: Cell
    goals: tuple[Cell, ...]
    """All as likely; the start is none of them."""
    on: float
    """The reward of a step that ends on the goal."""
    off: float
    """The reward of any other step."""
    episode_length: int
    episodes: int

    def distance(self, goal: Cell) -> int:
        """Steps of a shortest path from the start."""
        return path_length(self.start, goal)

    def steps_when_known(self, goal: Cell) -> int:
        """Steps on a known goal in one episode: d − 1 lead there, the others count."""
        return max(self.episode_length + 1 - self.distance(goal), 0)

    def steps_when_found(self, goal: Cell, episode: int, step: int) -> int:
        """Steps on a goal in a trial that first meets it at step `step` (from 1) of `episode`."""
        later = self.episodes - 1 - episode
        return self.episode_length + 1 - step + later * self.steps_when_known(goal)


def path_length(first: Cell, last: Cell) -> int:
    """Steps from one cell to another."""
    return abs(first[0] - last[0]) + abs(first[1] - last[1])


def most_steps(search: Search) -> int:
    """No plan spends more steps on the goal than this, summed over all goals.

    Each of the S steps meets at most one new goal, and none sooner than its distance: the best
    matching of steps to goals ignores only that a plan must walk from one to the next.
    """
    times = [(e, s) for e in range(search.episodes) for s in range(1, search.episode_length + 1)]
    steps_SG = np.array(
        [
            [search.steps_when_found(g, e, s) * (s >= search.distance(g)) for g in search.goals]
            for e, s in times
        ]
    )
    return int(steps_SG[linear_sum_assignment(steps_SG, maximize=True)].sum())


def best_plan(search: Search, width: int) -> Plan:
    """The best plan of a beam search; with no more than `width` partial plans, the best of all."""
    layer: Layer = {(search.start, 0): (0, None)}
    for episode in range(search.episodes):
        layer = _back_at_start(search, layer)
        for step in range(1, search.episode_length + 1):
            layer = _widest(_expand(search, layer, episode, step), width)
    _, path = max(layer.values(), key=lambda entry: entry[0])
    return _cut(search, path)


def _back_at_start(search: Search, layer: Layer) -> Layer:
    """The plans at the start of the next episode, the best one for each set of goals passed."""
    started: Layer = {}
    for (_, passed), entry in layer.items():
        _keep_better(started, (search.start, passed), entry)
    return started


def _expand(search: Search, layer: Layer, episode: int, step: int) -> Layer:
    """All plans one step longer."""
    bits = {goal: 1 << i for i, goal in enumerate(search.goals)}
    expanded: Layer = {}
    for (cell, passed), (score, path) in layer.items():
        for after in _neighbours(cell, search.size):
            bit = bits.get(after, 0)
            new = bit and not passed & bit
            gained = search.steps_when_found(after, episode, step) if new else 0
            _keep_better(expanded, (after, passed | bit), (score + gained, (after, path)))
    return expanded


def _keep_better(layer: Layer, place: tuple[Cell, int], entry: tuple[int, Link]) -> None:
    if place not in layer or layer[place][0] < entry[0]:
        layer[place] = entry


def _widest(layer: Layer, width: int) -> Layer:
    """The `width` best plans."""
    if len(layer) <= width:
        return layer
    return dict(sorted(layer.items(), key=lambda item: -item[1][0])[:width])


@functools.cache
def _neighbours(cell: Cell, size: int) -> tuple[Cell, ...]:
    """The cells one move away (the cell itself among them)."""
    moved = ((cell[0] + dx, cell[1] + dy) for dx, dy in MOVES)
    return tuple((x, y) for x, y in moved if 0 <= x < size and 0 <= y < size)


def _cut(search: Search, path: Link) -> Plan:
    """A path into its episodes."""
    cells: list[Cell] = []
    while path is not None:
        cell, path = path
        cells.insert(0, cell)
    length = search.episode_length
    return tuple(tuple(cells[e * length : (e + 1) * length]) for e in range(search.episodes))


def goal_steps(search: Search, plan: Plan) -> np.ndarray:
    """Steps on the goal in each episode if it is goal g, `(G, K)`."""
    return np.array([_goal_steps(search, plan, goal) for goal in search.goals])


def _goal_steps(search: Search, plan: Plan, goal: Cell) -> list[int]:
    found_in = next((e for e, cells in enumerate(plan) if goal in cells), search.episodes)
    steps = [0] * found_in + [search.steps_when_known(goal)] * (search.episodes - found_in)
    if found_in < search.episodes:
        steps[found_in] = search.episode_length - plan[found_in].index(goal)
    return steps


def episode_returns(search: Search, steps_GK: np.ndarray) -> tuple[float, ...]:
    """Mean return of each episode for steps on the goal `(G, K)`."""
    always_off = search.off * search.episode_length
    returns_K = always_off + (search.on - search.off) * steps_GK.mean(axis=0)
    return tuple(returns_K.tolist())


def _oracle(search: Search) -> Reference:
    steps_G = np.array([search.steps_when_known(goal) for goal in search.goals])
    steps_GK = np.repeat(steps_G[:, None], search.episodes, axis=1)
    return exact("oracle", episode_returns(search, steps_GK), "a shortest path to the known goal")


def grid_navi_references(trials: Trials) -> list[Reference]:
    """The oracle and the Bayes-optimal plan."""
    search = Search(
        grid_navi.SIZE,
        grid_navi.GridNavi.start,
        grid_navi.GOALS,
        grid_navi.GOAL_REWARD,
        grid_navi.STEP_REWARD,
        trials.episode_length,
        trials.episodes_per_trial,
    )
    steps_GK = goal_steps(search, best_plan(search, WIDTH))
    proved = int(steps_GK.sum()) == most_steps(search)
    name = "Bayes-optimal" if proved else "best plan found"
    source = "beam search, proved by a matching bound" if proved else "beam search, a lower bound"
    return [_oracle(search), exact(name, episode_returns(search, steps_GK), source)]


def dark_room_search(goals: tuple[Cell, ...], episode_length: int, episodes: int) -> Search:
    """DarkRoom with these goals."""
    return Search(dark_room.SIZE, dark_room.START, goals, 1.0, 0.0, episode_length, episodes)


def quarter_sweeps(episode_length: int, episodes: int) -> Plan:
    """DarkRoom in quarters: one snake per episode, through 4 × 5 cells beside the centre.

    Turned by 90° from episode to episode, four snakes pass all 80 cells, each once.
    """
    snake = [(x, y if x % 2 else 4 - y) for x in range(1, 5) for y in range(5)]
    steps = [snake[min(i, len(snake) - 1)] for i in range(episode_length)]
    return tuple(tuple(_turned(cell, episode) for cell in steps) for episode in range(episodes))


def _turned(offset: Cell, quarters: int) -> Cell:
    """The cell at an offset from DarkRoom's centre, turned."""
    x, y = offset
    for _ in range(quarters % 4):
        x, y = -y, x
    return dark_room.START[0] + x, dark_room.START[1] + y


def dark_room_plan(episode_length: int, episodes: int) -> tuple[Plan, float]:
    """The best plan known for all 80 cells, and the share of the matching bound it reaches."""
    search = dark_room_search(dark_room.GOALS, episode_length, episodes)
    plans = (quarter_sweeps(episode_length, episodes), best_plan(search, DARK_ROOM_WIDTH))
    steps, plan = max((int(goal_steps(search, plan).sum()), plan) for plan in plans)
    return plan, steps / most_steps(search)


def dark_room_references(trials: Trials) -> list[Reference]:
    """The oracle, and a search of all cells (whichever are held out) as a lower bound.

    Such a search may set out in any direction, and with either hand: it scores the mean over its
    eight images, which is the same as turning the goals.
    """
    duration = (trials.episode_length, trials.episodes_per_trial)
    images = dark_room_search(all_images(dark_room.TEST_GOALS), *duration)
    plan, share = dark_room_plan(*duration)
    source = f"best plan found for all 80 cells: {100 * share:.1f} % of a bound on every plan"
    found = exact("search of all cells", episode_returns(images, goal_steps(images, plan)), source)
    return [_oracle(images), found]


def all_images(goals: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Each goal turned by all quarters about the centre, and mirrored."""
    offsets = [(x - dark_room.START[0], y - dark_room.START[1]) for x, y in goals]
    mirrored = [(y, x) for x, y in offsets]
    return tuple(
        _turned(offset, quarters) for offset in offsets + mirrored for quarters in range(4)
    )


def key_to_door_references(trials: Trials) -> list[Reference]:
    """The oracle: to the key, to the door."""
    episode = sum(_opened(pair, trials.episode_length) for pair in key_to_door.TEST_PAIRS)
    mean = episode / len(key_to_door.TEST_PAIRS)
    return [exact("oracle", (mean,) * trials.episodes_per_trial, "shortest paths")]


def _opened(pair: tuple[int, ...], episode_length: int) -> int:
    """The best return of an episode with this key and door."""
    key_x, key_y, door_x, door_y = pair
    to_key = path_length(key_to_door.START, (key_x, key_y))
    to_door = to_key + path_length((key_x, key_y), (door_x, door_y))
    return int(to_key <= episode_length) + int(to_door <= episode_length)
