"""The gated recurrent unit (Cho et al. 2014, in cuDNN's reset-after form), memory of RL².

With input projections i and hidden projections h of the gates r (reset), z (update), n (candidate):

    r = σ(i_r + h_r)    z = σ(i_z + h_z)    n = tanh(i_n + r ⊙ h_n)    y = (1 − z) ⊙ n + z ⊙ y₋₁

Shape legend: T time, B worlds, D input features, H hidden units, G = 3H (r, z, n), K = 2H (r, z),
L steps of a block, N = L·B.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickstudy.agents.layers import full_precision, linear
from quickstudy.agents.sequence_model import SequenceModel, State, blank_where


@dataclass(frozen=True)
class GRUConfig:
    """Size of a GRU."""

    hidden_size: int = 128
    """Hidden units."""

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "GRU":
        del horizon  # unused: it remembers as long as it learns to
        return GRU(input_size, self.hidden_size, generator)


class GRU(SequenceModel):
    """A gated recurrent unit whose scan has a hand-written backward pass."""

    def __init__(self, input_size: int, hidden_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = hidden_size
        self.input_projection = linear(input_size, 3 * hidden_size, generator, gain=1.0)
        self.hidden_projection = linear(hidden_size, 3 * hidden_size, generator, gain=1.0)

    def initial_state(self, batch: int) -> State:
        return (torch.zeros(batch, self.output_size, device=self.hidden_projection.weight.device),)

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        (y_BH,) = blank_where(reset_B, state)
        y_BH = torch.gru_cell(x_BD, y_BH, *self._parameters_in_order())
        return y_BH, (y_BH,)

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        weight_GD, weight_GH, bias_G, bias_of_y_G = self._parameters_in_order()
        with full_precision(x_TBD):
            y_TBH: Tensor = _GRUScan.apply(  # type: ignore[no-untyped-call]  # torch's
                x_TBD, reset_TB, state[0], weight_GD, bias_G, weight_GH, bias_of_y_G
            )
        return y_TBH, (y_TBH[-1],)

    def _parameters_in_order(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `torch.gru_cell` takes them: both weights, then both biases."""
        i, h = self.input_projection, self.hidden_projection
        return i.weight, h.weight, i.bias, h.bias


BLOCK = 16
"""Steps whose gradients are formed together: few enough to stay in the cache."""


