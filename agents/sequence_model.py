"""The contract of every memory.

State is an explicit tuple of batch-first tensors, all zeros when blank; a reset is an input, taken
before the step's `x` is read; nothing is hidden in the module.

Shape legend: T time, B worlds, D features.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""A memory's content: tensors `(B, ...)`, zeros when blank."""


class SequenceModel(nn.Module, ABC):
    """Maps a sequence of features to a sequence of features, through a memory."""

    input_size: int
    output_size: int

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The blank memory of `batch` worlds: zeros."""

    @abstractmethod
    def step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one input.

        Args:
            x_BD: `(B, input_size)`.
            reset_B: bool; where True the memory is blank before `x` is read.
            state: the memory after the previous input.

        Returns:
            The output `(B, output_size)` and the memory after this input.
        """

    def scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        """Read T inputs: equal to T steps, in values and gradients.

        This loop is the reference; models override it for speed.
        """
        outputs = []
        for x_BD, reset_B in zip(x_TBD, reset_TB, strict=True):
            y_BD, state = self.step(x_BD, reset_B, state)
            outputs.append(y_BD)
        return torch.stack(outputs), state


def blank_where(reset_B: Tensor, state: State) -> State:
    """The memory with the reset worlds' rows zeroed."""
    return tuple(rows.masked_fill(reset_B.view(-1, *[1] * (rows.ndim - 1)), 0.0) for rows in state)
