"""Parameters of a learned objective as one flat row, so that a population is a matrix.

Shape legend: P candidates, M parameters.
"""

import math

import torch
from torch import Tensor

from quickstudy.envs import rng

Shapes = dict[str, tuple[int, ...]]


class Layout:
    """Named parts of a row of M parameters."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._sizes = [math.prod(shape) for shape in shapes.values()]
        self.num_parameters = sum(self._sizes)
        """M."""

    def parts(self, row: Tensor) -> dict[str, Tensor]:
        """Views of the parts: `(P, *shape)` of a matrix `(P, M)`, `shape` of one row `(M,)`."""
        chunks = torch.split(row, self._sizes, dim=-1)
        return {
            name: chunk.reshape((*row.shape[:-1], *shape))
            for (name, shape), chunk in zip(self.shapes.items(), chunks, strict=True)
        }

    def random_row(self, seed: int) -> Tensor:
        """A first rule, `(M,)` float32: matrices drawn from N(0, 1/inputs), vectors 0."""
        key = rng.root_key(seed, rng.Stream.WEIGHTS)
        parts = [
            _first_part(rng.fold_in(key, index), shape)
            for index, shape in enumerate(self.shapes.values())
        ]
        return torch.cat(parts).to(torch.float32)


def _first_part(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 1:
        return torch.zeros(shape, dtype=torch.float64)
    return rng.normal(key, math.prod(shape)) / math.sqrt(shape[0])
