"""What a curriculum did, update by update: a run's `curriculum.jsonl`.

Shape legend: n trials, D task parameters, G Gaussians, d dimensions of the teacher's space.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.curricula.teacher import Mixture
from quickstudy.experiments.run_folder import MetricsLog


@dataclass(frozen=True)
class Gaussians:
    """A mixture over the unit cube, as arrays."""

    weight_G: NDArray[np.float64]
    mean_Gd: NDArray[np.float64]
    covariance_Gdd: NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """What one update's trials were, and what the teacher was told of them."""

    frames: int
    task_nD: NDArray[np.float64]
    score_n: NDArray[np.float64]
    """NaN where a score was not finite."""
    gaussians: Gaussians | None


def append_lesson(
    log: MetricsLog, update: int, frames: int, task_nD: Tensor, score_n: Tensor, mix: Mixture | None
) -> None:
    """Add an update's trials to the log."""
    row = {"tasks": task_nD.tolist(), "scores": score_n.tolist()}
    if mix is not None:
        row |= {
            "weight": mix.weight_G.tolist(),
            "mean": mix.mean_Gd.tolist(),
            "covariance": mix.covariance_Gdd.tolist(),
        }
    log.append(update, frames, row)


def read_lessons(log: MetricsLog) -> list[Lesson]:
    """All updates in which some trial ended, oldest first."""
    return [_lesson(row) for row in log.rows() if row["tasks"]]


def _lesson(row: dict[str, Any]) -> Lesson:
    arrays = [np.array(row.get(name, []), np.float64) for name in ("weight", "mean", "covariance")]
    return Lesson(
        row["frames"],
        np.array(row["tasks"], np.float64),
        np.array(row["scores"], np.float64),
        Gaussians(*arrays) if len(arrays[0]) else None,
    )
