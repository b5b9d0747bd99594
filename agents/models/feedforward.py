"""No memory at all: the Markov baseline and the body of the task oracle."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.layers import linear, tanh
from quickstudy.agents.sequence_model import SequenceModel, State


@dataclass(frozen=True)
class FeedforwardConfig:
    """Size of the memory-less model."""

    hidden_size: int = 128
    """Hidden units."""

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "Feedforward":
        del horizon  # unused: there is no memory to size
        return Feedforward(input_size, self.hidden_size, generator)


class Feedforward(SequenceModel):
    """One tanh layer per step; its state is the empty tuple."""

    def __init__(self, input_size: int, hidden_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = hidden_size
        self.layer = linear(input_size, hidden_size, generator)

    def initial_state(self, batch: int) -> State:
        del batch  # unused: there is nothing to remember
        return ()

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        del reset_B  # unused: there is nothing to forget
        return tanh(self.layer(x_BD)), state

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        return self._step(x_TBD, reset_TB, state)
