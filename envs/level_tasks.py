"""Levels: tasks of a few real parameters and a seed that decides their details.

Shape legend: N worlds (or tasks), D task parameters, the seed among them.
"""

import torch
from torch import Tensor

from quickstudy.envs.tasks import BoxTasks, Parameter

SEEDS = 2**32
"""Seeds are the integers from 0 below this."""

_SEED_BOUNDS = (0.0, SEEDS - 1.0)


class LevelTasks(BoxTasks):
    """A box of real parameters, and last an integer `seed`: both together are a level, exactly.

    Splits are those of the box: what is held out are cells of its first parameter, under any seed.
    """

    seeded = True

    def __init__(self, *parameters: Parameter, ood: tuple[tuple[float, float], ...] = ()) -> None:
        """`parameters` and `ood` are those of `BoxTasks`, without the seed."""
        seed = Parameter("seed", *_SEED_BOUNDS, "1")
        super().__init__(*parameters, seed, ood=(*ood, _SEED_BOUNDS) if ood else ())

    def check_range(self, task_ND: Tensor) -> None:
        """As in `TaskSpace`; a seed must be an integer, too."""
        super().check_range(task_ND)
        seed_N = task_ND[:, -1].nan_to_num()
        fractional_n = seed_N[seed_N != seed_N.floor()]
        if len(fractional_n):
            raise ValueError(f"task has seed = {fractional_n[0]:.17g}, which is not an integer.")

    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        seed_N1 = torch.floor(u_ND[:, -1:] * SEEDS)
        return torch.cat([super()._draw(split, u_ND)[:, :-1], seed_N1], dim=1)
