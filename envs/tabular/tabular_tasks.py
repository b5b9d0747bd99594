"""The contract of finite tasks: P of them side by side, each played in E copies.

Everything is a function of what it is given: tasks and worlds are plain rows of tensors, and chance
comes in as uniform draws, so that two candidates with the same draws live through the same luck.

Shape legend: P tasks, E copies of each, S states, A actions, U draws per copy and step.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

Rows = dict[str, Tensor]
"""Tensors by name, all with P rows."""


@dataclass(frozen=True)
class TabularStep:
    """What one step brought to each copy."""

    worlds: Rows
    """Where the copies are now; those whose episode has ended have begun another."""
    reward_PE: Tensor
    """`(P, E)` float32."""
    ended_PE: Tensor
    """`(P, E)` bool: True where the step ended an episode, by the task's rule or its time limit."""


class TabularTasks(ABC):
    """A distribution of finite tasks."""

    num_states: int
    """S: of the largest task; smaller ones never visit the rest."""
    num_actions: int
    """A."""
    num_draws: int
    """U: uniform draws in [0, 1) that a copy needs per step, or to begin."""

    @abstractmethod
    def sample(self, key_P: Tensor) -> Rows:
        """One task for each key: a function of the key alone."""

    @abstractmethod
    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        """E copies of each task at the start of an episode."""

    @abstractmethod
    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        """Which state each copy is in, `(P, E)` int64 from 0 to S − 1."""

    @abstractmethod
    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        """Take an action `(P, E)` int64 in every copy."""

    def coordinates(self) -> Tensor | None:
        """Where each state lies, `(S, C)` float32 in [−1, 1]; None: states are names alone."""
        return None

    @abstractmethod
    def optimal_return(self, tasks: Rows) -> Tensor:
        """The exact expected undiscounted return of an optimal policy over one episode, `(P,)`
        float64, by dynamic programming.
        """
