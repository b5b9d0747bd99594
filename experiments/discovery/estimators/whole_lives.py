"""What evolution strategies over whole lives share: antithetic pairs, from birth to final score.

Shape legend: M parameters of a rule.
"""

from abc import abstractmethod

from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.estimators.estimator import Estimator, Shard
from quickstudy.experiments.discovery.estimators.pairs import (
    live_in_pairs,
    pair_shards,
    require_sigma,
)
from quickstudy.experiments.discovery.keys import Purpose, keys


class WholeLivesES(Estimator):
    """Every generation, new pairs live whole lives around the rule."""

    def __init__(
        self, lifetimes: Lifetimes, seed: int, pairs: int, sigma: float, shard: int
    ) -> None:
        super().__init__(lifetimes, seed)
        require_positive("pairs", pairs)
        require_positive("shard", shard)
        require_sigma(sigma)
        self._pairs, self._shard = pairs, shard

    @abstractmethod
    def spread(self) -> Tensor:
        """The perturbations' standard deviation, a scalar or `(M,)`, float64."""

    def shards(self, rule_M: Tensor) -> list[Shard]:
        return pair_shards(
            self.lifetimes,
            rule_M,
            self.spread(),
            keys(self.seed, Purpose.LIFE, self.generation, self._pairs),
            keys(self.seed, Purpose.PERTURBATION, self.generation, self._pairs),
            self._shard,
        )

    def work(self, shard: Shard) -> Shard:
        return live_in_pairs(self.lifetimes, shard)
