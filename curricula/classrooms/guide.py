"""Walking along a past student's curriculum: when to leave one mixture for the next, and the end.

Portelas et al. 2020 (arXiv 2011.08463, section 4); constants as in the authors' code
(`flowersteam/meta-acl`, `again.py`).

Shape legend: G Gaussians of the present mixture.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from quickstudy.curricula.classrooms.niches import Step, pooled

Variant = Literal["R", "T", "P"]
"""The next mixture comes: R, when scores are as good as the past student's; T, every so many
episodes; P, never, as all niches are one mixture (a pool)."""

REFRESH = 100
"""At the end, progress is measured anew every so many episodes, over the last 100 per Gaussian."""


class Guide:
    """The present mixture of a curriculum, whose weights are mean progress.

    An episode is the guide's if its level was drawn from the present mixture. Where `fades`, the
    last mixture of R and T is kept up to date: every 100 of its episodes, each Gaussian's weight
    becomes the mean progress last measured in it (0 if there was none), so that what has been
    learnt dies out.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        variant: Variant,
        *,
        num_scores: int,
        tolerance: float,
        period: int,
        fades: bool,
    ) -> None:
        """Stand at the first of `steps`.

        Args:
            steps: at least one.
            variant: R, T or P.
            num_scores: R compares the mean of so many scores
            tolerance: with so many times the past student's.
            period: T's episodes per step.
            fades: whether the last mixture is measured anew.
        """
        self._steps = [pooled(steps)] if variant == "P" else list(steps)
        self._variant = variant
        self._tolerance, self._period = tolerance, period
        self._fades = fades and variant != "P"
        self._scores: deque[float] = deque(maxlen=num_scores)
        self.mixture = self._steps[0].mixture
        self.index = -1
        self._stand_at(0)

    @property
    def at_end(self) -> bool:
        """Whether the last mixture is being measured anew."""
        return self._fades and self.index == len(self._steps) - 1

    def tell(self, gaussian: int, score: float, progress: float) -> None:
        """One of the guide's episodes: which Gaussian its level was from, and how it went."""
        if self.at_end:
            self._measure(gaussian, progress)
        elif self._variant == "R":
            self._scores.append(score)
            self._climb()

    def clock(self, episodes: int) -> None:
        """So many episodes have been played since the student's first."""
        if self._variant == "T":
            self._stand_at(min(episodes // self._period, len(self._steps) - 1))

    def state_dict(self) -> dict[str, Any]:
        """All but the curriculum itself."""
        return {
            "index": self.index,
            "scores": list(self._scores),
            "progress": [list(window) for window in self._progress],
            "measured": self._measured,
            "weight_G": self.mixture.weight_G,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, in a guide built alike."""
        self._stand_at(state["index"])
        self._scores.extend(state["scores"])
        for window, progress in zip(self._progress, state["progress"], strict=True):
            window.extend(progress)
        self._measured = state["measured"]
        self.mixture = replace(self.mixture, weight_G=state["weight_G"])

    def _stand_at(self, index: int) -> None:
        if index == self.index:
            return
        self.index = index
        self.mixture = self._steps[index].mixture
        self._scores.clear()
        count = len(self.mixture.weight_G)
        self._progress: list[deque[float]] = [deque(maxlen=REFRESH) for _ in range(count)]
        self._measured = 0

    def _climb(self) -> None:
        full = len(self._scores) == self._scores.maxlen
        goal = self._tolerance * self._steps[self.index].threshold
        if full and sum(self._scores) / len(self._scores) >= goal:
            self._stand_at(min(self.index + 1, len(self._steps) - 1))

    def _measure(self, gaussian: int, progress: float) -> None:
        self._progress[gaussian].append(progress)
        self._measured += 1
        if self._measured % REFRESH == 0:
            means = [sum(window) / max(len(window), 1) for window in self._progress]
            weight_G = torch.tensor(means, dtype=torch.float64)
            self.mixture = replace(self.mixture, weight_G=weight_G)
