"""Drifts: what an update costs that moves the probability ratio r of an action of advantage A.

A policy maximises E[r·A − D(r, A)]. It improves monotonically if D ≥ 0, D = 0 at r = 1 and
∂D/∂r = 0 at r = 1 (mirror learning; Kuba et al. 2022). Here are PPO's drift, DPO's closed form, and
a learned one (LPO, Lu et al. 2022, arXiv 2210.05639; TA-LPO, Jackson et al. 2024, eq. 10):

    D = ReLU(D_ppo + g(x) − x₁ᵀ ∂g/∂x₁(0))
    x = (1 − r, (1 − r)², log r, (log r)²), the same times A, and all of it times each time feature

g is a tanh layer without biases, so g = 0 at r = 1. x₁ are the features that are of first order in
r − 1. Without the last term D would have a kink at r = 1, where a ReLU meets a slope. Lu et al.
subtract 10⁻⁴ from g instead; that flattens a zone no wider than 10⁻⁴/slope, and a rule whose g is 0
would not be PPO. With it D = O((r − 1)²) for every parameter, and each half of DPO is one hidden
unit: −2 (tanh u − u) with u = (r − 1)·A/2. The output weights begin at 0: then D is PPO's.

Shape legend: P rules (or none), M parameters, B any axes of steps, X features, H hidden.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.objectives.layout import Layout, Shapes
from quickstudy.agents.objectives.lifetime import Lifetime, TimeFeatures, num_time_features

LARGEST_LOG_RATIO = 20.0
"""Log-ratios are clipped to ± this before they are exponentiated."""

DPO_ALPHA, DPO_BETA = 2.0, 0.6
"""Constants of DPO's closed form (Lu et al. 2022)."""

_FEATURES = 8


def clipped(log_ratio: Tensor) -> Tensor:
    """Log-ratios whose exponentials, and their squares, are finite in float32; NaN stays NaN."""
    bounded = log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    # `clamp` has the gradient 0 at NaN, by which it would go unnoticed.
    return torch.where(log_ratio.isnan(), log_ratio, bounded)


def ppo_drift(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """ReLU((r − clip(r, 1 ± ε))·A), of the shape of its arguments: then r·A − D is the surrogate
    of Schulman et al. (2017, eq. 7).
    """
    ratio = log_ratio.exp()
    return ((ratio - ratio.clamp(1.0 - clip, 1.0 + clip)) * advantage).relu()


def dpo_drift(
    log_ratio: Tensor,
    advantage: Tensor,
    alpha: Tensor | float = DPO_ALPHA,
    beta: Tensor | float = DPO_BETA,
) -> Tensor:
    """The drift that Lu et al. (2022) read off a learned one; of the shape of its arguments.

    A ≥ 0: ReLU((r−1)A − α tanh((r−1)A/α)); A < 0: ReLU(log(r) A − β tanh(log(r) A/β)).
    """
    liked, disliked = torch.expm1(log_ratio) * advantage, log_ratio * advantage
    liked = liked - alpha * torch.tanh(liked / alpha)
    disliked = disliked - beta * torch.tanh(disliked / beta)
    return torch.where(advantage >= 0.0, liked, disliked).relu()


@dataclass(frozen=True)
class LearnedDriftConfig:
    """What a learned drift can see, and its size."""

    hidden_size: int = 32
    """H: tanh units."""
    time: TimeFeatures = "fraction"
    """How the lifetime is shown; none: LPO, fraction: TA-LPO."""
    clip: float = 0.2
    """ε of the PPO that discovery starts from."""
    entropy_coefficient: float | None = None
    """Where the rule also decides the weight of the entropy bonus: what it starts from; None: the
    learner's own stands."""


class LearnedDrift:
    """The drift's shape; its parameters are a rule, a row of M numbers."""

    def __init__(self, config: LearnedDriftConfig) -> None:
        self.config = config
        self.layout = Layout(_shapes(config))

    def first_rule(self, seed: int) -> Tensor:
        """`(M,)` float32; its drift is PPO's, because the output weights are a vector of 0."""
        return self.layout.random_row(seed)

    def __call__(
        self, rule: Tensor, log_ratio: Tensor, advantage: Tensor, lifetime: Lifetime
    ) -> Tensor:
        """D, of the shape of `log_ratio`; differentiable (twice) in all tensors.

        Args:
            rule: `(M,)`, or one of each agent, `(P, M)`.
            log_ratio: log π(a|s) − log π_old(a|s), `(B…)` or `(P, B…)`; clipped to ±20.
            advantage: A, whitened, of the same shape.
            lifetime: of scalars, or `(P,)`.
        """
        log_ratio = clipped(log_ratio)
        parts = self.layout.parts(rule)
        x_BX = _features(log_ratio, advantage).reshape(*rule.shape[:-1], -1, _FEATURES)
        weight_XH = _weight_now(parts["input"], lifetime.features(self.config.time))
        curved = _without_slope(x_BX, weight_XH, parts["output"].unsqueeze(-1))
        return (
            ppo_drift(log_ratio, advantage, self.config.clip) + curved.view_as(log_ratio)
        ).relu()

    def entropy_coefficient(self, rule: Tensor) -> Tensor | None:
        """`()` or `(P,)`; None where the rule does not decide it."""
        if self.config.entropy_coefficient is None:
            return None
        log_change = self.layout.parts(rule)["log_entropy"].squeeze(-1)
        return self.config.entropy_coefficient * log_change.exp()


def _shapes(config: LearnedDriftConfig) -> Shapes:
    inputs = _FEATURES * (1 + num_time_features(config.time))
    shapes: Shapes = {"input": (inputs, config.hidden_size), "output": (config.hidden_size,)}
    return shapes if config.entropy_coefficient is None else shapes | {"log_entropy": (1,)}


def _features(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """`(…, 8)`; those of first order in r − 1 stand at even places."""
    moved = -torch.expm1(log_ratio)
    x = torch.stack([moved, moved.square(), log_ratio, log_ratio.square()], dim=-1)
    return torch.cat([x, x * advantage.unsqueeze(-1)], dim=-1)


def _weight_now(weight: Tensor, time: Tensor) -> Tensor:
    """The input weights of x, `(…, 8, H)`, where those of time feature × x have been added in.

    Time is the same for all steps of an update: what multiplies x may as well multiply its weights.
    """
    blocks = weight.reshape(*weight.shape[:-2], -1, _FEATURES, weight.shape[-1])
    time = time.to(weight.dtype)
    factor = torch.cat([time.new_ones(*time.shape[:-1], 1), time], dim=-1)
    return (factor[..., None, None] * blocks).sum(dim=-3)


def _without_slope(x_BX: Tensor, weight_XH: Tensor, output_H1: Tensor) -> Tensor:
    """g(x) − x₁ᵀ ∂g/∂x₁(0), `(…, B)`."""
    curve_B1 = torch.tanh(x_BX @ weight_XH) @ output_H1
    slope_X1 = weight_XH[..., ::2, :] @ output_H1
    # Not as a product of matrices: of every second column, torch makes one call per rule.
    straight_B = (x_BX[..., ::2] * slope_X1.mT).sum(dim=-1)
    return curve_B1.squeeze(-1) - straight_B
