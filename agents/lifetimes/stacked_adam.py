"""Adam for a matrix of parameters, each row with a step size and a length of gradient of its own.

Shape legend: P agents, W weights of an agent.
"""

import torch
from torch import Tensor

BETA_MEAN, BETA_SQUARE = 0.9, 0.999
EPSILON = 1e-5
"""As the suite's learner has it (Huang et al. 2022)."""


def clip_rows(gradient_PW: Tensor, largest_norm: float) -> Tensor:
    """Rows longer than `largest_norm` are scaled down to it, `(P, W)`; NaN stays in its row."""
    norm_P1 = torch.linalg.vector_norm(gradient_PW, dim=1, keepdim=True)
    scale_P1: Tensor = (largest_norm / (norm_P1 + 1e-6)).clamp(max=1.0)
    return gradient_PW * scale_P1


@torch.no_grad()
def adam_step(
    weight_PW: Tensor,
    gradient_PW: Tensor,
    mean_PW: Tensor,
    square_PW: Tensor,
    steps_P: Tensor,
    rate_P: Tensor,
) -> None:
    """One step of Adam (Kingma & Ba 2015, algorithm 1), in place.

    Args:
        weight_PW: parameters, changed.
        gradient_PW: downhill is against it.
        mean_PW: running mean of gradients, changed; zeros before the first step.
        square_PW: running mean of their squares, changed.
        steps_P: steps done before this one, int64, changed.
        rate_P: step sizes, `(P,)`.
    """
    steps_P += 1
    mean_PW.lerp_(gradient_PW, 1.0 - BETA_MEAN)
    square_PW.mul_(BETA_SQUARE).addcmul_(gradient_PW, gradient_PW, value=1.0 - BETA_SQUARE)
    # In float64, as torch.optim.Adam has them: 0.999^t is close to 1.
    count_P1 = steps_P.to(torch.float64).unsqueeze(1)
    root_P1 = (1.0 - BETA_SQUARE**count_P1).sqrt().to(weight_PW.dtype)
    scale_P1 = rate_P.to(torch.float64).unsqueeze(1) / (1.0 - BETA_MEAN**count_P1)
    denominator_PW = square_PW.sqrt().div_(root_P1).add_(EPSILON)
    weight_PW.sub_(mean_PW.div(denominator_PW).mul_(scale_P1.to(weight_PW.dtype)))
