"""The rule that the exact oracle differentiates: what an advantage becomes, and what entropy earns.

u(A, log π, x) = A + w₂ · tanh(W₁ [A, log π, x] + b₁), and an entropy coefficient β(x) = c + v · x,
with x the time features. Where w₂, c and v are 0 (generation 0), the rule is the plain policy
gradient. (u needs no second bias: what is the same for all actions moves no softmax.)

Shape legend: P agents, M parameters of a rule, S states, A actions, F time features, H hidden
units, I = 2 + F inputs of the network.
"""

import math

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.exact_mdps import Evaluation
from quickstudy.agents.objectives.layout import Layout
from quickstudy.envs import rng


def rule_layout(hidden_size: int, num_features: int) -> Layout:
    """Where each part of the rule stands in its row of M numbers."""
    inputs = 2 + num_features
    return Layout(
        {
            "hidden_weight": (hidden_size, inputs),
            "hidden_bias": (hidden_size,),
            "drive_weight": (hidden_size,),
            "entropy_weight": (num_features,),
            "entropy_bias": (),
        }
    )


def first_rule(layout: Layout, seed: int) -> Tensor:
    """Generation 0, `(M,)` float32: random hidden weights of variance 1/I, all the rest 0."""
    rule_M = torch.zeros(layout.num_parameters)
    hidden_HI = layout.parts(rule_M)["hidden_weight"]
    draws = rng.normal(rng.root_key(seed, rng.Stream.WEIGHTS), hidden_HI.numel())
    hidden_HI.copy_((draws / math.sqrt(hidden_HI.shape[1])).view_as(hidden_HI))
    return rule_M


def direction(
    parts: dict[str, Tensor], features_PF: Tensor, logits_PSA: Tensor, worth: Evaluation
) -> Tensor:
    """Where the rule moves the logits of the policy, `(P, S, A)` float64.

    Σ_s d(s) [Σ_a π(a|s) u(s, a) ∇log π(a|s) + β ∇H(π(·|s))], u taken as a constant. Under a softmax
    that is d(s) π(a|s) (w(s, a) − Σ_b π(b|s) w(s, b)) with w = u − β log π. Where u = A and β = 0
    it is the gradient of the return per step.

    Args:
        parts: of the rules, as `rule_layout` names them, float64.
        features_PF: float64.
        logits_PSA: θ; the policy is their softmax.
        worth: of that policy.
    """
    log_policy_PSA = logits_PSA.log_softmax(dim=2)
    policy_PSA = log_policy_PSA.exp()
    drive_PSA = _drive(parts, features_PF, log_policy_PSA, worth.advantage_PSA)
    entropy_P = parts["entropy_bias"] + (parts["entropy_weight"] * features_PF).sum(dim=1)
    wish_PSA = drive_PSA - entropy_P[:, None, None] * log_policy_PSA
    mean_PS1 = (policy_PSA * wish_PSA).sum(dim=2, keepdim=True)
    return worth.visits_PS.unsqueeze(2) * policy_PSA * (wish_PSA - mean_PS1)


def _drive(
    parts: dict[str, Tensor], features_PF: Tensor, log_policy_PSA: Tensor, advantage_PSA: Tensor
) -> Tensor:
    """u, `(P, S, A)`."""
    weight_PHI = parts["hidden_weight"]
    hidden_PH = (weight_PHI[..., 2:] @ features_PF.unsqueeze(2)).squeeze(2) + parts["hidden_bias"]
    seen_PSA2 = torch.stack([advantage_PSA, log_policy_PSA], dim=3)
    hidden_PSAH = torch.einsum("psai,phi->psah", seen_PSA2, weight_PHI[..., :2])
    active_PSAH = torch.tanh(hidden_PSAH + hidden_PH[:, None, None])
    change_PSA = (active_PSAH * parts["drive_weight"][:, None, None]).sum(dim=3)
    return advantage_PSA + change_PSA
