"""The control suite behind random maps: many bodies, one agent.

Shape legend: N worlds, O = 12 features and A = 2 actions before the maps.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.dmc.family import DMCFamily
from quickstudy.envs.families.dmc_acrobot import DMCAcrobotSwingup
from quickstudy.envs.families.dmc_ball_in_cup import DMCBallInCupCatch
from quickstudy.envs.families.dmc_cartpole import DMCCartpoleBalance, DMCCartpoleSwingup
from quickstudy.envs.families.dmc_finger import (
    DMCFingerSpin,
    DMCFingerTurnEasy,
    DMCFingerTurnHard,
)
from quickstudy.envs.families.dmc_pendulum import DMCPendulumSwingup
from quickstudy.envs.families.dmc_point_mass import DMCPointMassEasy, DMCPointMassHard
from quickstudy.envs.families.dmc_reacher import DMCReacherEasy, DMCReacherHard
from quickstudy.envs.family import Family, Outcome, unbounded_box, unit_box
from quickstudy.envs.nested_state import nested, part
from quickstudy.envs.projection import (
    ACTION_SIZE,
    OBSERVATION_SIZE,
    Distribution,
    ProjectedTasks,
    Projection,
)
from quickstudy.envs.tasks import ListedTasks, Parameter

ENVIRONMENTS: tuple[type[DMCFamily], ...] = (
    DMCReacherEasy,
    DMCPointMassEasy,
    DMCFingerTurnHard,
    DMCFingerSpin,
    DMCCartpoleSwingup,
    DMCBallInCupCatch,
    DMCCartpoleBalance,
    DMCFingerTurnEasy,
    DMCPendulumSwingup,
    DMCPointMassHard,
    DMCReacherHard,
    DMCAcrobotSwingup,
)
"""By their number in a task."""

TERMS = tuple(dict.fromkeys(environment.term for environment in ENVIRONMENTS))


def tasks(train: tuple[int, ...], ood: tuple[int, ...]) -> ProjectedTasks:
    """Environments by number: of training (and test, with other maps), and held out."""
    last = len(ENVIRONMENTS) - 1
    number = Parameter("environment", 0.0, float(last), "index")
    return ProjectedTasks(ListedTasks(number, tuple(map(float, train)), ood=tuple(map(float, ood))))


class ProjectedSuite(Family):
    """Worlds that each play one environment of the suite behind maps of their own.

    Each environment has N worlds, but only those that play it are stepped, all of them together
    (on a GPU, where looking which are played would cost more: all worlds of all environments).
    """

    distribution: ClassVar[Distribution] = "orthogonal"
    observation_space = unbounded_box(OBSERVATION_SIZE)
    action_space = unit_box(ACTION_SIZE)
    render_fps = 50

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._environments: dict[int, tuple[DMCFamily, Projection]] = {}
        self._playing_N: dict[int, Tensor] = {}
        """Where each environment that is played at all is played."""
        self._zero_N = torch.zeros(num_worlds, dtype=torch.float64, device=self.device)
        self._environment(0)  # says at once if the models are missing

    def _environment(self, number: int) -> tuple[DMCFamily, Projection]:
        assert 0 <= number < len(ENVIRONMENTS)
        if number not in self._environments:
            family = ENVIRONMENTS[number](self.num_worlds, self.placement.name)
            self._environments[number] = family, Projection(self.distribution, family)
        return self._environments[number]

    def _played(self) -> Iterator[tuple[Tensor, DMCFamily, Projection]]:
        for number, mask_N in self._playing_N.items():
            yield mask_N, *self._environment(number)

    def _assign(self) -> None:
        """Give each world to the environment that its task names."""
        number_N = self.task_ND[:, 0].long()
        if self.placement.peeks:
            played = sorted(set(number_N.tolist()))
        else:
            played = list(range(len(ENVIRONMENTS)))
        self._playing_N = {number: number_N == number for number in played}
        for mask_N, family, _ in self._played():
            family.active_N = mask_N

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        self._assign()
        for playing_N, family, maps in self._played():
            starting_N = mask_N & playing_N
            maps.redraw(starting_N, self.task_ND[:, 1])
            family.reset(starting_N, family.task_ND, key_N)

    def _advance(self, action: Tensor) -> Outcome:
        terms = dict.fromkeys(TERMS, self._zero_N)
        diverged_N = self._never_N
        for playing_N, family, maps in self._played():
            outcome = family.step(maps.action(action))
            reward_N = torch.where(playing_N, outcome.reward, self._zero_N)
            terms[family.term] = terms[family.term] + reward_N
            diverged_N = diverged_N | (outcome.diverged & playing_N)
        return Outcome(terms, diverged_N, diverged_N)

    def _observe(self) -> Tensor:
        seen_NO = self._zero_N.new_zeros(self.num_worlds, OBSERVATION_SIZE)
        for playing_N, family, maps in self._played():
            own_NO = maps.observation(family.observe())
            seen_NO = torch.where(playing_N.unsqueeze(1), own_NO, seen_NO)
        return seen_NO

    def state_dict(self) -> dict[str, Tensor]:
        state = {"task": self.task_ND.clone(), "diverged": self._diverged_N.clone()}
        for number in self._playing_N:
            family, _ = self._environment(number)
            state |= nested(str(number), family.state_dict())
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._diverged_N = self._restored(state["diverged"])
        self._assign()
        for number, playing_N in self._playing_N.items():
            family, maps = self._environment(number)
            maps.redraw(playing_N, self.task_ND[:, 1])
            own = part(str(number), state)
            if own:  # else nobody played it, where only those that are played are saved
                family.load_state_dict(own)

    def check_capacity(self) -> None:
        for family, _ in self._environments.values():
            family.check_capacity()

    def render(self, world: int = 0) -> np.ndarray:
        family, _ = self._environment(int(self.task_ND[world, 0]))
        return family.render(world)

    def close(self) -> None:
        for family, _ in self._environments.values():
            family.close()
