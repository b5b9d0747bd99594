"""Maps of a task space over time: what was practised, how well it went, where it got better.

Needs matplotlib (`pip install 'quickstudy[plots]'`).

Shape legend: n trials, d dimensions that are drawn (one or two), C cells per dimension.
"""

import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.envs.tasks import TaskSpace
from quickstudy.experiments.curriculum_log import Gaussians, Lesson
from quickstudy.experiments.plots import require_matplotlib

Array = NDArray[np.float64]

CELLS = {1: 40, 2: 20}
"""Cells per dimension."""
MAX_PICTURES = 30
PICTURES_PER_SECOND = 3.0
SHARES = "viridis"
"""The colours of shares."""
CIRCLE = np.linspace(0.0, 2.0 * np.pi, 60)


def curriculum_pictures(
    lessons: Sequence[Lesson], space: TaskSpace, title: str, *, unit: str = "frames"
) -> list[NDArray[np.uint8]]:
    """Maps of successive parts of a run, RGB `(height, width, 3)`, at most 30.

    Each shows the tasks practised in its part (how many per cell, and their mean score), where
    scores rose or fell between its halves, and the teacher's Gaussians at its end if it has any.
    Colours mean the same in all pictures. Of spaces with more than two parameters the first two
    are shown. `unit` is what the lessons' `frames` count.

    Raises:
        ValueError: where matplotlib is missing, or no trial has ended.
    """
    require_matplotlib()
    if not lessons:
        raise ValueError("no trial has ended.")
    parts = _parts(lessons)
    axes_of = _Axes(space)
    maps = [_Maps(part, axes_of) for part in parts]
    scale = _Scale(maps)
    return [
        _picture(one, axes_of, scale, f"{title}, up to {one.frames:_} {unit}".replace("_", " "))
        for one in maps
    ]


