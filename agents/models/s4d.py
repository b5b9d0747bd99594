"""S4D (Gu et al. 2022): each feature has its own damped oscillations, a convolution in disguise.

With ā and s from `agents/ssm.py`, for each feature, of input u and output y:

    x_t = ā ⊙ x_{t−1} + u_t      y_t = 2 Re(Σ_n C_n s_n x_{t,n}) + D u_t

(B, which only ever multiplies C, is 1; s, too, is taken on the way out.) From a reset to the next,
y is u convolved with the kernel k_j = 2 Re(Σ_n C_n s_n ā_n^j), plus what is left of the memory.

Shape legend: T time, B worlds, H features, N complex states of each, K = 2N their interleaved re
and im, L steps of a piece or from a reset to the next.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from quickstudy.agents.layers import full_precision
from quickstudy.agents.scan import diag_scan
from quickstudy.agents.sequence_model import blank_where
from quickstudy.agents.ssm import (
    RULES,
    SPECTRA,
    Block,
    Rule,
    Spectrum,
    StateSpaceLayer,
    StateSpaceModel,
    complexes,
    discretise,
    eigenvalues,
    random_log_step,
    reals,
    s4d_spectrum,
)
from quickstudy.envs.errors import unknown

Mode = Literal["scan", "convolution"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class S4DConfig:
    """Size of an S4D."""

    hidden_size: int = 112
    """Width of the layers: features passed from one to the next."""
    state_size: int = 32
    """Numbers each feature remembers: half as many complex ones, each one of a conjugate pair."""
    layers: int = 2
    """Layers."""
    init: Spectrum = "lin"
    """Initial spectrum: S4D-Lin, S4D-Inv or S4D-LegS."""
    discretisation: Rule = "zoh"
    """From continuous to discrete time: zero-order hold, or bilinear."""
    mode: Mode = "scan"
    """How a sequence is read: step by step, or by fast Fourier transforms between resets (faster,
    but an output then depends on later inputs by a rounding error)."""

    def __post_init__(self) -> None:
        for name, options in (("init", SPECTRA), ("discretisation", RULES), ("mode", MODES)):
            if getattr(self, name) not in options:
                raise unknown(name, getattr(self, name), options)
        if self.state_size % 2:
            raise ValueError(f"state_size must be even, got {self.state_size}.")

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "S4D":
        blocks = [
            Block(S4DLayer(self, horizon, generator), self.hidden_size, generator)
            for _ in range(self.layers)
        ]
        return S4D(input_size, blocks, self.hidden_size, generator)


PIECE = 32
"""Steps scanned at once: what is computed from them, N times the features, stays in the cache."""


class S4D(StateSpaceModel):
    """A stack of S4D layers."""


class S4DLayer(StateSpaceLayer):
    """One single-input, single-output state space per feature."""

    def __init__(self, config: S4DConfig, horizon: int, generator: torch.Generator) -> None:
        super().__init__()
        H, N = config.hidden_size, config.state_size // 2
        eigenvalue_HN = s4d_spectrum(config.init, config.state_size).repeat(H, 1)
        self.state_shape = (H, N)
        self.rule = config.discretisation
        self.mode = config.mode
        self.log_decay = nn.Parameter((-eigenvalue_HN.real).log().float())
        self.frequency = nn.Parameter(eigenvalue_HN.imag.float())
        self.log_step = nn.Parameter(random_log_step(H, horizon, generator))
        self.C_HN2 = nn.Parameter(0.5**0.5 * torch.randn(H, N, 2, generator=generator))
        self.D_H = nn.Parameter(torch.randn(H, generator=generator))

    def slow_parameters(self) -> list[nn.Parameter]:
        """As in S4D's own training: spectrum and step; C and D learn at the full rate."""
        return [self.log_decay, self.frequency, self.log_step]

    def step(self, u_BH: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        gate_HN, C_HK = self.operators()
        x = torch.addcmul(_spread(u_BH, gate_HN), gate_HN, x)
        return self._output(x, C_HK, u_BH), x

    def scan(self, u_TBH: Tensor, reset_TB: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.mode == "convolution":
            with full_precision(u_TBH):
                return self._convolve(u_TBH, reset_TB, x)
        gate_HN, C_HK = self.operators()
        outputs = []
        for start in range(0, len(u_TBH), PIECE):
            u_LBH, reset_LB = u_TBH[start : start + PIECE], reset_TB[start : start + PIECE]
            x_LBHN = diag_scan(gate_HN, _spread(u_LBH, gate_HN), x, reset_LB)
            outputs.append(self._output(x_LBHN, C_HK, u_LBH))
            x = x_LBHN[-1]
        return torch.cat(outputs), x

    def _convolve(self, u_TBH: Tensor, reset_TB: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each stretch without a reset on its own: nothing at all crosses one."""
        gate_HN, C_HK = self.operators()
        lengths = _stretches(reset_TB)
        powers_LHK = _powers(gate_HN, max(lengths) + 1)
        kernel_LH = (powers_LHK * C_HK).sum(dim=-1)
        outputs, start = [], 0
        for length in lengths:
            (x,) = blank_where(reset_TB[start], (x,))
            u_LBH = u_TBH[start : start + length]
            y_LBH = _causal_convolution(u_LBH, kernel_LH[:length])
            outputs.append(y_LBH + _recalled(x, powers_LHK[1 : length + 1], C_HK))
            x = _left_behind(x, u_LBH, powers_LHK[: length + 1])
            start += length
        return torch.addcmul(torch.cat(outputs), self.D_H, u_TBH), x

    def _output(self, x: Tensor, C_HK: Tensor, u: Tensor) -> Tensor:
        y = (reals(x) * C_HK).sum(dim=-1)
        return torch.addcmul(y, self.D_H, u)

    def _operators(self) -> tuple[Tensor, ...]:
        """ā `(H, N)`, and C `(H, K)` whose product with x as K reals sums to 2 Re(Σ C s x)."""
        eigenvalue_HN = eigenvalues(self.log_decay, self.frequency)
        gate_HN, scale_HN = discretise(eigenvalue_HN, self.log_step.unsqueeze(1), self.rule)
        C_HN = 2 * scale_HN * torch.view_as_complex(self.C_HN2)
        return gate_HN, reals(C_HN.conj_physical())


def _spread(u: Tensor, gate_HN: Tensor) -> Tensor:
    """`(…, H)` as complex `(…, H, N)`, without a copy per state."""
    return u.to(gate_HN.dtype).unsqueeze(-1).expand(*u.shape, gate_HN.shape[1])


def _stretches(reset_TB: Tensor) -> list[int]:
    """Steps from the first to the first reset of any world, and from each reset to the next."""
    later: list[int] = reset_TB[1:].any(dim=1).nonzero().flatten().add(1).tolist()
    bounds = [0, *later, len(reset_TB)]
    return [end - start for start, end in pairwise(bounds)]


def _powers(gate_HN: Tensor, count: int) -> Tensor:
    """ā⁰, ā¹, … `(count, H, K)`, by doubling."""
    powers_LHN, factor_HN = torch.ones_like(gate_HN).unsqueeze(0), gate_HN
    while len(powers_LHN) < count:
        powers_LHN = torch.cat([powers_LHN, powers_LHN * factor_HN])
        factor_HN = factor_HN.square()
    return reals(powers_LHN[:count])


def _causal_convolution(u_LBH: Tensor, kernel_LH: Tensor) -> Tensor:
    """Σ_j kernel_j u_{t−j}; padded to twice the length, or the end would wrap into the start."""
    length = 2 * len(u_LBH)
    kernel = torch.fft.rfft(kernel_LH, length, dim=0).unsqueeze(1)
    product = torch.fft.rfft(u_LBH, length, dim=0) * kernel
    y: Tensor = torch.fft.irfft(product, length, dim=0)
    return y[: len(u_LBH)]


def _recalled(x: Tensor, powers_LHK: Tensor, C_HK: Tensor) -> Tensor:
    """What the memory found adds to each output: `(L, B, H)`."""
    C_HN = complexes(C_HK)
    # C_HK holds the conjugate's parts: Re(conj(C) conj(x) conj(ā^j)) is a sum over K reals.
    return torch.einsum("lhk,bhk->lbh", powers_LHK, reals(C_HN * x.conj()))


def _left_behind(x: Tensor, u_LBH: Tensor, powers_LHK: Tensor) -> Tensor:
    """The memory after L steps: ā^L x + Σ_j ā^(L−1−j) u_j."""
    last_HN = complexes(powers_LHK[-1])
    added = torch.einsum("lhk,lbh->bhk", powers_LHK[:-1].flip(0), u_LBH)
    return last_HN * x + complexes(added)
