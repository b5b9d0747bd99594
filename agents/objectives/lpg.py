"""LPG and TA-LPG: a recurrent network that tells an agent what to learn from its experience.

The learned policy gradient of Oh et al. (2020, arXiv 2007.08794) with the time features of Jackson
et al. (2024, arXiv 2402.05828, eq. 9). The agent predicts a categorical vector y(s) beside its
policy; for each step the network, which reads time backwards, says how far to move the policy
(π̂) and what y should have been (ŷ):

    Δθ ∝ Σ_t [ π̂_t ∇ log π(a_t|s_t) − α_y ∇ KL(y(s_t) ‖ ŷ_t) ]

Parameters are stacked: every agent has a network of its own, and one batched product does for all.

Shape legend: P agents, T time, E copies, M parameters, H hidden, F inputs, Y prediction (m).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.objectives.layout import Layout, Shapes
from quickstudy.agents.objectives.lifetime import Lifetime, TimeFeatures, num_time_features
from quickstudy.agents.objectives.stacked_gru import dense, gru_shapes, gru_step
from quickstudy.envs.errors import require_positive

_PER_STEP = 5
"""Inputs that differ from step to step: r, d, π(a|s), φ(y_t), φ(y_{t+1})."""


@dataclass(frozen=True)
class LPGConfig:
    """Sizes of the network."""

    width: int = 16
    """H: features of the recurrent state."""
    prediction_size: int = 8
    """m: categories of the agent's prediction y."""
    embedding_width: int = 16
    """Hidden features of φ, which makes one number of y."""
    time: TimeFeatures = "fraction-log"
    """How the lifetime is shown; none: plain LPG."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a size below 1."""
        for name in ("width", "prediction_size", "embedding_width"):
            require_positive(name, getattr(self, name))


@dataclass(frozen=True)
class Experience:
    """What agents did in one rollout; every tensor is of the rule's floating type but `ended`."""

    reward: Tensor
    """`(P, T, E)`."""
    ended: Tensor
    """`(P, T, E)` bool: True where the step ended an episode."""
    prob: Tensor
    """`(P, T, E)`: π(a_t|s_t) of the action taken."""
    prediction: Tensor
    """`(P, T + 1, E, m)`: y, probabilities, of the states before each step and after the last one.

    After a step that ended an episode any state may stand: there y(s_{t+1}) is not looked at.
    """
    discount: Tensor
    """γ, `(P,)`."""


class LPG:
    """The network's shape; its parameters are a rule, a row of M numbers."""

    def __init__(self, config: LPGConfig) -> None:
        self.config = config
        self.layout = Layout(_shapes(config))

    def first_rule(self, seed: int) -> Tensor:
        """`(M,)` float32: weights N(0, 1/inputs), biases 0."""
        return self.layout.random_row(seed)

    def embedded(self, rule_PM: Tensor, prediction_PUEY: Tensor) -> Tensor:
        """φ(y), `(P, U, E)`: the one number that the network sees of a prediction."""
        return _embedded(self.layout.parts(rule_PM), prediction_PUEY)

    def targets(
        self, rule_PM: Tensor, experience: Experience, lifetime: Lifetime
    ) -> tuple[Tensor, Tensor]:
        """What to learn: π̂ `(P, T, E)` and log ŷ `(P, T, E, m)`; differentiable in all inputs.

        Agents who share one rule hand over `rule_M.expand(P, M)`. The lifetime's tensors are
        `(P,)`.
        """
        parts = self.layout.parts(rule_PM)
        gates_PTEG = _input_gates(parts, experience, lifetime.features(self.config.time))
        state_PTEH = _backwards(parts, gates_PTEG, ~experience.ended)
        return _heads(parts, state_PTEH)


def _shapes(config: LPGConfig) -> Shapes:
    inputs = _PER_STEP + 1 + num_time_features(config.time)
    outputs = 1 + config.prediction_size
    return {
        "embedding_in": (config.prediction_size, config.embedding_width),
        "embedding_in_bias": (config.embedding_width,),
        "embedding_out": (config.embedding_width, 1),
        "embedding_out_bias": (1,),
        **gru_shapes(inputs, config.width),
        "head": (config.width, outputs),
        "head_bias": (outputs,),
    }


def _input_gates(parts: dict[str, Tensor], experience: Experience, time_PF: Tensor) -> Tensor:
    """What the inputs add to the gates, for all steps at once: `(P, T, E, 3H)`."""
    going_PTE = (~experience.ended).to(experience.reward.dtype)
    phi_PUE = _embedded(parts, experience.prediction)
    x_PTEF = torch.stack(
        [
            experience.reward,
            experience.discount[:, None, None] * going_PTE,
            experience.prob,
            phi_PUE[:, :-1],
            phi_PUE[:, 1:] * going_PTE,
        ],
        dim=-1,
    )
    shared_PF = torch.cat([experience.discount[:, None], time_PF.to(going_PTE.dtype)], dim=-1)
    weight_PFG = parts["input"]
    bias_P1G = torch.baddbmm(
        parts["input_bias"].unsqueeze(1), shared_PF.unsqueeze(1), weight_PFG[:, _PER_STEP:]
    )
    return dense(x_PTEF, weight_PFG[:, :_PER_STEP], bias_P1G.squeeze(1))


def _embedded(parts: dict[str, Tensor], y_PUEY: Tensor) -> Tensor:
    """φ(y), `(P, U, E)`."""
    hidden = dense(y_PUEY, parts["embedding_in"], parts["embedding_in_bias"]).relu()
    return dense(hidden, parts["embedding_out"], parts["embedding_out_bias"])[..., 0]


def _backwards(parts: dict[str, Tensor], gates_PTEG: Tensor, going_PTE: Tensor) -> Tensor:
    """A GRU from the last step to the first, blank at the end of each episode: `(P, T, E, H)`."""
    num_agents, num_steps, num_copies, _ = gates_PTEG.shape
    keep_PTE1 = going_PTE.to(gates_PTEG.dtype).unsqueeze(-1)
    state_PEH = gates_PTEG.new_zeros(num_agents, num_copies, parts["recurrent"].shape[1])
    states: list[Tensor] = []
    for t in reversed(range(num_steps)):
        state_PEH = gru_step(parts, gates_PTEG[:, t], state_PEH * keep_PTE1[:, t])
        states.append(state_PEH)
    return torch.stack(states[::-1], dim=1)


def _heads(parts: dict[str, Tensor], state_PTEH: Tensor) -> tuple[Tensor, Tensor]:
    out = dense(state_PTEH.relu(), parts["head"], parts["head_bias"])
    logits = out[..., 1:]
    # Over so few categories this takes half the time of `log_softmax`.
    return out[..., 0], logits - logits.logsumexp(dim=-1, keepdim=True)
