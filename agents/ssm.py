"""What structured state-space memories share: their spectra, discretisation and blocks.

Each channel p is a damped oscillation, dx/dt = λ x + b u with λ = −exp(log_decay) + i·frequency
(always stable), read once per step Δ = exp(log_step). Of conjugate pairs one is kept. Parameters
are real; complex numbers are formed where they are used, in the parameters' own precision.

Shape legend: T time, B worlds, D input features, H width, P channels kept (one of each pair).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from quickstudy.agents.layers import gated_residual, layer_norm, linear
from quickstudy.agents.sequence_model import SequenceModel, State, blank_where

# --- spectra ----------------------------------------------------------------------------------

LONGEST_STEP = 0.1
"""Largest initial Δ: with decay ½ a memory of 20 steps."""


def hippo_normal(size: int) -> tuple[Tensor, Tensor]:
    """The normal part of the HiPPO-LegS matrix, diagonalised (Gupta et al. 2022; S5, Smith 2023).

    A has −√(2n+1)√(2k+1) below its diagonal and −(n+1) on it; with p = √(n+½), S = A + p pᵀ is −½
    plus a skew-symmetric matrix, so S = V diag(λ) Vᴴ with Re λ = −½.

    Returns:
        The eigenvalues in ascending order of frequency, complex128 `(size,)`: the first half has
        negative ones, the second their conjugates; and V, `(size, size)`.
    """
    n = torch.arange(size, dtype=torch.float64)
    root = torch.sqrt(2 * n + 1)
    A = -torch.tril(torch.outer(root, root), diagonal=-1) - torch.diag(n + 1)
    p = torch.sqrt(n + 0.5)
    skew = A + torch.outer(p, p) + 0.5 * torch.eye(size, dtype=torch.float64)
    frequency, V = torch.linalg.eigh(-1j * skew)
    return torch.complex(torch.full_like(frequency, -0.5), frequency), V


Spectrum = Literal["lin", "inv", "legs"]
SPECTRA: tuple[Spectrum, ...] = get_args(Spectrum)


def s4d_spectrum(kind: Spectrum, size: int) -> Tensor:
    """The initial eigenvalues of S4D (Gu et al. 2022, "On the Parameterization", section 4).

    S4D-Lin: −½ + iπn. S4D-Inv: −½ + i (N/π)(N/(2n+1) − 1). S4D-LegS: those of HiPPO's normal part.

    Returns:
        One of each of the `size / 2` pairs, complex128.
    """
    n = torch.arange(size // 2, dtype=torch.float64)
    if kind == "legs":
        return hippo_normal(size)[0][size // 2 :]
    frequency = math.pi * n if kind == "lin" else size / math.pi * (size / (2 * n + 1) - 1)
    return torch.complex(torch.full_like(n, -0.5), frequency)


def random_log_step(channels: int, horizon: int, generator: torch.Generator) -> Tensor:
    """Log Δ, uniform from log min(1e-3, 1/horizon) to log 0.1.

    With decay ½ some channels remember 20 steps and some all of a trial (twice 1/Δ).
    """
    low, high = math.log(min(1e-3, 1 / horizon)), math.log(LONGEST_STEP)
    return low + (high - low) * torch.rand(channels, generator=generator)


# --- discretisation ---------------------------------------------------------------------------

Rule = Literal["zoh", "bilinear"]
RULES: tuple[Rule, ...] = get_args(Rule)


def eigenvalues(log_decay: Tensor, frequency: Tensor) -> Tensor:
    """λ = −exp(log_decay) + i·frequency."""
    return torch.complex(-log_decay.exp(), frequency)


def discretise(eigenvalue: Tensor, log_step: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """Gate ā and input scale s of x_t = ā x_{t−1} + s b u_t.

    Zero-order hold, exact where u is constant over a step: ā = exp(λΔ), s = (ā − 1)/λ, whose
    difference is taken by `expm1`: λΔ may be 1e-4. Bilinear: ā = (1 + λΔ/2)/(1 − λΔ/2),
    s = Δ/(1 − λΔ/2).
    """
    step = log_step.exp()
    if rule == "zoh":
        return torch.exp(eigenvalue * step), torch.expm1(eigenvalue * step) / eigenvalue
    half = 0.5 * eigenvalue * step
    return (1 + half) / (1 - half), step / (1 - half)


def reals(x: Tensor) -> Tensor:
    """Complex `(…, P)` as `(…, 2P)`, re and im side by side, as they lie in memory."""
    return torch.view_as_real(x).flatten(-2)


def complexes(rows: Tensor) -> Tensor:
    """`(…, 2P)`, re and im side by side, as complex `(…, P)`."""
    return torch.view_as_complex(rows.view(*rows.shape[:-1], -1, 2))


# --- layers -----------------------------------------------------------------------------------


class _Kept:
    """What a recurrence is made of, at addresses that stay: a captured graph reads them there."""

    __slots__ = ("operators", "owners", "versions")

    def __init__(self) -> None:
        self.versions: list[tuple[int, int]] = []
        self.owners: list[Tensor] = []
        """Holding on to the parameters' memory: its addresses are not given to others."""
        self.operators: tuple[Tensor, ...] = ()

    def renew(self, operators: tuple[Tensor, ...]) -> None:
        """Take other values; others that only differ in value are written over the old ones."""
        if [_kind(rows) for rows in self.operators] != [_kind(rows) for rows in operators]:
            self.operators = operators
        for old, new in zip(self.operators, operators, strict=True):
            old.copy_(new)


