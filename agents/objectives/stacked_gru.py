"""Recurrent networks of many agents, stacked: one product of matrices per step for all of them.

Shape legend: P agents, E copies, F inputs, H hidden features, G = 3H gates (reset, update,
proposal).
"""

import torch
from torch import Tensor

from quickstudy.agents.objectives.layout import Shapes


def gru_shapes(inputs: int, width: int) -> Shapes:
    """The parts of a rule that `dense` (with the first two) and `gru_step` are called with."""
    return {
        "input": (inputs, 3 * width),
        "input_bias": (3 * width,),
        "recurrent": (width, 3 * width),
        "recurrent_bias": (width,),
    }


def dense(x: Tensor, weight_PFG: Tensor, bias_PG: Tensor) -> Tensor:
    """A layer of each agent's own: `(P, …, F)` to `(P, …, G)`."""
    rows = x.reshape(len(x), -1, x.shape[-1])
    out = torch.baddbmm(bias_PG.unsqueeze(1), rows, weight_PFG)
    return out.reshape(*x.shape[:-1], -1)


def gru_step(parts: dict[str, Tensor], gates_PEG: Tensor, state_PEH: Tensor) -> Tensor:
    """The states after one more step `(P, E, H)` (Cho et al. 2014, arXiv 1406.1078).

    Args:
        parts: of the rules, of which `recurrent` and `recurrent_bias` are used here.
        gates_PEG: what the step's inputs add to the gates.
        state_PEH: the states before it.
    """
    width = state_PEH.shape[-1]
    recurrent_PEG = torch.bmm(state_PEH, parts["recurrent"])
    both = torch.sigmoid(gates_PEG[..., : 2 * width] + recurrent_PEG[..., : 2 * width])
    reset_PEH, update_PEH = both.chunk(2, dim=-1)
    proposal_PEH = recurrent_PEG[..., 2 * width :] + parts["recurrent_bias"].unsqueeze(1)
    new_PEH = torch.tanh(torch.addcmul(gates_PEG[..., 2 * width :], reset_PEH, proposal_PEH))
    return torch.lerp(new_PEH, state_PEH, update_PEH)
