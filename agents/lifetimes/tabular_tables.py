"""Closed-form learning of tables: the gradients of softmaxes, by hand.

Nothing here calls autograd, and everything can be differentiated: so gradients with respect to a
rule flow through whole updates.

Shape legend: P agents, T steps, E copies, S states, A actions, Y prediction, X entries of a row.
"""

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout, at_states, table_rows
from quickstudy.agents.returns import gae

MAX_NORM = 0.5
"""To which an agent's gradients are shortened, each table's by itself (Jackson et al. 2023,
released settings)."""
_TINY = 1e-30
"""Below the square of any norm that matters: √ has no gradient at 0."""


def log_softmax(x: Tensor) -> Tensor:
    """Over the last dimension; for few entries in a fifth of the time of `torch.log_softmax`."""
    shifted = x - x.detach().amax(dim=-1, keepdim=True)
    return shifted - shifted.exp().sum(dim=-1, keepdim=True).log()


def policy_direction(log_policy_PTEA: Tensor, action_PTE: Tensor, weight_PTE: Tensor) -> Tensor:
    """Weight w times ∇ log π(a) with respect to the logits: w (e_a − π), `(P, T, E, A)`."""
    weight_PTE1 = weight_PTE.unsqueeze(-1)
    return (log_policy_PTEA.exp() * -weight_PTE1).scatter_add(
        -1, action_PTE.unsqueeze(-1), weight_PTE1
    )


def entropy_direction(log_policy_PTEA: Tensor) -> Tensor:
    """∇H(π) with respect to the logits: −π (log π + H), `(P, T, E, A)`."""
    policy_PTEA = log_policy_PTEA.exp()
    return -policy_PTEA * (log_policy_PTEA + entropy(log_policy_PTEA).unsqueeze(-1))


def prediction_direction(log_y_PTEY: Tensor, log_target_PTEY: Tensor) -> Tensor:
    """−∇KL(y ‖ ŷ) with respect to the logits of y: −y (log y − log ŷ − KL), `(P, T, E, Y)`."""
    y_PTEY, apart_PTEY = log_y_PTEY.exp(), log_y_PTEY - log_target_PTEY
    kl_PTE1 = (y_PTEY * apart_PTEY).sum(dim=-1, keepdim=True)
    return -y_PTEY * (apart_PTEY - kl_PTE1)


def entropy(log_policy: Tensor) -> Tensor:
    """H of softmax rows, in nats: one dimension less."""
    return -(log_policy.exp() * log_policy).sum(dim=-1)


def ascend(
    table_PSX: Tensor,
    state_PTE: Tensor,
    direction_PTEX: Tensor,
    rate_P: Tensor | float,
    max_norm: float = MAX_NORM,
) -> Tensor:
    """The table one step of gradient ascent later.

    The gradient is the mean of the directions over T · E; where its norm over an agent's whole
    table exceeds `max_norm`, it is shortened to it.
    """
    num_samples = state_PTE[0].numel()
    gradient_PSX = scattered(table_PSX, state_PTE, direction_PTEX) / num_samples
    norm_P = gradient_PSX.square().sum(dim=(1, 2)).clamp(min=_TINY).sqrt()
    step_P = rate_P * (max_norm / norm_P).clamp(max=1.0)
    return torch.addcmul(table_PSX, gradient_PSX, step_P[:, None, None])


def scattered(table_PSX: Tensor, state_PTE: Tensor, value_PTEX: Tensor) -> Tensor:
    """The sum of values at each state, `(P, S, X)`."""
    flat = table_rows(table_PSX, state_PTE)
    rows = value_PTEX.reshape(len(flat), -1)
    empty = rows.new_zeros(table_PSX.shape[0] * table_PSX.shape[1], rows.shape[1])
    return empty.index_add(0, flat, rows).view(*table_PSX.shape[:2], -1)


# --- the critic -------------------------------------------------------------------------------


@torch.no_grad()
def advantages(
    value_PS: Tensor, rollout: TabularRollout, *, discount: float, trace: float
) -> Tensor:
    """Generalised advantage estimates by a table of values, cut where episodes end: `(P, T, E)`."""
    value_PUE = at_states(value_PS.unsqueeze(-1), rollout.states).squeeze(-1)
    next_value_PTE = value_PUE[:, 1:].where(~rollout.ended, 0.0)
    tensors = (rollout.reward, value_PUE[:, :-1], next_value_PTE, rollout.ended)
    reward, value, next_value, ended = (x.transpose(0, 1) for x in tensors)
    return gae(reward, value, next_value, ended, discount=discount, trace=trace).transpose(0, 1)


@torch.no_grad()
def criticised(
    value_PS: Tensor, rollout: TabularRollout, advantage_PTE: Tensor, *, rate: float
) -> Tensor:
    """Values after one step of TD(λ): V(s) + rate × the mean advantage over the visits of s.

    A mean over visits, not over the rollout: so a rate of at most 1 never overshoots, however often
    a state was met.
    """
    pairs = torch.stack([advantage_PTE, torch.ones_like(advantage_PTE)], dim=-1)
    total_PS, visits_PS = scattered(value_PS.unsqueeze(-1), rollout.state, pairs).unbind(dim=-1)
    return value_PS + rate * total_PS / visits_PS.clamp(min=1.0)