def _kind(rows: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
    return rows.shape, rows.dtype, rows.device


class StateSpaceLayer(nn.Module, ABC):
    """A linear recurrence from features `(…, H)` to features `(…, H)`.

    Its memory is complex. What the recurrence is made of is kept between calls without gradients
    (acting), for as long as no parameter is written to or replaced.
    """

    state_shape: tuple[int, ...]

    def __init__(self) -> None:
        super().__init__()
        self._kept = _Kept()

    @abstractmethod
    def slow_parameters(self) -> list[nn.Parameter]:
        """Those that shape the recurrence."""

    @abstractmethod
    def step(self, u_BH: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Output and memory `(B, *state_shape)` after one input."""

    @abstractmethod
    def scan(self, u_TBH: Tensor, reset_TB: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of T inputs, and the memory after the last."""

    @abstractmethod
    def _operators(self) -> tuple[Tensor, ...]:
        """What the recurrence is made of, from the parameters."""

    def operators(self) -> tuple[Tensor, ...]:
        """`_operators`, computed anew only with gradients or from changed parameters."""
        if torch.is_grad_enabled():
            return self._operators()
        versions = [(p.data_ptr(), p._version) for p in self._parameters.values() if p is not None]
        if self._kept.versions != versions:
            self._kept.versions = versions
            self._kept.owners = [parameter.detach() for parameter in self.parameters()]
            self._kept.renew(self._operators())
        return self._kept.operators


Read = Callable[[StateSpaceLayer, Tensor, Tensor], tuple[Tensor, Tensor]]
"""How a layer reads features, given its memory: one step, or a scan."""


class Block(nn.Module):
    """Pre-norm residual block: LayerNorm, layer, GELU, gated linear unit (S5's "full GLU")."""

    def __init__(self, layer: StateSpaceLayer, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layer = layer
        self.glu = linear(width, 2 * width, generator, gain=1.0)

    def forward(self, h: Tensor, rows: Tensor, read: Read) -> tuple[Tensor, Tensor]:
        """Features `(…, H)`, and the memory as real `(B, …, 2)`."""
        normal = layer_norm(h, self.norm.weight, self.norm.bias)
        y, x = read(self.layer, normal, torch.view_as_complex(rows))
        h = gated_residual(h, y, self.glu.weight, self.glu.bias)
        return h, torch.view_as_real(x)


class StateSpaceModel(SequenceModel):
    """A linear map to the width, blocks, a LayerNorm. Each block's state is `(B, …, 2)`: re, im."""

    def __init__(
        self, input_size: int, blocks: Sequence[Block], width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = width
        self.encoder = linear(input_size, width, generator, gain=1.0)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)

    def slow_parameters(self) -> list[nn.Parameter]:
        return [p for layer in self._layers() for p in layer.slow_parameters()]

    def initial_state(self, batch: int) -> State:
        weight = self.encoder.weight
        return tuple(weight.new_zeros(batch, *layer.state_shape, 2) for layer in self._layers())

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        return self._read(x_BD, blank_where(reset_B, state), lambda layer, u, x: layer.step(u, x))

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        return self._read(x_TBD, state, lambda layer, u, x: layer.scan(u, reset_TB, x))

    def _read(self, x: Tensor, state: State, read: Read) -> tuple[Tensor, State]:
        h, final = self.encoder(x), []
        for block, rows in zip(self.blocks, state, strict=True):
            h, after = block(h, rows, read)
            final.append(after)
        return self.norm(h), tuple(final)

    def _layers(self) -> list[StateSpaceLayer]:
        return [block.layer for block in self.blocks if isinstance(block, Block)]
