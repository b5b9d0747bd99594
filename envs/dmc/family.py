"""A task of the DeepMind Control Suite: its model, with start, observation and reward in torch.

Shape legend: N worlds, A actions, Q generalised positions, V generalised velocities.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.dmc.suite import load_suite_model
from quickstudy.envs.families.probes import NO_TASK
from quickstudy.envs.family import Outcome
from quickstudy.envs.headless import mujoco
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.nested_state import nested, part

ATTEMPTS = 40
"""Starting positions tried, to find one without a contact; most are free of them."""

BLIND_ATTEMPTS = 6
"""As many where a look whether all are free would wait for the device: all of them are made at each
reset. Of ball in cup's starts 19 % touch something, of the finger's 10 %: after six, 0.005 %."""


class DMCFamily(MujocoFamily):
    """1000 steps that are never cut short, and a reward in [0, 1] at each, named `term`.

    dm_control recomputes all that MuJoCo derives from the state after each step. Here observations
    and rewards are computed from the state itself, which needs no more physics; forces alone, of
    which there is nothing newer, are those of the last substep in both.
    """

    task_space = NO_TASK
    camera = "fixed"
    render_fps = 50
    substeps = 1
    term: ClassVar[str]

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._contacts_N = self.engine.data["ncon"]
        self._drawn: dict[str, Tensor] = {}
        """What an episode depends on besides the state of physics, `(N, …)` by name."""

    def _load_model(self) -> mujoco.MjModel:
        return load_suite_model(self.model_file)

    @abstractmethod
    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        """Positions `(N, Q)` and velocities `(N, V)` to start from."""

    @abstractmethod
    def _reward(self, action_NA: Tensor) -> Tensor:
        """The reward `(N,)` of the present state, reached by `action_NA`."""

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        """Draw until nothing is in contact."""
        peeks = self.placement.peeks
        for attempt in range(ATTEMPTS if peeks else self._blind_attempts):
            super()._start_episode(mask_N, rng.fold_in(key_N, attempt))
            self.engine.forward(mask_N)
            mask_N = mask_N & (self._contacts_N > 0)
            if peeks and not mask_N.any():
                break

    @cached_property
    def _blind_attempts(self) -> int:
        """A model in which nothing can touch needs no second one."""
        model = self.engine.mjmodel
        disabled = model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CONTACT
        meets = (model.geom_contype[:, None] & model.geom_conaffinity) != 0
        elsewhere = model.geom_bodyid[:, None] != model.geom_bodyid
        return BLIND_ATTEMPTS if not disabled and (meets & elsewhere).any() else 1

    def _advance(self, action: Tensor) -> Outcome:
        self._simulate(action)
        reward_N = self._reward(action.to(torch.float64))
        return Outcome({self.term: reward_N}, self._never_N, self.engine.diverged)

    def _keep(self, name: str, mask_N: Tensor, values: Tensor) -> None:
        """Note what was drawn for the episodes that start where `mask_N` is True."""
        old = self._drawn.get(name, torch.zeros_like(values))
        mask = mask_N.view(-1, *[1] * (values.ndim - 1))
        self._drawn[name] = torch.where(mask, values, old)

    def _random_joints(self, u_NQ: Tensor) -> Tensor:
        """Joint positions, uniform within their limits; without limits they are angles."""
        low_Q, high_Q = self._joint_range.unbind(1)
        return low_Q + u_NQ * (high_Q - low_Q)

    @cached_property
    def _joint_range(self) -> Tensor:
        model = self.engine.mjmodel
        limited_Q1 = model.jnt_limited.astype(bool)[:, None]
        return self._constant(np.where(limited_Q1, model.jnt_range, (-math.pi, math.pi)))

    def _constant(self, values: Sequence[float] | np.ndarray) -> Tensor:
        """Float64, on the worlds' device: handing it over at each step would take time."""
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    def state_dict(self) -> dict[str, Tensor]:
        drawn = {name: values.clone() for name, values in self._drawn.items()}
        return super().state_dict() | nested("drawn", drawn)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._drawn = {k: self._restored(v) for k, v in part("drawn", state).items()}