def _parts(lessons: Sequence[Lesson]) -> list[Sequence[Lesson]]:
    count = min(MAX_PICTURES, max(1, len(lessons) // 2))
    cuts = np.linspace(0, len(lessons), count + 1).astype(int)
    return [lessons[a:b] for a, b in itertools.pairwise(cuts)]


class _Axes:
    """The one or two parameters that are drawn."""

    def __init__(self, space: TaskSpace) -> None:
        chosen = space.dim - 1 if space.seeded else space.dim
        self.d = min(2, chosen)
        shown = space.parameters[: self.d]
        self.low = np.array([p.low for p in shown])
        # A parameter of zero width is drawn as a strip.
        self.width = np.array([p.high - p.low if p.high > p.low else 1.0 for p in shown])
        self.labels = [f"{p.name} ({p.unit})" for p in shown]
        more = [p.name for p in space.parameters[self.d : chosen]]
        self.note = f" (not shown: {', '.join(more)})" if more else ""
        self.cells = CELLS[self.d]
        self.extent = tuple(np.stack([self.low, self.low + self.width], axis=1).flatten())

    def cell_of(self, task_nD: Array) -> NDArray[np.intp]:
        """The flat index of each task's cell, `(n,)`."""
        unit = (task_nD[:, : self.d] - self.low) / self.width
        index = np.clip((unit * self.cells).astype(int), 0, self.cells - 1)
        cell_n: NDArray[np.intp] = np.ravel_multi_index(tuple(index.T), (self.cells,) * self.d)
        return cell_n


class _Maps:
    """What one part of a run looks like, per cell."""

    def __init__(self, lessons: Sequence[Lesson], axes: _Axes) -> None:
        task_nD = np.concatenate([lesson.task_nD for lesson in lessons])
        score_n = np.concatenate([lesson.score_n for lesson in lessons])
        self.frames = lessons[-1].frames
        self.gaussians = lessons[-1].gaussians
        cell_n, self.shape = axes.cell_of(task_nD), (axes.cells,) * axes.d
        self.density = self._sum(cell_n, np.ones(len(cell_n))) / len(cell_n)
        self.score = self._mean(cell_n, score_n)
        half = len(cell_n) // 2
        before = self._mean(cell_n[:half], score_n[:half])
        self.progress = self._mean(cell_n[half:], score_n[half:]) - before

    def _sum(self, cell_n: NDArray[np.intp], value_n: Array) -> Array:
        sums = np.bincount(cell_n, value_n, minlength=int(np.prod(self.shape)))
        return sums.astype(np.float64).reshape(self.shape)

    def _mean(self, cell_n: NDArray[np.intp], value_n: Array) -> Array:
        """NaN where there is nothing."""
        known = np.isfinite(value_n)
        count = self._sum(cell_n[known], np.ones(int(known.sum())))
        total = self._sum(cell_n[known], value_n[known])
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class _Scale:
    """The same limits for every picture of a run."""

    def __init__(self, maps: Sequence[_Maps]) -> None:
        self.density = (0.0, max(float(one.density.max()) for one in maps))
        scores = np.concatenate([one.score.flatten() for one in maps])
        self.score = _limits(scores)
        steps = np.abs(np.concatenate([one.progress.flatten() for one in maps]))
        largest = _limits(steps)[1]
        self.progress = (-largest, largest)


def _limits(values: Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _picture(one: _Maps, axes_of: _Axes, scale: _Scale, title: str) -> NDArray[np.uint8]:
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(11.0, 3.6), dpi=80, layout="constrained")
    figure.suptitle(title + axes_of.note)
    panels: list[tuple[str, Array, tuple[float, float], str]] = [
        ("share of trials practised", one.density, scale.density, SHARES),
        ("mean score", one.score, scale.score, "cividis"),
        ("change of score", one.progress, scale.progress, "RdBu"),
    ]
    draw = _draw_strip if axes_of.d == 1 else _draw_map
    for axes, (name, values, limits, colours) in zip(figure.subplots(1, 3), panels, strict=True):
        draw(figure, axes, axes_of, values, limits, colours)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(axes_of.labels[0])
    if one.gaussians is not None:
        _draw_gaussians(figure.axes[0], axes_of, one.gaussians)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.array(Image.open(buffer).convert("RGB"))


def _draw_map(
    figure: Any, axes: Any, of: _Axes, values: Array, limits: tuple[float, float], colours: str
) -> None:
    from matplotlib.colors import Normalize, PowerNorm

    axes.set_facecolor("0.85")  # what was not practised
    # Shares, which are never negative, by their roots: else a few cells outshine all others.
    norm = PowerNorm(0.5, *limits) if colours == SHARES else Normalize(*limits)
    image = axes.imshow(
        values.T,
        origin="lower",
        extent=of.extent,
        aspect="auto",
        cmap=colours,
        norm=norm,
    )
    figure.colorbar(image, ax=axes)
    axes.set_ylabel(of.labels[1])


def _draw_strip(
    figure: Any, axes: Any, of: _Axes, values: Array, limits: tuple[float, float], colours: str
) -> None:
    del figure, colours  # unused: heights say it all
    middles = of.low[0] + of.width[0] * (np.arange(of.cells) + 0.5) / of.cells
    axes.bar(middles, values, width=of.width[0] / of.cells)
    margin = 0.05 * (limits[1] - limits[0])
    axes.set_ylim(min(limits[0], 0.0) - margin, max(limits[1], 0.0) + margin)


def _draw_gaussians(axes: Any, of: _Axes, gaussians: Gaussians) -> None:
    """One standard deviation around each mean; the stronger, the likelier to be drawn from.

    They live in the unit cube: gaps that belong to another split are not seen here.
    """
    strongest = max(float(gaussians.weight_G.max()), 1e-12)
    for weight, mean_d, covariance_dd in zip(
        gaussians.weight_G, gaussians.mean_Gd, gaussians.covariance_Gdd, strict=True
    ):
        strength = 0.15 + 0.85 * float(weight) / strongest
        outline = _outline(mean_d[: of.d], covariance_dd[: of.d, : of.d])
        points = of.low + outline * of.width
        if of.d == 1:
            axes.axvspan(points.min(), points.max(), color="tab:red", alpha=0.2 * strength)
        else:
            axes.plot(*points.T, color="tab:red", alpha=strength, linewidth=1.5)
    axes.set_xlim(of.extent[0], of.extent[1])
    if of.d == 2:
        axes.set_ylim(of.extent[2], of.extent[3])


def _outline(mean_d: Array, covariance_dd: Array) -> Array:
    """Points one standard deviation from the mean, `(60, d)`."""
    values, vectors = np.linalg.eigh(covariance_dd)
    radii = np.sqrt(np.maximum(values, 0.0))
    circle = np.stack([np.cos(CIRCLE), np.sin(CIRCLE)])[: len(mean_d)]
    outline: Array = mean_d + (vectors @ (radii[:, None] * circle)).T
    return outline
