"""What the point families share: a point in the plane, its moves and its picture."""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.family import Family, Outcome, unbounded_box, unit_box

STEP_SIZE = 0.1
"""Metres per step at full action, along each axis."""

PICTURE_SIZE = 240
PICTURE_METRES = 3.6


class Point(Family):
    """A point that starts at the origin and moves up to 0.1 m per axis and step."""

    observation_space = unbounded_box(2)
    action_space = unit_box(2)

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._position_N2 = torch.zeros(num_worlds, 2, dtype=torch.float64, device=self.device)

    @abstractmethod
    def _goal(self, task_ND: Tensor) -> Tensor:
        """Goals `(N, 2)` in metres."""

    @abstractmethod
    def _reward(self, distance_N: Tensor) -> dict[str, Tensor]:
        """Named reward terms for the distance (m) to the goal after the move."""

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        del key_N  # unused: every episode starts at the origin
        self._position_N2 = self._position_N2.masked_fill(mask_N.unsqueeze(1), 0.0)

    def _advance(self, action: Tensor) -> Outcome:
        self._position_N2 = self._position_N2 + STEP_SIZE * action
        distance_N = torch.linalg.vector_norm(self._position_N2 - self._goal(self.task_ND), dim=1)
        return Outcome(self._reward(distance_N), self._never_N, ~distance_N.isfinite())

    def _observe(self) -> Tensor:
        return self._position_N2

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """Straight to the believed goal, then stay."""
        away_N2 = self._goal(belief_ND) - self._position_N2
        return (away_N2 / STEP_SIZE).clamp(-1.0, 1.0).to(torch.float32)

    def state_dict(self) -> dict[str, Tensor]:
        return {"task": self.task_ND.clone(), "position": self._position_N2.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._position_N2 = self._restored(state["position"])

    def render(self, world: int = 0) -> np.ndarray:
        """The plane from above, 3.6 m wide: goal green, point blue, origin grey."""
        picture = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 245, np.uint8)
        _draw_disc(picture, np.zeros(2), 0.03, (170, 170, 170))
        _draw_disc(picture, self._goal(self.task_ND)[world].cpu().numpy(), 0.2, (150, 210, 150))
        _draw_disc(picture, self._position_N2[world].cpu().numpy(), 0.07, (40, 90, 170))
        return picture


def _draw_disc(
    picture: np.ndarray, centre: np.ndarray, radius: float, colour: tuple[int, int, int]
) -> None:
    metres = (np.arange(PICTURE_SIZE) + 0.5) / PICTURE_SIZE * PICTURE_METRES - PICTURE_METRES / 2
    inside = (metres[None, :] - centre[0]) ** 2 + (-metres[:, None] - centre[1]) ** 2 < radius**2
    picture[inside] = colour
