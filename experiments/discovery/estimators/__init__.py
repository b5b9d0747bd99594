"""How the outer loop estimates which way to go: one file each, and a line in `ESTIMATORS`."""

from typing import Any, ClassVar, Protocol

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.experiments.discovery.estimators.bmg import BMGConfig
from quickstudy.experiments.discovery.estimators.estimator import Estimator
from quickstudy.experiments.discovery.estimators.meta_gradient import MetaGradientConfig
from quickstudy.experiments.discovery.estimators.open_es import OpenESConfig
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig
from quickstudy.experiments.discovery.estimators.pes import PESConfig
from quickstudy.experiments.discovery.estimators.snes import SNESConfig
from quickstudy.experiments.discovery.estimators.truncated_es import TruncatedESConfig

__all__ = ["ESTIMATORS", "EstimatorConfig"]


class EstimatorConfig(Protocol):
    """An estimator's constants: a frozen dataclass of plain values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    optimiser: ClassVar[OptimiserConfig]
    """The step that suits it, unless a preset or the user says otherwise."""

    def build(self, lifetimes: Lifetimes, seed: int) -> Estimator:
        """The estimator before its first generation; `seed` decides all that it draws.

        Raises:
            ValueError: for constants that make no sense, or lifetimes that it cannot work on.
        """


ESTIMATORS: dict[str, type[EstimatorConfig]] = {
    "open-es": OpenESConfig,
    "snes": SNESConfig,
    "pes": PESConfig,
    "truncated-es": TruncatedESConfig,
    "meta-gradient": MetaGradientConfig,
    "bmg": BMGConfig,
}
