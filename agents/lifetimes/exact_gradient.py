"""The oracle: how the score at the end of a life changes with the rule, through every update.

Shape legend: P lives, M parameters of a rule, W windows of a life.
"""

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import DifferentiableLifetimes
from quickstudy.envs import rng


def exact_gradient(
    lifetimes: DifferentiableLifetimes, rule_M: Tensor, key_P: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores of whole lives `(P,)` and their gradients with respect to the rule `(P, M)`, float64.

    By reverse differentiation through all updates; exact where `surrogate` is the score, as in
    `ExactLifetimes`. All lives must be of the same length.
    """
    num_updates = _length(lifetimes, key_P)
    perturbation_PM = torch.zeros(len(key_P), len(rule_M), dtype=torch.float64)
    return perturbed_gradient(lifetimes, rule_M, perturbation_PM.unsqueeze(1), key_P, num_updates)


def smoothed_gradient(
    lifetimes: DifferentiableLifetimes,
    rule_M: Tensor,
    key_P: Tensor,
    *,
    deviation: float,
    window: int,
    seed: int,
) -> Tensor:
    """What evolution strategies estimate: one draw for each life, `(P, M)` float64.

    The gradient of E_ε[J(rule + σ ε)] is E_ε[∇J(rule + σ ε)], whose draws vary less than those of
    an evolution strategy, which are made of scores alone. Life i and life i + P/2 have opposite ε:
    only pairs of draws are independent, and both should have one key.

    Args:
        lifetimes: of one length.
        rule_M: where to smooth around.
        key_P: an even number of lives.
        deviation: σ.
        window: updates that share an ε. The lifetime: OpenAI-ES. Fewer: persistent ES, which
            perturbs each window anew (Vicol et al. 2021, section 4) and so smooths J as a function
            of all windows' rules.
        seed: of ε.
    """
    num_pairs, num_windows = len(key_P) // 2, -(-_length(lifetimes, key_P) // window)
    pair_keys = rng.world_keys(seed, rng.Stream.EVALUATION, num_pairs)
    noise = rng.normal(pair_keys, num_windows * len(rule_M)).view(num_pairs, num_windows, -1)
    perturbation_PWM = deviation * torch.cat([noise, -noise])
    return perturbed_gradient(lifetimes, rule_M, perturbation_PWM, key_P, window)[1]


def perturbed_gradient(
    lifetimes: DifferentiableLifetimes,
    rule_M: Tensor,
    perturbation_PWM: Tensor,
    key_P: Tensor,
    window: int,
) -> tuple[Tensor, Tensor]:
    """Scores `(P,)`, and gradients `(P, M)` with respect to the rule that all windows share.

    In window w a life learns by the rule plus `perturbation_PWM[:, w]`.
    """
    num_updates = _length(lifetimes, key_P)
    with torch.enable_grad():
        rule_PM = rule_M.detach().to(torch.float64).expand(len(key_P), -1).clone().requires_grad_()
        rows = lifetimes.begin(key_P)
        for number, start in enumerate(range(0, num_updates, window)):
            perturbed_PM = rule_PM + perturbation_PWM[:, number]
            rows = lifetimes.learn(perturbed_PM, rows, min(window, num_updates - start))
        score_P, _ = lifetimes.surrogate(rows)
        (gradient_PM,) = torch.autograd.grad(score_P.sum(), rule_PM)
    return score_P.detach(), gradient_PM


def _length(lifetimes: DifferentiableLifetimes, key_P: Tensor) -> int:
    """N, of all lives."""
    lengths = torch.unique(lifetimes.total(key_P)).tolist()
    if len(lengths) != 1:
        raise ValueError(f"The lives must be of one length, got {lengths}.")
    return int(lengths[0])
