"""The mixtures a teacher has drawn from, one after the other, and their form in a file.

Shape legend: d dimensions, H mixtures, C Gaussians of all of them together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.curricula.teacher import Mixture


@dataclass(frozen=True)
class FittedMixture:
    """A mixture, and when levels began to be drawn from it."""

    episode: int
    """Levels observed until then."""
    mixture: Mixture


def packed(history: Sequence[FittedMixture], dim: int) -> dict[str, Tensor]:
    """The history as five tensors, whatever the numbers of Gaussians."""
    mixtures = [fitted.mixture for fitted in history]
    nothing = torch.empty(0, dim * dim, dtype=torch.float64)
    return {
        "episode_H": torch.tensor([fitted.episode for fitted in history], dtype=torch.int64),
        "count_H": torch.tensor([len(m.weight_G) for m in mixtures], dtype=torch.int64),
        "weight_C": torch.cat([nothing[:, 0], *(m.weight_G for m in mixtures)]),
        "mean_Cd": torch.cat([nothing[:, :dim], *(m.mean_Gd for m in mixtures)]),
        "covariance_Cdd": torch.cat(
            [nothing.view(0, dim, dim), *(m.covariance_Gdd for m in mixtures)]
        ),
    }


def unpacked(state: Mapping[str, Tensor]) -> list[FittedMixture]:
    """What `packed` was given."""
    count = state["count_H"].tolist()
    parts = (torch.split(state[name], count) for name in ("weight_C", "mean_Cd", "covariance_Cdd"))
    mixtures = [Mixture(*part) for part in zip(*parts, strict=True)]
    episodes = state["episode_H"].tolist()
    return [FittedMixture(e, m) for e, m in zip(episodes, mixtures, strict=True)]
