"""Where an agent is in its life, and how that is shown to a learned objective.

Shape legend: P agents (or none), F time features.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

TimeFeatures = Literal["none", "raw", "fraction", "fraction-log", "remaining"]
TIME_FEATURES: tuple[TimeFeatures, ...] = get_args(TimeFeatures)


@dataclass(frozen=True)
class Lifetime:
    """n of N updates are done; an agent about to make its last update has n = N − 1."""

    updates: Tensor
    """n, `(P,)` or a scalar, int64."""
    total: Tensor
    """N, at least 1, of the same shape."""

    @property
    def fraction(self) -> Tensor:
        """n/N in [0, 1), float32."""
        return self.updates.to(torch.float32) / self.total.to(torch.float32)

    def features(self, kind: TimeFeatures) -> Tensor:
        """`(P, F)` float32; F is `num_time_features(kind)`.

        - none: nothing;
        - raw: n, N (what the public code of Jackson et al. 2024 feeds);
        - fraction: n/N;
        - fraction-log: n/N, log N (their paper's eq. 9);
        - remaining: log(N − n).
        """
        n, total = self.updates.to(torch.float32), self.total.to(torch.float32)
        columns: dict[TimeFeatures, list[Tensor]] = {
            "none": [],
            "raw": [n, total],
            "fraction": [n / total],
            "fraction-log": [n / total, total.log()],
            "remaining": [(total - n).log()],
        }
        chosen = columns[kind]
        return torch.stack(chosen, dim=-1) if chosen else n.new_zeros(*n.shape, 0)


def num_time_features(kind: TimeFeatures) -> int:
    """How many features a kind has."""
    one = torch.ones((), dtype=torch.int64)
    return Lifetime(one, one).features(kind).shape[-1]
