"""Chain and Room: sparse rewards far from the start, and a distractor nearby.

The tasks of Devidze et al. 2022 (ExploRS, arXiv 2503.21949, chapter on exploration-guided shaping),
with the dynamics of their public code (machine-teaching-group/neurips2022_exploration-guided-
reward-shaping, `code_tabular`). Without a distractor they are called Chain⁰ and Room⁰, with one
Chain⁺ and Room⁺.

Shape legend: P tasks, E copies, S states, A actions, U draws, C coordinates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.envs.errors import require_positive
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks

LEFT, RIGHT = 0, 1
"""The actions of a chain."""
ROOM_MOVES = ((0, 1), (-1, 0), (0, -1), (1, 0))
"""(dx, dy) of a room's actions: up, left, down, right."""


@dataclass(frozen=True)
class SlipperyMDP:
    """Deterministic moves, each replaced by that of a random action with probability `slip`.

    The reward is that of the action meant. The last state is the terminal one: it is not entered by
    `worlds`, which begin another episode instead.
    """

    next_SA: Tensor
    """Where a move leads, int64; from the terminal state to itself."""
    reward_SA: Tensor
    """float32; 0 in the terminal state."""
    coordinates_SC: Tensor
    """Where a state lies, float32 in [−1, 1]."""
    start: int
    """The first state of an episode."""
    horizon: int
    """Steps after which an episode ends."""
    slip: float
    """How often a random action (perhaps the one meant) moves instead."""

    @property
    def terminal(self) -> int:
        return len(self.next_SA) - 1


@dataclass(frozen=True)
class ChainConfig:
    """A line with the goal at its right end; beyond its left end episodes are over."""

    right: int = 20
    """n₁: steps from the start to the goal, where each further RIGHT pays 1."""
    left: int = 40
    """n₂: steps from the start to the left end, from where LEFT ends the episode."""
    distractor: float = 0.05
    """What LEFT pays in the state `distance` steps left of the start, each time. With 0 it is
    Chain⁰. (The repository's README runs Chain⁺ with 0.01.)"""
    distance: int = 15
    """Steps from the start to the distractor."""
    horizon: int = 40
    """Steps per episode."""
    slip: float = 0.05
    """Probability of a random move."""

    def build(self) -> SlipperyMDP:
        """The table of this chain.

        Raises:
            ValueError: for a distractor beyond the left end, or a slip outside [0, 1].
        """
        require_positive("right", self.right)
        require_positive("horizon", self.horizon)
        if not 0 <= self.distance <= self.left:
            raise ValueError(
                f"distance must be from 0 to left = {self.left}, got {self.distance!r}."
            )
        _check_slip(self.slip)
        return _chain(self)


@dataclass(frozen=True)
class RoomConfig:
    """Four rooms with thin walls; the goal is the corner opposite the start's."""

    size: int = 7
    """Cells along a side, at least 4."""
    distractor: float = 0.01
    """What UP pays in the cell below the start, each time; the repository's README runs Room⁺ with
    0.01. With 0 it is Room⁰."""
    horizon: int = 30
    """Steps per episode."""
    slip: float = 0.05
    """Probability of a random move."""

    def build(self) -> SlipperyMDP:
        """The table of these rooms: start (1, 1), goal the last cell, where each RIGHT pays 1.

        LEFT and DOWN from the first cell, (0, 0), end the episode. DOWN from the goal leads to the
        cell below (in the published table, by a slip of indices, to the far end of its row).

        Raises:
            ValueError: for fewer than 4 cells, or a slip outside [0, 1].
        """
        require_positive("horizon", self.horizon)
        _check_slip(self.slip)
        return _room(self)


class SlipperyTasks(TabularTasks):
    """One MDP for every key; all that differs between copies is luck."""

    num_draws = 1

    def __init__(self, mdp: SlipperyMDP) -> None:
        self.mdp = mdp
        self.num_states, self.num_actions = mdp.next_SA.shape

    def sample(self, key_P: Tensor) -> Rows:
        return {"task": torch.zeros_like(key_P)}

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        state_PE = torch.full(draw_PEU.shape[:2], self.mdp.start, device=draw_PEU.device)
        return {"state": state_PE, "time": torch.zeros_like(state_PE)}

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return worlds["state"]

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        state_PE, mdp = worlds["state"], self.mdp
        moved_PE = slipped(action_PE, draw_PEU[..., 0], mdp.slip, self.num_actions)
        next_PE = mdp.next_SA[state_PE, moved_PE]
        time_PE = worlds["time"] + 1
        ended_PE = (next_PE == mdp.terminal) | (time_PE == mdp.horizon)
        worlds = {
            "state": next_PE.where(~ended_PE, mdp.start),
            "time": time_PE.where(~ended_PE, 0),
        }
        return TabularStep(worlds, mdp.reward_SA[state_PE, action_PE], ended_PE)

    def coordinates(self) -> Tensor:
        return self.mdp.coordinates_SC

    def optimal_return(self, tasks: Rows) -> Tensor:
        mdp = self.mdp
        value_S = torch.zeros(self.num_states, dtype=torch.float64)
        for _ in range(mdp.horizon):
            arrived_SA = value_S[mdp.next_SA]
            lost_S1 = arrived_SA.mean(dim=1, keepdim=True)
            value_SA = mdp.reward_SA + (1.0 - mdp.slip) * arrived_SA + mdp.slip * lost_S1
            value_S = value_SA.amax(dim=1)
        return value_S[mdp.start].expand(len(tasks["task"]))


