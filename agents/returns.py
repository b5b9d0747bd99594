"""Advantages and returns over whole trials.

Shape legend: T time, B worlds.
"""

import torch
from torch import Tensor


def gae(
    reward_TB: Tensor,
    value_TB: Tensor,
    next_value_TB: Tensor,
    trial_end_TB: Tensor,
    *,
    discount: float,
    trace: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, eq. 16), cut only where trials end.

    The ends of inner episodes are ordinary steps: credit and value flow through them into the rest
    of the trial, which is what makes exploring in episode 1 worth its cost.

    Args:
        reward_TB: reward of the action at t.
        value_TB: value of the step at t.
        next_value_TB: value of the true successor of t: of step t + 1 within a trial, and at a
            trial's end 0 (known horizon) or the value of the final observation (open-ended).
        trial_end_TB: bool; True where the action at t ended its trial.
        discount: γ.
        trace: λ.

    Returns:
        Advantages, `(T, B)`.
    """
    delta_TB = reward_TB + discount * next_value_TB - value_TB
    decay_TB = discount * trace * (~trial_end_TB).to(reward_TB.dtype)
    advantage_TB = torch.empty_like(delta_TB)
    carry_B = torch.zeros_like(delta_TB[0])
    for t in range(len(delta_TB) - 1, -1, -1):
        carry_B = torch.addcmul(delta_TB[t], decay_TB[t], carry_B, out=advantage_TB[t])
    return advantage_TB
