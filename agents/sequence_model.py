"""The contract of every memory.

State is an explicit tuple of batch-first tensors, all zeros when blank; a reset is an input, taken
before the step's `x` is read; nothing is hidden in the module.

Shape legend: T time, B worlds, D features.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""A memory's content: tensors `(B, ...)`, zeros when blank."""


class SequenceModel(nn.Module, ABC):
    """Maps a sequence of features to a sequence of features, through a memory.

    Where gradients are off, `step` may write into the memory it is given and return it (a cache of
    keys and values is too large to copy at each step): keep a clone of what is needed again.
    """

    wiped_each_episode: ClassVar[bool] = False
    """Whether an agent resets it at each episode's start, and not only at each trial's."""

    input_size: int
    output_size: int
    span: int | None = None
    """Inputs since the last reset that an output can depend on, at most; None: all of them."""
    peeks: bool = True
    """True where a step may look at a tensor's value to spare itself work; False where each look
    would wait for the device, and a captured graph could not hold it."""

    def slow_parameters(self) -> list[nn.Parameter]:
        """Parameters that learn at a fraction of the learning rate (see `LearnerConfig`)."""
        return []

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The blank memory of `batch` worlds: zeros."""

    def step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one input.

        Args:
            x_BD: `(B, input_size)`.
            reset_B: bool; where True the memory is blank before `x` is read.
            state: the memory after the previous input.

        Returns:
            The output `(B, output_size)` and the memory after this input.

        Raises:
            ValueError: naming the tensor whose shape or type is wrong.
        """
        self._check("x_BD", x_BD, (len(x_BD), self.input_size), reset_B, state)
        return self._step(x_BD, reset_B, state)

    def scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        """Read T inputs: equal to T steps, in values and gradients.

        Raises:
            ValueError: naming the tensor whose shape or type is wrong.
        """
        self._check("x_TBD", x_TBD, (*x_TBD.shape[:2], self.input_size), reset_TB, state)
        return self._scan(x_TBD, reset_TB, state)

    @abstractmethod
    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        """`step`, of checked inputs."""

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        """`scan`, of checked inputs; this loop is the reference, models override it for speed."""
        outputs = []
        for x_BD, reset_B in zip(x_TBD, reset_TB, strict=True):
            y_BD, state = self._step(x_BD, reset_B, state)
            outputs.append(y_BD)
        return torch.stack(outputs), state

    def _check(
        self, name: str, x: Tensor, shape: tuple[int, ...], reset: Tensor, state: State
    ) -> None:
        if x.shape != shape or not x.is_floating_point():
            raise _mismatch(name, "float", shape, x)
        if reset.shape != shape[:-1] or reset.dtype != torch.bool:
            raise _mismatch(
                name.replace("x_", "reset_").removesuffix("D"), "bool", shape[:-1], reset
            )
        for number, rows in enumerate(state):
            if rows.ndim == 0 or len(rows) != shape[-2]:
                raise _mismatch(f"state[{number}]", rows.dtype, (shape[-2], "…"), rows)


def _mismatch(name: str, kind: object, shape: tuple[object, ...], given: Tensor) -> ValueError:
    expected = ", ".join(map(str, shape))
    return ValueError(
        f"{name} must be {kind} of shape ({expected}), got {given.dtype} of {tuple(given.shape)}."
    )


def blank_where(reset_B: Tensor, state: State) -> State:
    """The memory with the reset worlds' rows zeroed."""
    return tuple(rows.masked_fill(reset_B.view(-1, *[1] * (rows.ndim - 1)), 0) for rows in state)
