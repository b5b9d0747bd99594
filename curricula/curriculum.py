"""Where a teacher and the trials meet: levels become tasks, finished trials become scores.

Shape legend: N worlds, M trials planned per world, n finished trials, D task parameters,
d dimensions of the teacher's space, T steps.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from quickstudy.curricula.levels import Levels, blank_levels
from quickstudy.curricula.teacher import Teacher
from quickstudy.envs.level_tasks import SEEDS
from quickstudy.envs.tasks import TaskSpace

TRIALS_AHEAD = 8
"""Trials planned per world, the present one among them; a world that ends more before the next plan
(episodes can end early) plays its plan again."""

EDGE = 1e-9
LEVEL_PARTS = ("points", "seeds", "practise")


def teaching_dim(space: TaskSpace) -> int:
    """d: the parameters that a teacher chooses; a seed it only draws."""
    return space.dim - 1 if space.seeded else space.dim


def level_tasks(space: TaskSpace, split: str, levels: Levels) -> Tensor:
    """The levels as tasks of a split, float64 `(n, D)`."""
    # Off the edges, where rounding would decide which split a task is of.
    point_nD = levels.points.clamp(EDGE, 1.0 - EDGE)
    if space.seeded:
        seed_n1 = levels.seeds.unsqueeze(1) / SEEDS
        point_nD = torch.cat([point_nD, seed_n1], dim=1)
    return space.from_unit(split, point_nD)


def exam_tasks(space: TaskSpace, point_Pd: Tensor) -> Tensor:
    """The train tasks at these points, `(P, D)`, each under a seed that is always the same."""
    seed_P = torch.arange(len(point_Pd)) * 2654435761 % SEEDS  # scattered
    practise_P = torch.zeros(len(point_Pd), dtype=torch.bool)
    return level_tasks(space, "train", Levels(point_Pd, seed_P, practise_P))


class PlannedTasks:
    """A `TaskSource`: trial t of a world plays slot t mod M of the world's plan.

    A task that switches within a trial switches to the next slot's. There is nothing here but
    tensors that stay where they are, so a captured graph can read a new plan.
    """

    def __init__(self, num_worlds: int, task_dim: int, device: torch.device | str) -> None:
        shape = (num_worlds, TRIALS_AHEAD, task_dim)
        self._task_NMD = torch.zeros(shape, dtype=torch.float64, device=device)
        self._world_N = torch.arange(num_worlds, device=device)

    def tasks(self, key_N: Tensor, trial_N: Tensor, switched_N: Tensor) -> Tensor:
        del key_N  # unused: the teacher has its own
        return self._task_NMD[self._world_N, (trial_N + switched_N) % TRIALS_AHEAD]

    def put(self, task_mD: Tensor) -> None:
        """The tasks of a new plan, world by world."""
        self._task_NMD.copy_(task_mD.view(self._task_NMD.shape))


class Curriculum:
    """Follows a teacher: plan, play, observe, plan again.

    A new plan leaves the slot of the trial that is being played.
    """

    def __init__(
        self,
        teacher: Teacher,
        space: TaskSpace,
        num_worlds: int,
        *,
        split: str = "train",
        device: torch.device | str = "cpu",
    ) -> None:
        """Make the first plan; nothing but the tasks themselves is kept on `device`."""
        space.check_split(split)
        assert teacher.dim == teaching_dim(space), "the teacher is for a space of another dimension"
        self.teacher = teacher
        self._space, self._split = space, split
        self.source = PlannedTasks(num_worlds, space.dim, device)
        """Where a `TrialEnv` gets its tasks."""
        self._ended_N = torch.zeros(num_worlds, dtype=torch.int64)  # trials observed so far
        self._levels = blank_levels(num_worlds * TRIALS_AHEAD, teacher.dim)
        self._plan(first=0)

    def levels(self, world_n: Tensor) -> Levels:
        """What trials played that ended since the last plan, given their worlds in that order."""
        return self._levels.rows(self._index(world_n, self._ended_N[world_n] + _rank(world_n)))

    def practise(self, trial_end_TN: Tensor) -> Tensor | None:
        """Where the student may learn, bool `(T, N)`, of the steps since the last plan.

        None where it may learn from all of them.
        """
        if self._levels.practise.all():
            return None
        ends_TN = trial_end_TN.cpu().long()
        trial_TN = self._ended_N + ends_TN.cumsum(0) - ends_TN
        world_TN = torch.arange(ends_TN.shape[1]).expand_as(ends_TN)
        return self._levels.practise[self._index(world_TN, trial_TN)].to(trial_end_TN.device)

    def observe(self, world_n: Tensor, score_n: Tensor) -> dict[str, float]:
        """Tell the teacher how the trials went that ended since the last plan, and plan anew.

        Args:
            world_n: int64 `(n,)`, in the order in which the trials ended.
            score_n: `(n,)`; a score that is not finite is kept from the teacher, and counted.

        Returns:
            The teacher's figures, the mean score, and how many scores were not finite.
        """
        finite_n = score_n.isfinite()
        score_n = score_n.to(torch.float64)
        figures = self.teacher.observe(self.levels(world_n).rows(finite_n), score_n[finite_n])
        self._ended_N += torch.bincount(world_n, minlength=len(self._ended_N))
        self._plan(first=1)
        return figures | {
            "mean_score": float(score_n[finite_n].mean()),
            "lost_scores": float((~finite_n).sum()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that later trials depend on."""
        levels = {name: getattr(self._levels, name).clone() for name in LEVEL_PARTS}
        return levels | {"ended": self._ended_N.clone(), "teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the state is on the CPU whatever the device."""
        self._levels = Levels(*(state[name].clone() for name in LEVEL_PARTS))
        self._ended_N = state["ended"].clone()
        self.teacher.load_state_dict(state["teacher"])
        self._publish()

    def _index(self, world: Tensor, trial: Tensor) -> Tensor:
        return world * TRIALS_AHEAD + trial % TRIALS_AHEAD

    def _plan(self, *, first: int) -> None:
        """New levels for every world's trials from this one on, counted from the present one.

        The teacher's first proposals are all worlds' next trials, and so on.
        """
        ahead_m1 = torch.arange(first, TRIALS_AHEAD).unsqueeze(1)
        world_N = torch.arange(len(self._ended_N))
        index = self._index(world_N, self._ended_N + ahead_m1).flatten()
        new = self.teacher.propose(len(index))
        for name in LEVEL_PARTS:
            getattr(self._levels, name)[index] = getattr(new, name)
        self._publish()

    def _publish(self) -> None:
        self.source.put(level_tasks(self._space, self._split, self._levels))


def _rank(world_n: Tensor) -> Tensor:
    """How often each world stands earlier in the list, `(n,)`."""
    order_n = torch.argsort(world_n, stable=True)
    sorted_n = world_n[order_n]
    rank_n = torch.arange(len(world_n)) - torch.searchsorted(sorted_n, sorted_n)
    return torch.empty_like(rank_n).scatter(0, order_n, rank_n)
