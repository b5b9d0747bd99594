"""S5 (Smith et al. 2023): all features share one bank of damped oscillations, scanned over time.

As a memory of reinforcement learning, with resets: Lu et al. 2023. Per layer, with ā and s from
`agents/ssm.py`:

    x_t = ā ⊙ x_{t−1} + s ⊙ (B u_t)      y_t = 2 Re(C x_t) + D ⊙ u_t

Shape legend: T time, B worlds, H width, P complex channels, K = 2P their interleaved re and im.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from quickstudy.agents.scan import diag_scan
from quickstudy.agents.ssm import (
    RULES,
    Block,
    Rule,
    StateSpaceLayer,
    StateSpaceModel,
    complexes,
    discretise,
    eigenvalues,
    hippo_normal,
    random_log_step,
    reals,
)
from quickstudy.envs.errors import unknown


@dataclass(frozen=True)
class S5Config:
    """Size of an S5."""

    hidden_size: int = 96
    """Width of the layers: features passed from one to the next."""
    state_size: int = 80
    """Numbers a layer remembers: half as many complex channels, each one of a conjugate pair."""
    blocks: int = 5
    """HiPPO blocks that the state is initialised in. Smaller ones oscillate less fast."""
    layers: int = 2
    """Layers."""
    discretisation: Rule = "zoh"
    """From continuous to discrete time: zero-order hold, or bilinear."""
    balanced: bool = True
    """True: B begins larger by 1/√Δ, so that all channels are equally loud under noise (as in the
    LRU, Orvieto et al. 2023). False: as published, where a channel's answer to one input is of size
    Δ, and what a slow one remembers is hard to hear."""

    def __post_init__(self) -> None:
        if self.discretisation not in RULES:
            raise unknown("discretisation", self.discretisation, RULES)
        if self.state_size % (2 * self.blocks):
            raise ValueError(
                f"state_size must be a multiple of 2 · blocks = {2 * self.blocks}, "
                f"got {self.state_size}."
            )

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "S5":
        blocks = [
            Block(S5Layer(self, horizon, generator), self.hidden_size, generator)
            for _ in range(self.layers)
        ]
        return S5(input_size, blocks, self.hidden_size, generator)


class S5(StateSpaceModel):
    """A stack of S5 layers."""


class S5Layer(StateSpaceLayer):
    """One multi-input, multi-output state space.

    Both projections are one real matrix product each: their rows or columns hold the real and
    imaginary parts of a channel side by side, which is how complex numbers lie in memory.
    """

    def __init__(self, config: S5Config, horizon: int, generator: torch.Generator) -> None:
        super().__init__()
        size, width = config.state_size, config.hidden_size
        eigenvalue_P, V_SP = _blocks_of_hippo(size, config.blocks)
        self.state_shape = (size // 2,)
        self.rule = config.discretisation
        self.log_decay = nn.Parameter((-eigenvalue_P.real).log().float())
        self.frequency = nn.Parameter(eigenvalue_P.imag.float())
        self.log_step = nn.Parameter(random_log_step(size // 2, horizon, generator))
        # In HiPPO's own basis B is real and C complex, their entries of variance 1/size.
        B_SH = torch.randn(size, width, generator=generator, dtype=torch.float64).mul_(size**-0.5)
        C_HS = torch.randn(width, size, generator=generator, dtype=torch.complex128).mul_(
            math.sqrt(2 / size)
        )
        loudness_P1 = (
            torch.exp(-0.5 * self.log_step.detach()).unsqueeze(1) if config.balanced else 1
        )
        self.B_PH2 = _real_parameter(loudness_P1 * (V_SP.mH @ B_SH.to(V_SP.dtype)))
        self.C_HP2 = _real_parameter(C_HS @ V_SP)
        self.D_H = nn.Parameter(torch.randn(width, generator=generator))

    def slow_parameters(self) -> list[nn.Parameter]:
        """As in S5's own training: spectrum, step and B; C and D learn at the full rate."""
        return [self.log_decay, self.frequency, self.log_step, self.B_PH2]

    def step(self, u_BH: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        gate_P, B_KH, C_HK = self.operators()
        x = torch.addcmul(complexes(functional.linear(u_BH, B_KH)), gate_P, x)
        return self._output(x, C_HK, u_BH), x

    def scan(self, u_TBH: Tensor, reset_TB: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        gate_P, B_KH, C_HK = self.operators()
        x_TBP = diag_scan(gate_P, _numbers(functional.linear(u_TBH, B_KH)), x, reset_TB)
        return self._output(x_TBP, C_HK, u_TBH), x_TBP[-1]

    def _output(self, x: Tensor, C_HK: Tensor, u: Tensor) -> Tensor:
        y = functional.linear(reals(x), C_HK).to(u.dtype)
        return torch.addcmul(y, self.D_H, u)

    def _operators(self) -> tuple[Tensor, ...]:
        """ā `(P,)`, s ⊙ B `(K, H)`, and C `(H, K)` such that x as K reals gives 2 Re(C x)."""
        eigenvalue_P = eigenvalues(self.log_decay, self.frequency)
        gate_P, scale_P = discretise(eigenvalue_P, self.log_step, self.rule)
        B_PH = scale_P.unsqueeze(1) * torch.view_as_complex(self.B_PH2)
        B_KH = torch.view_as_real(B_PH).transpose(1, 2).flatten(0, 1)
        C_HK = (self.C_HP2 * self.C_HP2.new_tensor([2.0, -2.0])).flatten(1)
        return gate_P, B_KH, C_HK


def _numbers(rows_TBK: Tensor) -> Tensor:
    """As the scan takes complex numbers: pairs `(T, B, P, 2)` of bfloat16, which has none."""
    if rows_TBK.dtype == torch.bfloat16:
        return rows_TBK.view(*rows_TBK.shape[:2], -1, 2)
    return complexes(rows_TBK)


def _blocks_of_hippo(size: int, blocks: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues and basis of equal blocks, without the conjugates: `(P,)` and `(size, P)`."""
    eigenvalue, V = hippo_normal(size // blocks)
    half = len(eigenvalue) // 2
    # Kronecker's product with the identity repeats the basis down the diagonal.
    basis = torch.kron(torch.eye(blocks, dtype=V.dtype), V[:, :half].contiguous())
    return eigenvalue[:half].repeat(blocks), basis


def _real_parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.view_as_real(values).float().contiguous())
