"""Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gates (Gers et al. 2000).

With gates i (input), f (forget), o (output) and candidate g, projections of x and h₋₁ together:

    c = σ(f) ⊙ c₋₁ + σ(i) ⊙ tanh(g)    h = σ(o) ⊙ tanh(c)

Shape legend: T time, B worlds, D input features, H hidden units, G = 4H (i, f, g, o; torch's
order), L steps of a block, N = L·B.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quickstudy.agents.layers import full_precision, linear
from quickstudy.agents.sequence_model import SequenceModel, State, blank_where


@dataclass(frozen=True)
class LSTMConfig:
    """Size of an LSTM; by default it has as many parameters as the default GRU."""

    hidden_size: int = 108
    """Hidden units."""

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "LSTM":
        del horizon  # unused: it remembers as long as it learns to
        return LSTM(input_size, self.hidden_size, generator)


class LSTM(SequenceModel):
    """An LSTM whose scan has a hand-written backward pass; its state is (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = hidden_size
        self.input_projection = linear(input_size, 4 * hidden_size, generator, gain=1.0)
        self.hidden_weight = linear(hidden_size, 4 * hidden_size, generator, gain=1.0).weight
        # A new memory keeps most of what it holds (Jozefowicz et al. 2015).
        nn.init.ones_(self.input_projection.bias[hidden_size : 2 * hidden_size])

    def initial_state(self, batch: int) -> State:
        blank_BH = torch.zeros(batch, self.output_size, device=self.hidden_weight.device)
        return blank_BH, blank_BH.clone()

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        h_BH, c_BH = blank_where(reset_B, state)
        gates_BG = torch.addmm(self.input_projection(x_BD), h_BH, self.hidden_weight.t())
        i_BH, f_BH, g_BH, o_BH = gates_BG.chunk(4, dim=1)
        c_BH = f_BH.sigmoid() * c_BH + i_BH.sigmoid() * g_BH.tanh()
        h_BH = o_BH.sigmoid() * c_BH.tanh()
        return h_BH, (h_BH, c_BH)

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        projection = self.input_projection
        with full_precision(x_TBD):
            h_TBH, c_BH = _LSTMScan.apply(  # type: ignore[no-untyped-call]  # torch's
                x_TBD, reset_TB, *state, projection.weight, projection.bias, self.hidden_weight
            )
        return h_TBH, (h_TBH[-1], c_BH)


BLOCK = 16
"""Steps whose gradients are formed together: few enough to stay in the cache."""


class _LSTMScan(torch.autograd.Function):
    """The recurrence over time, with few and in-place operations per step.

    tanh(g) = 2 σ(2g) − 1: with the candidate's weights doubled, one sigmoid serves all four gates.
    The forward pass overwrites the projections with these sigmoids; the backward pass keeps five
    operations per step in the chain; all else is done for blocks of steps at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_TBD: Tensor,
        reset_TB: Tensor,
        h0_BH: Tensor,
        c0_BH: Tensor,
        weight_GD: Tensor,
        bias_G: Tensor,
        weight_GH: Tensor,
    ) -> tuple[Tensor, Tensor]:
        T, B, _ = x_TBD.shape
        H = weight_GH.shape[1]
        w_GD, w_GH, b_G = (_candidate_doubled(rows) for rows in (weight_GD, weight_GH, bias_G))
        gates_TBG = torch.addmm(b_G, x_TBD.flatten(0, 1), w_GD.t()).view(T, B, 4 * H)
        # Memory before each step, after its reset; and what the output gate lets through.
        before_2TBH = gates_TBG.new_empty(2, T, B, H)
        tanh_c_TBH, h_TBH = before_2TBH.new_empty(T, B, H), before_2TBH.new_empty(T, B, H)
        keep_TB1 = (~reset_TB).to(x_TBD.dtype).unsqueeze(2)
        some_reset_T: list[bool] = reset_TB.any(dim=1).tolist()
        h_BH, c_BH, weight_of_h = h0_BH, c0_BH, w_GH.t()
        steps = zip(gates_TBG.unbind(), tanh_c_TBH.unbind(), h_TBH.unbind(), strict=True)
        for t, (gates_BG, tanh_c_BH, h_next_BH) in enumerate(steps):
            if some_reset_T[t]:
                h_BH, c_BH = h_BH * keep_TB1[t], c_BH * keep_TB1[t]
            before_2TBH[0, t], before_2TBH[1, t] = h_BH, c_BH
            i_BH, f_BH, g_BH, o_BH = gates_BG.addmm_(h_BH, weight_of_h).sigmoid_().chunk(4, dim=1)
            c_BH = (c_BH * f_BH).addcmul_(i_BH, g_BH, value=2.0).sub_(i_BH)
            torch.tanh(c_BH, out=tanh_c_BH)
            h_BH = torch.mul(o_BH, tanh_c_BH, out=h_next_BH)
        ctx.some_reset_T = some_reset_T
        ctx.save_for_backward(
            x_TBD, before_2TBH, gates_TBG, tanh_c_TBH, keep_TB1, weight_GD, weight_GH
        )
        return h_TBH, c_BH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_TBH: Tensor, dc_BH: Tensor) -> tuple[Tensor | None, ...]:
        x_TBD, before_2TBH, *_, weight_GD, weight_GH = ctx.saved_tensors
        dx_TBD = torch.empty_like(x_TBD)
        dweight_GD, dweight_GH = torch.zeros_like(weight_GD), torch.zeros_like(weight_GH)
        dbias_G = weight_GD.new_zeros(len(weight_GD))
        carry_h_BH, carry_c_BH = torch.zeros_like(dc_BH), dc_BH
        T = len(x_TBD)
        for start in range((T - 1) // BLOCK * BLOCK, -1, -BLOCK):
            block = slice(start, min(start + BLOCK, T))
            dgates_NG, carry_h_BH, carry_c_BH = _walk_back(
                ctx, dh_TBH, block, carry_h_BH, carry_c_BH
            )
            torch.mm(dgates_NG, weight_GD, out=dx_TBD[block].view(len(dgates_NG), -1))
            dweight_GD.addmm_(dgates_NG.t(), x_TBD[block].flatten(0, 1))
            dweight_GH.addmm_(dgates_NG.t(), before_2TBH[0, block].flatten(0, 1))
            dbias_G += dgates_NG.sum(dim=0)
        return dx_TBD, None, carry_h_BH, carry_c_BH, dweight_GD, dbias_G, dweight_GH


def _candidate_doubled(rows_G: Tensor) -> Tensor:
    """A copy of the weights or biases with the rows of g, the third quarter, doubled."""
    rows_G = rows_G.detach().clone()
    rows_G.chunk(4)[2].mul_(2.0)
    return rows_G


def _walk_back(
    ctx: Any, dh_TBH: Tensor, block: slice, carry_h_BH: Tensor, carry_c_BH: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one block of steps, N of them times worlds.

    Args:
        ctx: what the forward pass kept.
        dh_TBH: of the outputs, as they are used outside of the recurrence.
        block: the steps.
        carry_h_BH: of the last h of the block, as the step after it uses it.
        carry_c_BH: of the last c of the block, likewise.

    Returns:
        With respect to the gates' pre-activations `(N, G)`, and to the h and c before the block.
    """
    _, before_2TBH, gates_TBG, tanh_c_TBH, keep_TB1, _, weight_GH = ctx.saved_tensors
    dgates_LB4H, to_c_LBH = _local_slopes(
        before_2TBH[1, block], gates_TBG[block], tanh_c_TBH[block]
    )
    L, B, _, H = dgates_LB4H.shape
    dgates, to_c = dgates_LB4H.view(L, B, 4 * H).unbind(), to_c_LBH.unbind()
    of_c, of_h = dgates_LB4H[:, :, :3].unbind(), dgates_LB4H[:, :, 3].unbind()
    dh, f = dh_TBH[block].unbind(), gates_TBG[block].chunk(4, dim=2)[1].unbind()
    for t in range(L - 1, -1, -1):
        dh_BH = dh[t] + carry_h_BH
        dc_BH = torch.addcmul(carry_c_BH, dh_BH, to_c[t])
        of_c[t].mul_(dc_BH.unsqueeze(1))
        of_h[t].mul_(dh_BH)
        carry_h_BH, carry_c_BH = dgates[t] @ weight_GH, dc_BH * f[t]
        if ctx.some_reset_T[block.start + t]:
            keep_B1 = keep_TB1[block.start + t]
            carry_h_BH, carry_c_BH = carry_h_BH * keep_B1, carry_c_BH * keep_B1
    return dgates_LB4H.view(L * B, 4 * H), carry_h_BH, carry_c_BH


def _local_slopes(c_LBH: Tensor, gates_LBG: Tensor, tanh_c_LBH: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives within each step, given the c before it.

    Returns:
        Of c by the pre-activations of i, f and g, and of h by that of o (c held), `(L, B, 4, H)`;
        and of h by c, `(L, B, H)`.
    """
    i_LBH, f_LBH, s_LBH, o_LBH = gates_LBG.chunk(4, dim=2)
    slopes_LB4H = gates_LBG.new_empty(*c_LBH.shape[:2], 4, c_LBH.shape[2])
    to_i, to_f, to_g, to_o = slopes_LB4H.unbind(dim=2)
    g_LBH = 2.0 * s_LBH - 1.0
    torch.mul(g_LBH * i_LBH, 1.0 - i_LBH, out=to_i)
    torch.mul(c_LBH * f_LBH, 1.0 - f_LBH, out=to_f)
    torch.mul(1.0 - g_LBH.square(), i_LBH, out=to_g)
    torch.mul(tanh_c_LBH * o_LBH, 1.0 - o_LBH, out=to_o)
    return slopes_LB4H, (1.0 - tanh_c_LBH.square()) * o_LBH
