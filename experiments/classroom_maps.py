"""Maps of a past student's curriculum.

Shape legend: n episodes, d dimensions of the space that was taught in.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.history import History
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.tasks import BoxTasks, Parameter, TaskSpace
from quickstudy.experiments.curriculum_log import Gaussians, Lesson
from quickstudy.experiments.curriculum_maps import PICTURES_PER_SECOND, curriculum_pictures
from quickstudy.experiments.video import gif_bytes

LESSONS = 40
"""Parts that a history is cut into: two for each picture."""


def draw_student(room: Classroom, name: str, path: Path) -> None:
    """Draw what a student practised, and how it went, into an animated GIF.

    Raises:
        ValueError: where matplotlib is missing, or the student's file is damaged.
        FileNotFoundError: if there is no such student.
    """
    record = room.student(name)
    space = _space(room.space, record.history.point_nd.shape[1])
    title = f"{name}, {record.student['kind']} under {record.teacher['kind']}"
    pictures = curriculum_pictures(lessons(record.history, space), space, title, unit="episodes")
    path.write_bytes(gif_bytes(pictures, PICTURES_PER_SECOND))


def lessons(history: History, space: TaskSpace) -> list[Lesson]:
    """A history in parts of equal length, each with the Gaussians that were in force at its end."""
    point_nd = history.point_nd.double()
    if space.seeded:
        point_nd = torch.cat([point_nd, torch.zeros(len(point_nd), 1)], dim=1)
    task_nD = space.from_unit("train", point_nd).numpy()
    score_n = history.score_n.double().numpy()
    ends = np.linspace(0, len(task_nD), LESSONS + 1).astype(int)[1:]
    starts = [0, *ends[:-1]]
    return [
        Lesson(int(end), task_nD[start:end], score_n[start:end], _in_force(history.fits, int(end)))
        for start, end in zip(starts, ends, strict=True)
        if end > start
    ]


def _in_force(fits: list[FittedMixture], episode: int) -> Gaussians | None:
    """The last mixture fitted by then."""
    known = [fit.mixture for fit in fits if fit.episode <= episode]
    if not known:
        return None
    last = known[-1]
    return Gaussians(last.weight_G.numpy(), last.mean_Gd.numpy(), last.covariance_Gdd.numpy())


def _space(described: dict[str, Any], dim: int) -> TaskSpace:
    """The tasks behind the teacher's points: the family's, or the unit cube itself."""
    if described["name"] in FAMILIES:
        return family_class(described["name"]).task_space
    return UnitTasks(dim)


class UnitTasks(BoxTasks):
    """The unit cube, all of it to be trained on."""

    def __init__(self, dim: int) -> None:
        super().__init__(*(Parameter(f"x{i}", 0.0, 1.0, "1") for i in range(1, dim + 1)))

    def from_unit(self, split: str, u_ND: torch.Tensor) -> torch.Tensor:
        return u_ND
