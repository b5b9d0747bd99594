"""Learning a rule within single lives: every stream has a rule of its own and improves it.

The estimators of this folder average many lives into the gradient of one shared rule, and look
ahead without a life's clock moving. Here each of P seeds is an experiment by itself: rules, their
gradients and Adam's moments are rows, so that P streams side by side are P runs. And every step
that is taken has happened: a stream cannot be turned back.

A window is K + L rollouts long (Flennerhag et al. 2022, arXiv 2109.04504), whatever the method:

- fixed: K + L updates, and the rule stays;
- mg (a plain meta-gradient): K + L − 1 updates with the graph, and the outer objective on the last
  rollout;
- bmg (bootstrapped): K updates with the graph; L − 1 more and a step on the policy gradient
  alone, both without, are the target; the rule descends KL(π_target ‖ π_K). The stream goes on
  with the agent of before that last step.

Shape legend: P streams, M parameters of a rule.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows, detached
from quickstudy.agents.lifetimes.streams import StreamLifetimes, with_learners_of
from quickstudy.envs.errors import require_positive, unknown

Method = Literal["fixed", "mg", "bmg"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class OnlineConfig:
    """How rules are learned, as in the public replications."""

    method: Method = "bmg"
    updates: int = 7
    """K: updates that bmg's gradient goes through."""
    bootstrap: int = 9
    """L: further steps to bmg's target. The window of every method is K + L rollouts."""
    lr: float = 1e-4
    """Adam's, for the rule."""
    epsilon: float = 1e-4
    """Adam's."""

    @property
    def window(self) -> int:
        """Rollouts of a window."""
        return self.updates + self.bootstrap


class Online:
    """P lives and the rules they learn."""

    def __init__(
        self, lifetimes: StreamLifetimes, config: OnlineConfig, rule_PM: Tensor, key_P: Tensor
    ) -> None:
        """Raise `ValueError` for an unknown method, or K or L below 1."""
        if config.method not in METHODS:
            raise unknown("method", config.method, METHODS)
        require_positive("updates", config.updates)
        require_positive("bootstrap", config.bootstrap)
        self.lifetimes = lifetimes
        self.config = config
        self.rule_PM = rule_PM.clone().requires_grad_(config.method != "fixed")
        self.rows = lifetimes.begin(key_P)
        self._adam = torch.optim.Adam([self.rule_PM], lr=config.lr, eps=config.epsilon)
        self._window = {"fixed": self._keep, "mg": self._ascend, "bmg": self._match}[config.method]

    def window(self) -> None:
        """Live through one window, and improve the rule."""
        self.rows = detached(self._window(detached(self.rows)))

    def state_dict(self) -> dict[str, Any]:
        """All that the next window depends on, in copies."""
        rule, adam = self.rule_PM.detach().clone(), deepcopy(self._adam.state_dict())
        return {"rule": rule, "adam": adam, "rows": dict(self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, bit for bit."""
        self.rule_PM.data.copy_(state["rule"])
        self._adam.load_state_dict(state["adam"])
        self.rows = state["rows"]

    @torch.no_grad()
    def _keep(self, rows: Rows) -> Rows:
        return self.lifetimes.learn(self.rule_PM, rows, self.config.window)

    def _ascend(self, rows: Rows) -> Rows:
        rows = self.lifetimes.learn(self.rule_PM, rows, self.config.window - 1)
        experience, after = self.lifetimes.observe(rows)
        self._descend(-self.lifetimes.objective(rows, experience))
        return after

    def _match(self, rows: Rows) -> Rows:
        reached = self.lifetimes.learn(self.rule_PM, rows, self.config.updates)
        with torch.no_grad():
            latest = self.lifetimes.learn(
                self.rule_PM, detached(reached), self.config.bootstrap - 1
            )
            target = self.lifetimes.improve(latest)
        self._descend(self.lifetimes.divergence(target, reached))
        return with_learners_of(target, latest)

    def _descend(self, loss_P: Tensor) -> None:
        """A step of Adam; a row's gradient is that of its own loss alone."""
        (self.rule_PM.grad,) = torch.autograd.grad(loss_P.sum(), self.rule_PM)
        self._adam.step()
