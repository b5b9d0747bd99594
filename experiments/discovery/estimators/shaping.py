"""Fitness shaping: what lives came to, made into what a gradient is computed from.

A score that is not finite (of a rule that made its agent blow up) counts as the worst, and so does
one too large to be anything else.

Shape legend: p antithetic pairs; the 2 rows are the one and the other of each.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from quickstudy.envs.errors import unknown

Shaping = Literal["pairwise", "centred-ranks", "raw"]
SHAPINGS: tuple[Shaping, ...] = get_args(Shaping)

_LARGEST = 1e15
"""Of sound scores and gradients: the squares of larger ones do not fit the optimiser's float32."""


def sound(x: Tensor) -> Tensor:
    """True where a number is finite and not beyond all measure."""
    return x.abs() < _LARGEST


def pairwise(score_2p: Tensor) -> Tensor:
    """1 for the winner of a pair and 0 for the loser, or for both of a draw.

    Jackson et al. (2024, eq. 12): no scores of different tasks are compared. Both of a pair that
    broke are losers.
    """
    score_2p = _broken_below_all(score_2p)
    return (score_2p > score_2p.flip(0)).double()


def centred_ranks(score_2p: Tensor) -> Tensor:
    """Ranks among all, from −0.5 (worst) to 0.5; equals share theirs (Salimans et al. 2017)."""
    rank_2p = ranks(score_2p)
    return (rank_2p - 1.0) / (rank_2p.numel() - 1) - 0.5


def raw(score_2p: Tensor) -> Tensor:
    """The scores themselves; broken ones count as the worst of those that are not (or as 0)."""
    sound_2p = sound(score_2p)
    worst = score_2p[sound_2p].min() if bool(sound_2p.any()) else score_2p.new_zeros(())
    return score_2p.where(sound_2p, worst)


def ranks(score_2p: Tensor) -> Tensor:
    """Ranks among all, from 1 (worst), float64; equals share the mean of theirs."""
    score_2p = _broken_below_all(score_2p).double()
    sorted_n = score_2p.flatten().sort().values
    lower_2p = torch.searchsorted(sorted_n, score_2p)
    not_higher_2p = torch.searchsorted(sorted_n, score_2p, right=True)
    return 0.5 * (lower_2p + not_higher_2p + 1).double()


_SHAPES: dict[Shaping, Callable[[Tensor], Tensor]] = {
    "pairwise": pairwise,
    "centred-ranks": centred_ranks,
    "raw": raw,
}


def shaped(score_2p: Tensor, shaping: Shaping) -> Tensor:
    """Scores `(2, p)` float64 shaped, `(2, p)` float64, all finite."""
    return _SHAPES[shaping](score_2p)


def require_shaping(shaping: str) -> None:
    """Raise `ValueError` unless there is such a shaping."""
    if shaping not in SHAPINGS:
        raise unknown("shaping", shaping, SHAPINGS)


def described(score: Tensor) -> dict[str, float]:
    """A population's scores in figures: `fitness` (mean of the sound ones) and how many broke."""
    whole = score[sound(score)]
    return {
        "fitness": float(whole.mean()) if len(whole) else float("nan"),
        "broken": float(score.numel() - len(whole)),
    }


def _broken_below_all(score: Tensor) -> Tensor:
    return score.where(sound(score), -torch.inf)
