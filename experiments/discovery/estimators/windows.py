"""What PES and truncated ES share: antithetic pairs of particles, looked at window by window.

Shape legend: p pairs, M parameters of a rule; the 2 rows are the one and the other of each pair.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.estimators.estimator import Estimate, Estimator, Shard
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig
from quickstudy.experiments.discovery.estimators.pairs import SHARD, chunks, require_sigma, steps
from quickstudy.experiments.discovery.estimators.particles import Particles, under
from quickstudy.experiments.discovery.estimators.shaping import (
    Shaping,
    described,
    require_shaping,
    sound,
)
from quickstudy.experiments.discovery.keys import Purpose, keys


@dataclass(frozen=True)
class WindowsConfig:
    """Constants of evolution strategies on windows of lives."""

    pairs: int = 64
    """Antithetic pairs of particles."""
    window: int = 10
    """K: updates of every life per generation."""
    sigma: float = 0.1
    """Standard deviation of the perturbations of one window."""
    shaping: Shaping = "raw"
    """What counts of a window: raw differences, pairwise (who of a pair won) or centred-ranks."""
    stagger: bool = True
    """Cut the first lives short, so that all ages are there at any time."""
    shard: int = SHARD
    """Candidates per piece of work."""

    optimiser: ClassVar[OptimiserConfig] = OptimiserConfig()


class WindowedES(Estimator):
    """Evolution strategies whose agents live on, while the rule changes under them."""

    sides: ClassVar[tuple[str, ...]]
    """Versions of each life that go on."""

    def __init__(self, lifetimes: Lifetimes, seed: int, config: WindowsConfig) -> None:
        super().__init__(lifetimes, seed)
        for name in ("pairs", "window", "shard"):
            require_positive(name, getattr(config, name))
        require_sigma(config.sigma)
        require_shaping(config.shaping)
        self.config = config
        self.particles = Particles(
            lifetimes,
            seed,
            config.pairs,
            config.window,
            sides=self.sides,
            memory=self.blank_memory(),
            stagger=config.stagger,
        )

    @abstractmethod
    def blank_memory(self) -> Rows:
        """What is kept beside each life."""

    @abstractmethod
    def estimate(self, score_2p: Tensor) -> Tensor:
        """The gradient `(M,)` up to the scale that `combine` gives it; brings the memory up to
        date.
        """

    def shards(self, rule_M: Tensor) -> list[Shard]:
        self.particles.replace_the_dead()
        perturbation_p = self.perturbation_keys()
        return [
            {"rule": rule_M, "perturbation": perturbation_p[part]} | self.particles.shard(part)
            for part in chunks(self.config.pairs, self.config.shard // 2)
        ]

    def combine(self, results: Sequence[Shard]) -> Estimate:
        """Scaled by a life's windows: the gradient of its final score, not of a window's share."""
        score_2p = torch.cat([result["score"] for result in results], dim=1)
        scale = self.particles.mean_windows() / (2.0 * self.config.sigma * self.config.pairs)
        gradient_M = scale * self.estimate(score_2p)
        sides = {side: _joined(results, side) for side in self.sides}
        self.particles.go_on(sides, ~sound(score_2p).all(dim=0))
        self.generation += 1
        return Estimate(gradient_M, steps(results), described(score_2p))

    def perturbation_keys(self) -> Tensor:
        """This generation's, `(p,)`."""
        return keys(self.seed, Purpose.PERTURBATION, self.generation, self.config.pairs)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"particles": self.particles.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.particles.load_state_dict(state["particles"])


def _joined(results: Sequence[Shard], side: str) -> Rows:
    parts = [under(side, result) for result in results]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
