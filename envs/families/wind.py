"""Wind: walk to a known goal through a hidden steady wind.

Shape legend: N worlds, D = 2 task parameters.
"""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.families.point import PICTURE_METRES, PICTURE_SIZE, STEP_SIZE, Point
from quickstudy.envs.family import Outcome
from quickstudy.envs.tasks import BoxTasks, Parameter

GOAL = (0.0, 1.0)
GOAL_RADIUS = 0.03
"""Metres; less than what most winds drift in one step."""

DRIFT_STEPS = 10
"""Steps of wind alone that the picture shows."""


class Wind(Point):
    """A point whose every move is carried off by a wind that it must find out and lean against.

    The goal is always the same; what differs is how the world answers.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | wind_x | U[−0.08, 0.08], in disjoint cells of 0.0016 | U[0.08, 0.1] | m/step |
    | 1 | wind_y | U[−0.08, 0.08] | U[0.08, 0.1] | m/step |

    Every `ood` wind is stronger than any in training; full action still stands against it.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | position x, y | ℝ | m |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | move along x, y, to which the wind is added | [−1, 1] | 0.1 m |

    ## Reward

    `goal` = 1 within 0.03 m of (0, 1) after the move, else 0.

    ## Episode

    Starts at the origin and never terminates; 75 steps by default, 2 episodes per trial. Under the
    hardest wind (0.08 m per step from ahead) the goal is 50 steps away. Whoever steers by the
    position alone comes to rest where wind and pull balance, outside the goal: the wind must be
    remembered from the moves it spoilt. One step shows it, so little is left to gain in the
    second episode, unless the wind is made to turn there (`switch_episode`).

    ## Source

    The wind of BOReL (Dorfman et al. 2021), also in Ni et al. 2022.

    ## Peers

    Ni et al. play one episode per trial, on 40 listed winds for training and 20 for evaluation,
    with moves in metres, [−0.1, 0.1], that the environment does not clip.
    """

    task_space = BoxTasks(
        Parameter("wind_x", -0.08, 0.08, "m/step"),
        Parameter("wind_y", -0.08, 0.08, "m/step"),
        ood=((0.08, 0.1), (0.08, 0.1)),
    )

    @cached_property
    def _goal_2(self) -> Tensor:
        return torch.tensor(GOAL, dtype=torch.float64, device=self.device)

    def _goal(self, task_ND: Tensor) -> Tensor:
        return self._goal_2.expand_as(task_ND)

    def _reward(self, distance_N: Tensor) -> dict[str, Tensor]:
        return {"goal": (distance_N <= GOAL_RADIUS).to(torch.float64)}

    def _advance(self, action: Tensor) -> Outcome:
        self._position_N2 = self._position_N2 + self.task_ND
        return super()._advance(action)

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """Straight to the goal, leaning against the believed wind."""
        away_N2 = self._goal(belief_ND) - self._position_N2 - belief_ND
        return (away_N2 / STEP_SIZE).clamp(-1.0, 1.0).to(torch.float32)

    def render(self, world: int = 0) -> np.ndarray:
        """As `Point.render`, with the path on which ten steps of wind alone would take the point.

        The goal is drawn larger than it is.
        """
        picture = super().render(world)
        position_2, wind_2 = (x[world].cpu().numpy() for x in (self._position_N2, self.task_ND))
        for step in np.linspace(0.0, DRIFT_STEPS, 60):
            x, y = (position_2 + step * wind_2) / PICTURE_METRES * PICTURE_SIZE + PICTURE_SIZE / 2
            row, column = round(PICTURE_SIZE - y), round(x)
            picture[max(row - 1, 0) : max(row + 1, 0), max(column - 1, 0) : max(column + 1, 0)] = 60
        return picture
