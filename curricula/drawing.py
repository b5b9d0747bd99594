"""Drawing among things of unequal chances.

Shape legend: n draws, K things.
"""

import torch
from torch import Tensor

from quickstudy.curricula.levels import Levels, joined


def pick(weight_K: Tensor, uniform_n: Tensor) -> Tensor:
    """Which thing each uniform draw falls on, int64 `(n,)`, with chances in proportion to weights.

    Weights are in any unit and not negative; where all are 0, all chances are equal.
    """
    weight_K = weight_K if weight_K.any() else torch.ones_like(weight_K)
    total_K = (weight_K / weight_K.max()).cumsum(0)
    index_n = torch.searchsorted(total_K, uniform_n * total_K[-1], right=True)
    return index_n.clamp(max=len(weight_K) - 1)


def either(is_first_n: Tensor, first: Levels, second: Levels) -> Levels:
    """Row by row the first's level where the mask is True, else the second's."""
    n = len(is_first_n)
    return joined(first, second).rows(torch.arange(n) + n * ~is_first_n)
