"""Advantage actor-critic (Mnih et al. 2016): the plain policy gradient."""

from torch import Tensor

from quickstudy.agents.objectives.ppo import PPO


class A2C(PPO):
    """PPO without the clipping: nothing holds the policy back but the learner's own limits.

    With `--learner.epochs 1` each rollout is used once, as in the paper; later epochs are no longer
    on policy.
    """

    def surrogate(self, log_ratio_TB: Tensor, advantage_TB: Tensor) -> Tensor:
        """The policy gradient's, log π·A, up to a constant."""
        return log_ratio_TB * advantage_TB
