"""Scores on a common scale: where they lie between the lowest and the highest so far."""

import math
from collections.abc import Mapping

from torch import Tensor

_LARGEST = 1e300


class ScoreRange:
    """The lowest and the highest score seen.

    A student's returns may be of any scale, and a teacher compares them with distances in the unit
    cube. One score far out therefore makes all others look alike until the end: choose a signal
    that is bounded where that can happen.
    """

    def __init__(self, low: float = math.inf, high: float = -math.inf) -> None:
        """Begin with a range of [`low`, `high`]; by default with none."""
        self._low = low
        self._high = high

    def add(self, score_n: Tensor) -> None:
        """Widen the range by these scores."""
        if len(score_n):
            self._low = min(self._low, float(score_n.min()))
            self._high = max(self._high, float(score_n.max()))

    def unit(self, score_n: Tensor) -> Tensor:
        """Scores as positions in the range, in [0, 1]; all 0 while it has no width."""
        return self.share(score_n - self._low)

    def share(self, difference_n: Tensor) -> Tensor:
        """Differences of scores as parts of the range; all 0 while it has no width."""
        width = self._high - self._low
        return difference_n / width if width > 0 else difference_n * 0.0

    def state_dict(self) -> dict[str, float]:
        return {"low": self._low, "high": self._high}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self._low, self._high = state["low"], state["high"]


def require_score_range(ends: tuple[float, ...]) -> None:
    """Raise `ValueError` unless these are none, or a lower and a higher number."""
    if ends and not (len(ends) == 2 and ends[0] < ends[1]):
        raise ValueError(f"score_range must be two rising numbers or none, got {ends!r}.")


def bounded(score_n: Tensor) -> Tensor:
    """Finite scores, cut where the difference of two would not be finite."""
    return score_n.clamp(-_LARGEST, _LARGEST)