def slipped(action: Tensor, draw: Tensor, slip: float, num_actions: int) -> Tensor:
    """The action that moves: of draws below `slip`, those in the k-th part make it action k."""
    if slip == 0.0:
        return action
    # Rounding must not lead beyond the last action.
    other = (draw * (num_actions / slip)).clamp(max=num_actions - 1).to(torch.int64)
    return torch.where(draw < slip, other, action)


def four_rooms(size: int) -> Tensor:
    """Moves between the size² cells y · size + x of four rooms, `(size², 4)` int64.

    Walls are thin: they stand between the two middle columns, and rows, with two doors each. A move
    against one, or out of the grid, leads nowhere.

    Raises:
        ValueError: for fewer than 4 cells along a side.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 4:
        raise ValueError(f"size must be an integer of at least 4, got {size!r}.")
    cells = [(x, y) for y in range(size) for x in range(size)]
    moves = [[_arrival(x, y, dx, dy, size) for dx, dy in ROOM_MOVES] for x, y in cells]
    return torch.tensor([[y * size + x for x, y in row] for row in moves])


def grid_coordinates(size: int) -> Tensor:
    """(x, y) of the cells y · size + x, `(size², 2)` float32 from −1 to 1."""
    side = torch.linspace(-1.0, 1.0, size)
    return torch.stack([side.repeat(size), side.repeat_interleave(size)], dim=1)


def _arrival(x: int, y: int, dx: int, dy: int, size: int) -> tuple[int, int]:
    """Where a move from (x, y) leads."""
    to_x, to_y = x + dx, y + dy
    inside = 0 <= to_x < size and 0 <= to_y < size
    crossed = size // 2 in (max(x, to_x) if dx else None, max(y, to_y) if dy else None)
    blocked = crossed and (y if dx else x) not in _doors(size)
    return (to_x, to_y) if inside and not blocked else (x, y)


def _doors(size: int) -> tuple[int, int]:
    """Where a wall along one axis is open: ⌈n/3⌉ − 2 and ⌈2(n + 2)/3⌉ − 1 (1 and 5 of 7)."""
    return -(-size // 3) - 2, -(-2 * (size + 2) // 3) - 1


def _chain(config: ChainConfig) -> SlipperyMDP:
    goal = config.left + config.right
    terminal = goal + 1
    place_S = torch.arange(goal + 2)
    next_SA = torch.stack([place_S - 1, place_S + 1], dim=1)
    next_SA[0, LEFT] = next_SA[terminal, LEFT] = next_SA[terminal, RIGHT] = terminal
    next_SA[goal, RIGHT] = goal
    reward_SA = torch.zeros(goal + 2, 2)
    reward_SA[config.left - config.distance, LEFT] = config.distractor
    reward_SA[goal, RIGHT] = 1.0
    coordinates_SC = (2.0 * place_S / goal - 1.0).clamp(max=1.0).unsqueeze(1)
    return SlipperyMDP(next_SA, reward_SA, coordinates_SC, config.left, config.horizon, config.slip)


def _room(config: RoomConfig) -> SlipperyMDP:
    size = config.size
    terminal = size * size
    next_SA = torch.cat([four_rooms(size), torch.full((1, 4), terminal)])
    next_SA[0, 1] = next_SA[0, 2] = terminal
    reward_SA = torch.zeros(terminal + 1, 4)
    reward_SA[1, 0] = config.distractor
    reward_SA[terminal - 1, 3] = 1.0
    coordinates_SC = torch.cat([grid_coordinates(size), torch.zeros(1, 2)])
    return SlipperyMDP(next_SA, reward_SA, coordinates_SC, size + 1, config.horizon, config.slip)


def _check_slip(slip: float) -> None:
    if not 0.0 <= slip <= 1.0:
        raise ValueError(f"slip must be from 0 to 1, got {slip!r}.")
