"""Gated DeltaNet (Yang, Kautz & Hatamizadeh 2025): a memory that learns by regression in its state.

Each head holds a matrix S of values stored under keys. A step lets S fade by a factor α, reads what
it holds under the key k, and moves that a share β of the way to the value v (their Equation 10,
transposed: here keys index the rows, and a query q reads from the left):

    S = α S₋₁ + k uᵀ    u = β (v − α S₋₁ᵀ k)    y = Sᵀ q

q, k and v come out of short causal convolutions with a SiLU, q and k have length one; α =
exp(−exp(a) softplus(·)) as in Mamba-2 (Dao & Gu 2024), β is a sigmoid, y is normalised and gated.
Blocks are pre-norm and residual. Unlike in the paper, no MLPs stand between them (the agent's heads
are MLPs), and q is not scaled by its dimension (the normalisation of y would undo it).

Shape legend: T time, B worlds, D input features, W width of the residual stream, H heads, K
features of a key, V of a value (here V = K), F = 3HK convolved features (all q, all k, all v), J
past taps of a convolution, N chunks, C steps of a chunk (s and t index them), R (B) or (T, B).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from quickstudy.agents.layers import full_precision, linear
from quickstudy.agents.sequence_model import SequenceModel, State

PAST_TAPS = 3
"""Steps that a convolution sees before the present one."""
CHUNK = 16
"""Steps solved together: the work within a chunk grows with it, the work between chunks shrinks."""


@dataclass(frozen=True)
class GatedDeltaNetConfig:
    """Size of a Gated DeltaNet; by default it has as many parameters as the default GRU."""

    hidden_size: int = 100
    """Features of the residual stream."""
    layers: int = 2
    """Blocks."""
    heads: int = 4
    """Matrix memories of each block."""
    head_size: int = 16
    """Features of a key and of a value: each head remembers a square matrix."""

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "GatedDeltaNet":
        return GatedDeltaNet(self, input_size, generator, horizon)


class GatedDeltaNet(SequenceModel):
    """Blocks over a residual stream; the state is each block's past taps and its matrices."""

    def __init__(
        self,
        config: GatedDeltaNetConfig,
        input_size: int,
        generator: torch.Generator,
        horizon: int,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = config.hidden_size
        self.embedding = linear(input_size, config.hidden_size, generator, gain=1.0)
        blocks = [_Block(config, generator, horizon) for _ in range(config.layers)]
        # A module list, for its parameters; for the type checker, what it holds.
        self.blocks = cast("Sequence[_Block]", nn.ModuleList(blocks))
        self.norm = nn.RMSNorm(config.hidden_size, eps=1e-5)

    def initial_state(self, batch: int) -> State:
        return tuple(rows for block in self.blocks for rows in block.initial_state(batch))

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        x_BW, after = self.embedding(x_BD), list(state)
        for n, block in enumerate(self.blocks):
            x_BW, *after[2 * n : 2 * n + 2] = block.step(x_BW, reset_B, *after[2 * n : 2 * n + 2])
        return self.norm(x_BW), tuple(after)

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        x_TBW, after = self.embedding(x_TBD), list(state)
        for n, block in enumerate(self.blocks):
            x_TBW, *after[2 * n : 2 * n + 2] = block.scan(
                x_TBW, reset_TB, *after[2 * n : 2 * n + 2]
            )
        return self.norm(x_TBW), tuple(after)


class DeltaRule(NamedTuple):
    """What a block tells its matrix memories at each step."""

    q_RHK: Tensor
    """Query, of length one."""
    k_RHK: Tensor
    """Key, of length one."""
    v_RHV: Tensor
    """Value."""
    log_alpha_RH: Tensor
    """Log of the factor by which the memory fades first: negative."""
    beta_RH: Tensor
    """Share of the old value under the key that the new one replaces, in (0, 1)."""


class _Block(nn.Module):
    """x + project(gate ⊙ norm(memories' answers to norm(x)))."""

    def __init__(
        self, config: GatedDeltaNetConfig, generator: torch.Generator, horizon: int
    ) -> None:
        super().__init__()
        self.heads, self.head_size = config.heads, config.head_size
        inner = config.heads * config.head_size
        self.norm = nn.RMSNorm(config.hidden_size, eps=1e-5)
        self.features = linear(config.hidden_size, 3 * inner, generator, gain=1.0)
        self.output_gate = linear(config.hidden_size, inner, generator, gain=1.0)
        self.share = linear(config.hidden_size, config.heads, generator, gain=1.0)
        self.fading = linear(config.hidden_size, config.heads, generator, gain=1.0)
        self.log_rate_H = nn.Parameter(torch.zeros(config.heads))
        # Heads fade in time constants from a few steps to the horizon, evenly spaced in their logs.
        exponent_H = torch.arange(1, config.heads + 1) / config.heads
        rate_H = float(max(horizon, 2)) ** -exponent_H
        with torch.no_grad():
            self.fading.bias.copy_(rate_H.expm1().log())  # softplus(bias) = rate
        self.taps_JF = nn.Parameter(torch.empty(PAST_TAPS + 1, 3 * inner))
        bound = 1 / math.sqrt(PAST_TAPS + 1)
        nn.init.uniform_(self.taps_JF, -bound, bound, generator=generator)
        # An eps this large leaves small what a nearly blank memory answers: after a reset, noise
        # and its gradients would be blown up a thousandfold otherwise.
        self.answer_norm = nn.RMSNorm(config.head_size, eps=1e-3)
        self.output = linear(inner, config.hidden_size, generator, gain=1.0)

    def initial_state(self, batch: int) -> State:
        H, K, weight = self.heads, self.head_size, self.output.weight
        past_BJF = torch.zeros(batch, PAST_TAPS, 3 * H * K, device=weight.device)
        return past_BJF, torch.zeros(batch, H, K, K, device=weight.device)

    def step(
        self, x_BW: Tensor, reset_B: Tensor, past_BJF: Tensor, memory_BHKV: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step: the stream and the state after it."""
        normal_BW = self.norm(x_BW)
        keep_B11 = (~reset_B).to(x_BW.dtype)[:, None, None]
        seen_BJF = torch.cat([self.features(normal_BW).unsqueeze(1), past_BJF * keep_B11], dim=1)
        rule = self._rule(normal_BW, (seen_BJF * self.taps_JF).sum(dim=1))
        answer_BHV, memory_BHKV = delta_step(rule, memory_BHKV * keep_B11.unsqueeze(3))
        return self._join(x_BW, normal_BW, answer_BHV), seen_BJF[:, :-1], memory_BHKV

    def scan(
        self, x_TBW: Tensor, reset_TB: Tensor, past_BJF: Tensor, memory_BHKV: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """T steps: the stream and the state after them."""
        normal_TBW = self.norm(x_TBW)
        convolved_TBF, past_BJF = convolve(
            self.features(normal_TBW), reset_TB, past_BJF, self.taps_JF
        )
        rule = self._rule(normal_TBW, convolved_TBF)
        with full_precision(x_TBW):
            answer_TBHV, memory_BHKV = delta_scan(rule, reset_TB, memory_BHKV)
        return self._join(x_TBW, normal_TBW, answer_TBHV), past_BJF, memory_BHKV

    def _rule(self, normal_RW: Tensor, convolved_RF: Tensor) -> DeltaRule:
        features = functional.silu(convolved_RF)
        q_RHK, k_RHK, v_RHV = features.view(
            *features.shape[:-1], 3, self.heads, self.head_size
        ).unbind(dim=-3)
        log_alpha_RH = -self.log_rate_H.exp() * functional.softplus(self.fading(normal_RW))
        beta_RH = self.share(normal_RW).sigmoid()
        return DeltaRule(_of_length_one(q_RHK), _of_length_one(k_RHK), v_RHV, log_alpha_RH, beta_RH)

    def _join(self, x_RW: Tensor, normal_RW: Tensor, answer_RHV: Tensor) -> Tensor:
        gate = functional.silu(self.output_gate(normal_RW))
        joined: Tensor = x_RW + self.output(self.answer_norm(answer_RHV).flatten(-2) * gate)
        return joined


def _of_length_one(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().sum(dim=-1, keepdim=True) + 1e-6)


def convolve(
    x_TBF: Tensor, reset_TB: Tensor, past_BJF: Tensor, taps_JF: Tensor
) -> tuple[Tensor, Tensor]:
    """Each feature's own causal convolution over time, which sees nothing before a reset.

    Args:
        x_TBF: the input.
        reset_TB: bool; where True all that came before counts as zero.
        past_BJF: the J inputs before the first, the latest first.
        taps_JF: weights of the present input and of the J before it.

    Returns:
        The output, of `x_TBF`'s shape, and the J last inputs `(B, J, F)`.
    """
    T, J = len(x_TBF), past_BJF.shape[1]
    keep_TB1 = (~reset_TB).to(x_TBF.dtype).unsqueeze(2)
    padded = torch.cat([past_BJF.flip(1).transpose(0, 1), x_TBF])
    y_TBF, seen_TB1, latest = x_TBF * taps_JF[0], torch.ones_like(keep_TB1), [x_TBF[-1]]
    for j in range(1, J + 1):
        # A step sees what is j back if it sees the step before it, and that what is j − 1 back.
        seen_TB1 = keep_TB1 * torch.cat([torch.ones_like(keep_TB1[:1]), seen_TB1[:-1]])
        back_TBF = padded[J - j : J - j + T]
        y_TBF = torch.addcmul(y_TBF, back_TBF * taps_JF[j], seen_TB1)
        latest.append(back_TBF[-1] * seen_TB1[-1])
    return y_TBF, torch.stack(latest[:J], dim=1)


def delta_step(rule: DeltaRule, memory_BHKV: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence of the file's docstring: the answer `(B, H, V)` and the memory after it."""
    q_BHK, k_BHK, v_BHV, log_alpha_BH, beta_BH = rule
    faded_BHKV = log_alpha_BH.exp()[..., None, None] * memory_BHKV
    held_BHV = (k_BHK.unsqueeze(-1) * faded_BHKV).sum(dim=-2)
    u_BHV = beta_BH.unsqueeze(-1) * (v_BHV - held_BHV)
    memory_BHKV = faded_BHKV + k_BHK.unsqueeze(-1) * u_BHV.unsqueeze(-2)
    return (q_BHK.unsqueeze(-1) * memory_BHKV).sum(dim=-2), memory_BHKV


def delta_scan(
    rule: DeltaRule, reset_TB: Tensor, memory_BHKV: Tensor, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """T steps of the recurrence in T / chunk sequential ones (their Section 3.3).

    With d_ts the fading from step s to t of a chunk that begins with memory S (zero across a
    reset) and d_t that since before its start, the steps' u solve a triangular system, after which
    everything is a matrix product:

        u_t + β_t Σ_{s<t} d_ts (k_t·k_s) u_s = β_t (v_t − d_t Sᵀ k_t)
        y_t = d_t Sᵀ q_t + Σ_{s≤t} d_ts (q_t·k_s) u_s

    The u are linear in S, so the memory after the chunk is too: S' = A S + Z, with A and Z formed
    for all chunks at once. Resets only enter as exact zeros of d; no shape depends on them.

    Args:
        rule: of all steps.
        reset_TB: bool; where True the memory is blank before the step.
        memory_BHKV: before the first step.
        chunk: steps that are solved together.

    Returns:
        The answers `(T, B, H, V)` and the memory after the last step.
    """
    T, C = len(reset_TB), min(chunk, len(reset_TB))
    q, k, v, log_alpha, beta = (_chunks(x_TBHX, C) for x_TBHX in rule)
    d_NBHCC, d_NBHC1 = _fading(log_alpha, _chunks(reset_TB.unsqueeze(2), C))
    beta, keys_CK = beta.unsqueeze(-1), k.transpose(-1, -2)
    # The system's diagonal is one, whatever stands there.
    own, of_memory = torch.linalg.solve_triangular(
        beta * d_NBHCC * (k @ keys_CK),
        torch.cat([beta * v, beta * d_NBHC1 * k], dim=-1),
        upper=False,
        unitriangular=True,
    ).split([v.shape[-1], k.shape[-1]], dim=-1)
    lasting_KC = keys_CK * d_NBHCC[..., -1:, :]
    eye_KK = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
    A_NBHKK = d_NBHC1[..., -1:, :] * eye_KK - lasting_KC @ of_memory
    S_NBHKV, memory_BHKV = _walk(A_NBHKK, lasting_KC @ own, memory_BHKV)
    u = own - of_memory @ S_NBHKV
    y_NBHCV = (d_NBHC1 * q) @ S_NBHKV + (d_NBHCC * (q @ keys_CK)) @ u
    return y_NBHCV.permute(0, 3, 1, 2, 4).flatten(0, 1)[:T], memory_BHKV


def _chunks(x_TBHX: Tensor, size: int) -> Tensor:
    """`(T, B, H, …)` → `(N, B, H, C, …)`; steps of zeros, which change no memory, fill the last."""
    missing = -len(x_TBHX) % size
    if missing:
        x_TBHX = torch.cat([x_TBHX, x_TBHX.new_zeros(missing, *x_TBHX.shape[1:])])
    return x_TBHX.view(-1, size, *x_TBHX.shape[1:]).movedim(1, 3).contiguous()


def _fading(log_alpha_NBHC: Tensor, reset_NB1C: Tensor) -> tuple[Tensor, Tensor]:
    """How much of step s is left at t, `(N, B, H, t, s)`, and of what came before, `(…, t, 1)`.

    Sums over (s, t] are formed as such: as differences of sums since the chunk's start, their
    gradients would only cancel up to rounding where a reset must let nothing through at all.
    """
    life_NB1C = reset_NB1C.cumsum(dim=-1)
    ones_CC = log_alpha_NBHC.new_ones(log_alpha_NBHC.shape[-1:] * 2)
    hidden_NB1CC = (life_NB1C.unsqueeze(-1) != life_NB1C.unsqueeze(-2)) | ones_CC.triu(1).bool()
    between = ones_CC.tril() @ (log_alpha_NBHC.unsqueeze(-1) * ones_CC.tril(-1))
    before = log_alpha_NBHC.cumsum(dim=-1).masked_fill(life_NB1C > 0, -math.inf)
    return between.masked_fill(hidden_NB1CC, -math.inf).exp(), before.unsqueeze(-1).exp()


def _walk(A_NBHKK: Tensor, Z_NBHKV: Tensor, memory_BHKV: Tensor) -> tuple[Tensor, Tensor]:
    """S' = A S + Z from chunk to chunk: the memory before each, and after the last."""
    before = []
    for A_BHKK, Z_BHKV in zip(A_NBHKK.unbind(), Z_NBHKV.unbind(), strict=True):
        before.append(memory_BHKV)
        memory_BHKV = Z_BHKV + A_BHKK @ memory_BHKV
    return torch.stack(before), memory_BHKV
