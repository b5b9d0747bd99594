"""PPO with another drift: DPO's closed form, or a learned one.

Shape legend: T time, B worlds, M parameters.
"""

from abc import abstractmethod

from torch import Tensor

from quickstudy.agents.objectives.dpo_family import DPOFamily
from quickstudy.agents.objectives.drifts import LearnedDrift, clipped, dpo_drift
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.ppo import PPO, PPOConfig


class DriftObjective(PPO):
    """Maximises the mean of r·A − D(r, A)."""

    @abstractmethod
    def drift(self, log_ratio_TB: Tensor, advantage_TB: Tensor) -> Tensor:
        """D, `(T, B)`."""

    def surrogate(self, log_ratio_TB: Tensor, advantage_TB: Tensor) -> Tensor:
        """r·A − D."""
        log_ratio_TB = clipped(log_ratio_TB)
        drift_TB = self.drift(log_ratio_TB, advantage_TB)
        return log_ratio_TB.exp() * advantage_TB - drift_TB


class DPO(DriftObjective):
    """Discovered policy optimisation (Lu et al. 2022)."""

    def drift(self, log_ratio_TB: Tensor, advantage_TB: Tensor) -> Tensor:
        return dpo_drift(log_ratio_TB, advantage_TB)


class LearnedDriftObjective(DriftObjective):
    """LPO, TA-LPO or what they were distilled into, with a given rule, which stays as it is."""

    def __init__(
        self, config: PPOConfig, learned: LearnedDrift | DPOFamily, rule_M: Tensor
    ) -> None:
        super().__init__(config)
        self.learned = learned
        self.register_buffer("rule_M", rule_M)
        self.rule_M: Tensor
        self._lifetime: Lifetime | None = None

    @property
    def entropy_coefficient(self) -> float | Tensor:
        """The rule's, where it decides it."""
        learned = self.learned.entropy_coefficient(self.rule_M)
        return super().entropy_coefficient if learned is None else learned

    def begin_update(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime

    def drift(self, log_ratio_TB: Tensor, advantage_TB: Tensor) -> Tensor:
        assert self._lifetime is not None, "begin_update comes before an update"
        return self.learned(self.rule_M, log_ratio_TB, advantage_TB, self._lifetime)
