"""The gated recurrent unit (Cho et al. 2014, in cuDNN's reset-after form), memory of RL².

With input projections i and hidden projections h of the gates r (reset), z (update), n (candidate):

    r = σ(i_r + h_r)    z = σ(i_z + h_z)    n = tanh(i_n + r ⊙ h_n)    y = (1 − z) ⊙ n + z ⊙ y₋₁

Shape legend: T time, B worlds, D input features, H hidden units, G = 3H gate inputs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickstudy.agents.layers import linear
from quickstudy.agents.sequence_model import SequenceModel, State, blank_where


@dataclass(frozen=True)
class GRUConfig:
    """Size of a GRU."""

    hidden_size: int = 128
    """Hidden units."""

    def build(self, input_size: int, generator: torch.Generator) -> "GRU":
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

    def step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        (y_BH,) = blank_where(reset_B, state)
        i_r, i_z, i_n = self.input_projection(x_BD).chunk(3, dim=1)
        h_r, h_z, h_n = self.hidden_projection(y_BH).chunk(3, dim=1)
        r, z = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
        n = torch.tanh(i_n + r * h_n)
        y_BH = n + z * (y_BH - n)
        return y_BH, (y_BH,)

    def scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        hidden = self.hidden_projection
        y_TBH: Tensor = _GRUScan.apply(  # type: ignore[no-untyped-call]  # torch has no types here
            self.input_projection(x_TBD), reset_TB, state[0], hidden.weight, hidden.bias
        )
        return y_TBH, (y_TBH[-1],)


class _GRUScan(torch.autograd.Function):
    """The recurrence over time with one matrix product per step in each direction.

    Autograd would record some fifteen nodes per step; here the backward pass keeps the gates, walks
    back once, and leaves the weights' gradient to a single product over all steps.
    """

    @staticmethod
    def forward(
        ctx: Any, i_TBG: Tensor, reset_TB: Tensor, y0_BH: Tensor, weight_GH: Tensor, bias_G: Tensor
    ) -> Tensor:
        T, B, G = i_TBG.shape
        H = G // 3
        keep_TB1 = (~reset_TB).to(i_TBG.dtype).unsqueeze(2)
        y_TBH, previous_TBH = i_TBG.new_empty(T, B, H), i_TBG.new_empty(T, B, H)
        rz_TB2H, n_TBH, h_n_TBH = i_TBG.new_empty(T, B, 2 * H), y_TBH.new_empty(T, B, H), None
        h_n_TBH = i_TBG.new_empty(T, B, H)
        weight_HG = weight_GH.t()
        gates_BG = i_TBG.new_empty(B, G)
        y_BH = y0_BH
        for t in range(T):
            previous_BH = torch.mul(y_BH, keep_TB1[t], out=previous_TBH[t])
            torch.addmm(bias_G, previous_BH, weight_HG, out=gates_BG)
            i_BG, rz_B2H, n_BH = i_TBG[t], rz_TB2H[t], n_TBH[t]
            torch.add(i_BG[:, : 2 * H], gates_BG[:, : 2 * H], out=rz_B2H).sigmoid_()
            h_n_TBH[t] = gates_BG[:, 2 * H :]
            torch.addcmul(i_BG[:, 2 * H :], rz_B2H[:, :H], h_n_TBH[t], out=n_BH).tanh_()
            y_BH = torch.lerp(n_BH, previous_BH, rz_B2H[:, H:], out=y_TBH[t])
        ctx.save_for_backward(keep_TB1, previous_TBH, rz_TB2H, n_TBH, h_n_TBH, weight_GH)
        return y_TBH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TBH: Tensor) -> tuple[Tensor | None, ...]:
        keep_TB1, previous_TBH, rz_TB2H, n_TBH, h_n_TBH, weight_GH = ctx.saved_tensors
        T, B, H = dy_TBH.shape
        r_TBH, z_TBH = rz_TB2H[:, :, :H], rz_TB2H[:, :, H:]
        # Each gate's derivative with respect to its pre-activation, for all steps at once.
        to_n_TBH = (1 - z_TBH) * (1 - n_TBH.square())
        to_z_TBH = (previous_TBH - n_TBH) * z_TBH * (1 - z_TBH)
        n_to_r_TBH = h_n_TBH * r_TBH * (1 - r_TBH)
        di_TBG, dh_TBG = dy_TBH.new_empty(T, B, 3 * H), dy_TBH.new_empty(T, B, 3 * H)
        carry_BH = torch.zeros_like(dy_TBH[0])
        for t in range(T - 1, -1, -1):
            dy_BH = dy_TBH[t] + carry_BH
            dh_BG = dh_TBG[t]
            dn_BH = torch.mul(dy_BH, to_n_TBH[t], out=di_TBG[t, :, 2 * H :])
            torch.mul(dn_BH, n_to_r_TBH[t], out=dh_BG[:, :H])
            torch.mul(dy_BH, to_z_TBH[t], out=dh_BG[:, H : 2 * H])
            torch.mul(dn_BH, r_TBH[t], out=dh_BG[:, 2 * H :])
            carry_BH = torch.addmm(dy_BH.mul_(z_TBH[t]), dh_BG, weight_GH).mul_(keep_TB1[t])
        di_TBG[:, :, : 2 * H] = dh_TBG[:, :, : 2 * H]
        dh_flat = dh_TBG.flatten(0, 1)
        dweight_GH = dh_flat.t() @ previous_TBH.flatten(0, 1)
        return di_TBG, None, carry_BH, dweight_GH, dh_flat.sum(dim=0)
