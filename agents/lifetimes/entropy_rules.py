"""A rule that says how much an agent is to explore now: its entropy weight, by what it lately saw.

Flennerhag et al. 2022 (Bootstrapped Meta-Learning, arXiv 2109.04504) on Two-Colours; the kinds of
context are those of Luketina et al. 2022 (appendix A).

Shape legend: P agents, M parameters, R recent rollouts, C signals of each, I inputs, H hidden.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from quickstudy.agents.objectives.layout import Layout, Shapes
from quickstudy.envs import rng
from quickstudy.envs.errors import unknown

Context = Literal["constant", "none", "reward", "rich"]
CONTEXTS: tuple[Context, ...] = get_args(Context)

RECENT = 10
"""R: rollouts that the rule looks back on."""
NUM_SIGNALS = 3
"""C: a rollout's mean reward, mean TD error and mean value."""
HIDDEN = 32


class EntropyRule:
    """ε in [0, 1] for each agent.

    - constant: σ of a single logit;
    - none: a network that always reads ones, as large as that of `reward`, so that it learns as
      fast and differs in what it knows alone;
    - reward: a network reading the mean rewards of the last ten rollouts;
    - rich: the same with their mean TD errors and mean values.
    """

    def __init__(self, context: Context) -> None:
        """Raise `ValueError` for an unknown context."""
        if context not in CONTEXTS:
            raise unknown("context", context, CONTEXTS)
        self.context = context
        self.layout = Layout(_shapes(context))

    def first_rule(self, seed: int) -> Tensor:
        """`(M,)` float32, ε = 0.5 whatever the context: the last layer is zero."""
        rule_M = torch.zeros(self.layout.num_parameters)
        if self.context == "constant":
            return rule_M
        parts = self.layout.parts(rule_M)  # views
        key = rng.root_key(seed, rng.Stream.WEIGHTS)
        for number, name in enumerate(("input", "input_bias")):
            part = parts[name]
            draws = rng.uniform(rng.fold_in(key, number), part.numel()).view(part.shape)
            part.copy_((2.0 * draws - 1.0) * parts["input"].shape[0] ** -0.5)
        return rule_M

    def entropy_weight(self, rule_PM: Tensor, context_PRC: Tensor) -> Tensor:
        """ε `(P,)` of rules `(P, M)`; differentiable in the rules. Oldest rollouts come first."""
        parts = self.layout.parts(rule_PM)
        if self.context == "constant":
            return torch.sigmoid(parts["logit"].squeeze(-1))
        x_PI = _inputs(self.context, context_PRC)
        hidden_P1H = torch.baddbmm(
            parts["input_bias"].unsqueeze(1), x_PI.unsqueeze(1), parts["input"]
        ).relu()
        return torch.sigmoid((hidden_P1H.squeeze(1) * parts["output"]).sum(1) + parts["bias"][:, 0])


def constant_rule(entropy_weight: float) -> Tensor:
    """The `constant` rule `(1,)` for ε in [0, 1]; 0 and 1 are exact (an infinite logit)."""
    assert 0.0 <= entropy_weight <= 1.0
    return torch.tensor([entropy_weight]).logit()


def _shapes(context: Context) -> Shapes:
    if context == "constant":
        return {"logit": (1,)}
    inputs = RECENT * NUM_SIGNALS if context == "rich" else RECENT
    return {
        "input": (inputs, HIDDEN),
        "input_bias": (HIDDEN,),
        "output": (HIDDEN,),
        "bias": (1,),
    }


def _inputs(context: Context, context_PRC: Tensor) -> Tensor:
    if context == "rich":
        return context_PRC.flatten(start_dim=1)
    reward_PR = context_PRC[..., 0]
    return reward_PR if context == "reward" else torch.ones_like(reward_PR)
