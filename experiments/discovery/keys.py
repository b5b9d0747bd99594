"""Where the outer loop's chance comes from: all of it is a function of seed, purpose and counters.

Shape legend: n lives, pairs or particles.
"""

from enum import IntEnum

import torch
from torch import Tensor

from quickstudy.envs import rng


class Purpose(IntEnum):
    """Independent branches below one seed; a number, once released, keeps its meaning."""

    LIFE = 0
    """What happens to the agents that an estimate is made from."""
    PERTURBATION = 1
    """How far from the rule they are put."""
    CENTRE = 2
    """The lives that show how good the rule itself is, generation by generation."""
    CONCLUSION = 3
    """The lives that the final rule is judged by."""
    TUNING = 4
    """The lives that what a rule is compared with was tuned on."""
    EXAM = 5
    """The lives that studies compare rules on."""


def keys(seed: int, purpose: Purpose, generation: int, count: int) -> Tensor:
    """`(count,)` int64, the same whatever is drawn elsewhere; the first ones do not depend on how
    many there are.
    """
    branch = rng.fold_in(rng.root_key(seed, rng.Stream.DISCOVERY), int(purpose))
    return rng.fold_in(rng.fold_in(branch, generation), torch.arange(count))
