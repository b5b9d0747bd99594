"""Running means and variances, one of each agent's: `RunningMoments` with a row per agent.

Shape legend: P agents, B rows of each, F features.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.agents.normalization import CLIP, EPSILON
from quickstudy.envs.nested_state import nested, part


@dataclass(frozen=True)
class StackedMoments:
    """Of everything that each agent has seen; never changed in place."""

    mean_PF: Tensor
    """Float64."""
    var_PF: Tensor
    """Float64."""
    count_P: Tensor
    """Float64: how many rows went in."""

    @classmethod
    def blank(cls, num_agents: int, size: int) -> Self:
        """Mean 0 and variance 1, of nothing."""
        mean_PF = torch.zeros(num_agents, size, dtype=torch.float64)
        return cls(mean_PF, torch.ones_like(mean_PF), mean_PF[:, 0].clone())

    @classmethod
    def of(cls, rows: Rows, name: str) -> Self:
        """What `rows` put in under this name."""
        own = part(name, rows)
        return cls(own["mean"], own["var"], own["count"])

    def rows(self, name: str) -> Rows:
        """As rows of a population."""
        return nested(name, {"mean": self.mean_PF, "var": self.var_PF, "count": self.count_P})

    def merged(self, rows_PBF: Tensor) -> Self:
        """With B more rows of every agent (Chan et al. 1979)."""
        var_PF, mean_PF = torch.var_mean(rows_PBF.to(torch.float64), dim=1, correction=0)
        total_P = self.count_P + rows_PBF.shape[1]
        share_P1 = (rows_PBF.shape[1] / total_P).unsqueeze(1)
        delta_PF = mean_PF - self.mean_PF
        between_PF = share_P1 * (1 - share_P1) * delta_PF.square()
        return type(self)(
            self.mean_PF + share_P1 * delta_PF,
            (1 - share_P1) * self.var_PF + share_P1 * var_PF + between_PF,
            total_P,
        )

    def normalized(self, rows_PBF: Tensor) -> Tensor:
        """Zero mean and unit variance, clipped to ±10; float32 `(P, B, F)`."""
        centred_PBF = rows_PBF - self.mean_PF.to(torch.float32).unsqueeze(1)
        return (centred_PBF * self._scale).clamp(-CLIP, CLIP)

    def scaled(self, rows_PBF: Tensor) -> Tensor:
        """Divided by the standard deviation; the mean stays. Float32 `(P, B, F)`."""
        return rows_PBF * self._scale

    @property
    def _scale(self) -> Tensor:
        """`(P, 1, F)`."""
        return (self.var_PF + EPSILON).rsqrt().to(torch.float32).unsqueeze(1)
