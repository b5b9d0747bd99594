"""KeyToDoor: find a key, then the door it opens, in the dark."""

from collections.abc import Mapping

import torch
from torch import Tensor

from quickstudy.envs.families.grid import Grid, Mark, board
from quickstudy.envs.family import unbounded_box
from quickstudy.envs.tasks import ListedTasks, Parameter, hold_out

SIZE = 9
START = (4, 4)
KEY, DOOR = (235, 190, 60), (150, 95, 55)

CELLS = tuple(cell for cell in board(SIZE) if cell != START)
TRAIN_PAIRS, TEST_PAIRS = hold_out(
    tuple((*key, *door) for key in CELLS for door in CELLS if key != door)
)


class KeyToDoor(Grid):
    """An agent on 9 × 9 cells that must find two places and visit them in the right order.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | key_x | 0 … 8 | cell |
    | 1 | key_y | 0 … 8 | cell |
    | 2 | door_x | 0 … 8 | cell |
    | 3 | door_y | 0 … 8 | cell |

    Key and door lie on two different cells other than the start. Of these 6320 pairs, 1264 chosen
    by a fixed hash belong to `test`, the others to `train`.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–8 | x of the agent, one-hot | {0, 1} | cell |
    | 9–17 | y of the agent, one-hot | {0, 1} | cell |

    Key and door are not seen, nor whether the key is held: rewards tell.

    ## Action

    0 stay, 1 up (+y), 2 right (+x), 3 down, 4 left. A step into a wall is a stay.

    ## Reward

    `key` = 1 at the first visit to the key's cell, plus `door` = 1 on the door's cell with the key.

    ## Episode

    Starts at the centre (4, 4) without the key. Terminates at the open door; 50 steps by default,
    4 episodes per trial.

    ## Source

    Dark Key-to-Door of Algorithm Distillation (Laskin et al. 2022).

    ## Peers

    Algorithm Distillation starts anywhere; toy-meta-gym in the centre or anywhere, and shows the
    cell's index. Their keys and doors are not held out.
    """

    size = SIZE
    start = START
    observation_space = unbounded_box(2 * SIZE)
    task_space = ListedTasks(
        tuple(
            Parameter(name, 0.0, SIZE - 1.0, "cell")
            for name in ("key_x", "key_y", "door_x", "door_y")
        ),
        TRAIN_PAIRS,
        test=TEST_PAIRS,
    )

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._has_key_N = self._never_N.clone()

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        super()._start_episode(mask_N, key_N)
        self._has_key_N = self._has_key_N & ~mask_N

    def _arrive(self) -> tuple[dict[str, Tensor], Tensor]:
        key_x_N, key_y_N, door_x_N, door_y_N = self.task_ND.unbind(1)
        opened_N = self._has_key_N & self._at(door_x_N, door_y_N)
        found_N = ~self._has_key_N & self._at(key_x_N, key_y_N)
        self._has_key_N = self._has_key_N | found_N
        return {"key": found_N.to(torch.float64), "door": opened_N.to(torch.float64)}, opened_N

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """A shortest path to the believed key, and with the key to the believed door."""
        has_key_N1 = self._has_key_N.unsqueeze(1)
        target_N2 = torch.where(has_key_N1, belief_ND[:, 2:], belief_ND[:, :2])
        return self._move_towards(target_N2[:, 0], target_N2[:, 1])

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {"has_key": self._has_key_N.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._has_key_N = self._restored(state["has_key"])

    def _marks(self, world: int) -> list[Mark]:
        """The door brown, the key yellow until it is found."""
        key_x, key_y, door_x, door_y = (int(value) for value in self.task_ND[world])
        key = [] if bool(self._has_key_N[world]) else [Mark((key_x, key_y), KEY)]
        return [Mark((door_x, door_y), DOOR), *key]
