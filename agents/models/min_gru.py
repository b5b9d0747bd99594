"""minGRU (Feng et al. 2024): a GRU whose gate and candidate look at the input alone.

    h = (1 − z) ⊙ h₋₁ + z ⊙ g    z = σ(gate of x)    g = candidate of x

With nothing of h₋₁ inside z and g, those of all steps are formed at once and the recurrence is
diagonal. A layer therefore cannot decide by what it remembers; the next one can, so there are
several, each a pre-norm residual block. The candidate is linear, as in the paper's basic form (its
positive one serves sums of logarithms, which a recurrence walked step by step does not need).

Shape legend: T time, B worlds, D input features, W width of the residual stream and of each
layer's memory, R either (B) or (T, B).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from quickstudy.agents.layers import linear
from quickstudy.agents.scan import diag_scan
from quickstudy.agents.sequence_model import SequenceModel, State, blank_where


@dataclass(frozen=True)
class MinGRUConfig:
    """Size of a minGRU; by default it has as many parameters as the default GRU."""

    hidden_size: int = 105
    """Features of the residual stream, and units of each layer's memory."""
    layers: int = 2
    """Blocks."""

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "MinGRU":
        return MinGRU(self, input_size, generator, horizon)


class MinGRU(SequenceModel):
    """Blocks over a residual stream; the state is each block's h."""

    def __init__(
        self, config: MinGRUConfig, input_size: int, generator: torch.Generator, horizon: int
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = config.hidden_size
        self.embedding = linear(input_size, config.hidden_size, generator, gain=1.0)
        blocks = [_Block(config.hidden_size, generator, horizon) for _ in range(config.layers)]
        # A module list, for its parameters; for the type checker, what it holds.
        self.blocks = cast("Sequence[_Block]", nn.ModuleList(blocks))
        self.norm = nn.LayerNorm(config.hidden_size)

    def initial_state(self, batch: int) -> State:
        device = self.embedding.weight.device
        return tuple(torch.zeros(batch, self.output_size, device=device) for _ in self.blocks)

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        x_BW, after = self.embedding(x_BD), []
        for block, h_BW in zip(self.blocks, blank_where(reset_B, state), strict=True):
            z_BW, written_BW = block.write(x_BW)
            after.append((1 - z_BW) * h_BW + written_BW)
            x_BW = x_BW + block.output(after[-1])
        return self.norm(x_BW), tuple(after)

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        x_TBW, after = self.embedding(x_TBD), []
        for block, h_BW in zip(self.blocks, state, strict=True):
            z_TBW, written_TBW = block.write(x_TBW)
            h_TBW = diag_scan(1 - z_TBW, written_TBW, h_BW, reset_TB)
            after.append(h_TBW[-1])
            x_TBW = x_TBW + block.output(h_TBW)
        return self.norm(x_TBW), tuple(after)


class _Block(nn.Module):
    """What a layer writes into its memory, and how its memory is read into the stream."""

    def __init__(self, width: int, generator: torch.Generator, horizon: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = linear(width, width, generator, gain=1.0)
        self.candidate = linear(width, width, generator, gain=1.0)
        self.output = linear(width, width, generator, gain=1.0)
        # A unit with z = 1/τ remembers for τ steps: from 2 to the horizon, evenly spaced in their
        # logs (Tallec & Ollivier 2018 draw τ uniformly, which leaves few that forget fast).
        exponent_W = torch.linspace(0, 1, width)
        with torch.no_grad():
            self.gate.bias.copy_(-torch.log(float(max(horizon - 1, 1)) ** exponent_W))

    def write(self, x_RW: Tensor) -> tuple[Tensor, Tensor]:
        """The share z of the memory that is replaced, and z ⊙ g, what is written there."""
        normal_RW = self.norm(x_RW)
        z_RW = self.gate(normal_RW).sigmoid()
        return z_RW, z_RW * self.candidate(normal_RW)
