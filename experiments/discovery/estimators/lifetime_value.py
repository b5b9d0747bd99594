"""A critic of lives: what an agent will have come to at the end, seen from where it is now.

A gradient through K updates sees what the policy earns K updates later. The critic looks beyond:
from x = n/N and the present score s it predicts the final score,

    v(x, s) = s + Σ_k x^k (a_k + b_k s),    k = 0, 1, 2        (a = b = 0 at first)

and ∂v/∂s says how much of what a window gains is left at the end of life. It learns by
least-squares temporal differences with traces, LSTD(1) (Boyan 2002, Machine Learning 49), over
windows: v of a window's start should be v of its end, and s itself at the end of life; what was
seen long ago, under other rules, fades. Scores are means of a few episodes, and noise in s draws
∂v/∂s towards 0: with traces, by the share of noise in the variance of s; without, by that share
again in every window that follows.
The public baseline of Jackson et al. (2024) trains a copy of its critic and throws it away; a test
here sees that this one comes to know the truth.

Shape legend: P agents, F features.
"""

from typing import Any

import torch
from torch import Tensor

from quickstudy.experiments.discovery.estimators.shaping import sound

_POWERS = 3
"""Of n/N, from 0 on."""
NUM_FEATURES = 2 * _POWERS
"""F."""
_FADING = 0.98
"""How much of what was seen counts a generation later."""
_RIDGE = 1e-3
"""Of each feature's own mean square, so that the unit of scores does not matter."""


class LifetimeValue:
    """Coefficients, and the sums that they are solved from."""

    def __init__(self) -> None:
        self.coefficients_F = torch.zeros(NUM_FEATURES, dtype=torch.float64)
        self._a_FF = torch.zeros(NUM_FEATURES, NUM_FEATURES, dtype=torch.float64)
        self._b_F = torch.zeros(NUM_FEATURES, dtype=torch.float64)
        self._square_F = torch.zeros(NUM_FEATURES, dtype=torch.float64)

    def train(
        self,
        before: tuple[Tensor, Tensor],
        now: tuple[Tensor, Tensor],
        over_P: Tensor,
        trace_PF: Tensor,
    ) -> float:
        """Take in windows; returns the mean squared temporal difference before.

        Args:
            before: n/N and score at the windows' starts, `(P,)` each.
            now: the same at their ends.
            over_P: True where that is the end of life.
            trace_PF: the sum of `features` at the starts of all of a life's windows so far.
        """
        sound_P = sound(before[1]) & sound(now[1]) & sound(trace_PF).all(dim=1)
        if not bool(sound_P.any()):
            return float("nan")
        start_PF, trace_PF = features(*before)[sound_P], trace_PF[sound_P]
        end_PF = features(*now).where(~over_P[:, None], 0.0)[sound_P]
        gain_P = (now[1] - before[1])[sound_P]
        error_P = torch.mv(start_PF - end_PF, self.coefficients_F) - gain_P
        self._a_FF = _FADING * self._a_FF + trace_PF.T @ (start_PF - end_PF)
        self._b_F = _FADING * self._b_F + trace_PF.T @ gain_P
        self._square_F = _FADING * self._square_F + start_PF.square().sum(dim=0)
        a_FF = self._a_FF + torch.diag(_RIDGE * self._square_F)
        solved = torch.linalg.lstsq(a_FF, self._b_F.unsqueeze(1), driver="gelsd")
        self.coefficients_F = solved.solution[:, 0]
        return float(error_P.square().mean())

    def state_dict(self) -> dict[str, Any]:
        return {
            "coefficients": self.coefficients_F,
            "a": self._a_FF,
            "b": self._b_F,
            "square": self._square_F,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.coefficients_F = state["coefficients"]
        self._a_FF, self._b_F, self._square_F = state["a"], state["b"], state["square"]


def predict(coefficients_F: Tensor, fraction_P: Tensor, score_P: Tensor) -> Tensor:
    """The final scores expected of agents at n/N with these scores, `(P,)` float64."""
    return score_P + torch.mv(features(fraction_P, score_P), coefficients_F)


def slope(coefficients_F: Tensor, fraction_P: Tensor) -> Tensor:
    """∂v/∂s, `(P,)` float64: how much of a gain now is left at the end of life."""
    return 1.0 + torch.mv(_powers(fraction_P), coefficients_F[_POWERS:])


def features(fraction_P: Tensor, score_P: Tensor) -> Tensor:
    """`(P, F)`: powers of n/N, then the same times the score."""
    power_PK = _powers(fraction_P)
    return torch.cat([power_PK, power_PK * score_P.double().unsqueeze(1)], dim=1)


def _powers(fraction_P: Tensor) -> Tensor:
    return fraction_P.double().unsqueeze(1) ** torch.arange(_POWERS)