class _GRUScan(torch.autograd.Function):
    """The recurrence over time, with few and in-place operations per step.

    Autograd would record some fifteen nodes per step. Here the forward pass overwrites the input
    projections with the gates, and the backward pass keeps three operations per step in the chain;
    all else is done for blocks of steps at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_TBD: Tensor,
        reset_TB: Tensor,
        y0_BH: Tensor,
        weight_GD: Tensor,
        bias_G: Tensor,
        weight_GH: Tensor,
        bias_of_y_G: Tensor,
    ) -> Tensor:
        T, B, _ = x_TBD.shape
        H = weight_GH.shape[1]
        x_ND = x_TBD.flatten(0, 1)
        rz_bias = bias_G[: 2 * H] + bias_of_y_G[: 2 * H]
        rz_TBK = torch.addmm(rz_bias, x_ND, weight_GD[: 2 * H].t()).view(T, B, 2 * H)
        n_TBH = torch.addmm(bias_G[2 * H :], x_ND, weight_GD[2 * H :].t()).view(T, B, H)
        h_n_TBH, previous_TBH = torch.empty_like(n_TBH), torch.empty_like(n_TBH)
        y_TBH = torch.empty_like(n_TBH)
        keep_TB1 = (~reset_TB).to(x_TBD.dtype).unsqueeze(2)
        some_reset_T: list[bool] = reset_TB.any(dim=1).tolist()
        weight_of_rz, weight_of_n = weight_GH[: 2 * H].t(), weight_GH[2 * H :].t()
        y_BH = y0_BH
        steps = zip(rz_TBK.unbind(), n_TBH.unbind(), h_n_TBH.unbind(), y_TBH.unbind(), strict=True)
        for t, (rz_BK, n_BH, h_n_BH, y_next_BH) in enumerate(steps):
            if some_reset_T[t]:
                y_BH = y_BH * keep_TB1[t]
            previous_TBH[t] = y_BH
            rz_BK.addmm_(y_BH, weight_of_rz).sigmoid_()
            torch.addmm(bias_of_y_G[2 * H :], y_BH, weight_of_n, out=h_n_BH)
            r_BH, z_BH = rz_BK.chunk(2, dim=1)
            n_BH.addcmul_(r_BH, h_n_BH).tanh_()
            y_BH = torch.lerp(n_BH, y_BH, z_BH, out=y_next_BH)
        ctx.some_reset_T = some_reset_T
        ctx.save_for_backward(
            x_TBD, previous_TBH, rz_TBK, n_TBH, h_n_TBH, keep_TB1, weight_GD, weight_GH
        )
        return y_TBH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TBH: Tensor) -> tuple[Tensor | None, ...]:
        x_TBD, previous_TBH, *_, weight_GD, weight_GH = ctx.saved_tensors
        T, B, H = dy_TBH.shape
        Z = 2 * H
        dx_TBD = torch.empty_like(x_TBD)
        dweight_GD, dweight_GH = torch.zeros_like(weight_GD), torch.zeros_like(weight_GH)
        dbias_G, dbias_of_y_G = dy_TBH.new_zeros(3 * H), dy_TBH.new_zeros(3 * H)
        carry_BH = torch.zeros_like(dy_TBH[0])
        for start in range((T - 1) // BLOCK * BLOCK, -1, -BLOCK):
            block = slice(start, min(start + BLOCK, T))
            dh_NG, dn_NH, carry_BH = _walk_back(ctx, dy_TBH, block, carry_BH)
            x_ND, drz_NZ = x_TBD[block].flatten(0, 1), dh_NG[:, :Z]
            dx_TBD[block] = torch.addmm(drz_NZ @ weight_GD[:Z], dn_NH, weight_GD[Z:]).view(
                -1, B, x_TBD.shape[2]
            )
            dweight_GD[:Z].addmm_(drz_NZ.t(), x_ND)
            dweight_GD[Z:].addmm_(dn_NH.t(), x_ND)
            dweight_GH.addmm_(dh_NG.t(), previous_TBH[block].flatten(0, 1))
            dbias_of_y_G += dh_NG.sum(dim=0)
            dbias_G[Z:] += dn_NH.sum(dim=0)
        dbias_G[:Z] = dbias_of_y_G[:Z]
        return dx_TBD, None, carry_BH, dweight_GD, dbias_G, dweight_GH, dbias_of_y_G


def _walk_back(
    ctx: Any, dy_TBH: Tensor, block: slice, carry_BH: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one block of steps, N of them times worlds.

    Returns:
        With respect to the hidden projections `(N, 3H)` and to the candidate's pre-activation
        `(N, H)`; and what is carried to the step before the block, `(B, H)`.
    """
    _, previous_TBH, rz_TBK, n_TBH, h_n_TBH, keep_TB1, _, weight_GH = ctx.saved_tensors
    dy_LBH, n_LBH = dy_TBH[block], n_TBH[block]
    L, B, H = dy_LBH.shape
    r_LBH, z_LBH = rz_TBK[block].chunk(2, dim=2)
    # How y depends on each projection: dh becomes its gradient when multiplied by that of y.
    to_n_LBH = (1 - z_LBH) * (1 - n_LBH.square())
    dh_LB3H = dy_LBH.new_empty(L, B, 3, H)
    torch.mul(to_n_LBH * h_n_TBH[block], r_LBH * (1 - r_LBH), out=dh_LB3H[:, :, 0])
    torch.mul((previous_TBH[block] - n_LBH) * z_LBH, 1 - z_LBH, out=dh_LB3H[:, :, 1])
    torch.mul(to_n_LBH, r_LBH, out=dh_LB3H[:, :, 2])
    # total[t + 1] is the whole gradient of y at t; total[0] that of y before the block.
    total = torch.cat([torch.zeros_like(carry_BH).unsqueeze(0), dy_LBH])
    total[L] += carry_BH
    totals, z, dh3 = total.unbind(), z_LBH.unbind(), dh_LB3H.unbind()
    dh = dh_LB3H.view(L, B, 3 * H).unbind()
    for t in range(L - 1, -1, -1):
        dy_BH, before_BH = totals[t + 1], totals[t]
        dh3[t].mul_(dy_BH.unsqueeze(1))
        if ctx.some_reset_T[block.start + t]:
            through_BH = torch.addmm(dy_BH * z[t], dh[t], weight_GH)
            before_BH.addcmul_(through_BH, keep_TB1[block.start + t])
        else:
            before_BH.addcmul_(dy_BH, z[t]).addmm_(dh[t], weight_GH)
    dn_NH = to_n_LBH.mul_(total[1:]).flatten(0, 1)
    return dh_LB3H.view(L * B, 3 * H), dn_NH, total[0]
