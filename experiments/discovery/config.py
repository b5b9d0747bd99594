"""What defines a discovery, and what is made of it before anything is lived."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import tyro

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.experiments.discovery.estimators import ESTIMATORS, EstimatorConfig
from quickstudy.experiments.discovery.estimators.estimator import Estimator
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig
from quickstudy.experiments.discovery.options import changed
from quickstudy.experiments.discovery.presets import Preset, find_preset


@dataclass(frozen=True)
class DiscoverConfig:
    """One discovery. What is not given is the preset's."""

    preset: Annotated[str, tyro.conf.Suppress] = ""
    """What to discover, and on whose lives."""
    lives: dict[str, str] = field(default_factory=dict)
    """What is not as in the preset about the lives: NAME VALUE … (max_updates 20,
    rule.network.width 8)."""
    estimator: str | None = None
    """How to find out which way to go: open-es, snes, pes, truncated-es, meta-gradient or bmg;
    None: the preset's."""
    estimator_options: dict[str, str] = field(default_factory=dict)
    """The estimator's constants to change: NAME VALUE … (pairs 128, sigma 0.05)."""
    optimiser: dict[str, str] = field(default_factory=dict)
    """The outer optimiser's constants to change: NAME VALUE … (name sgd, learning_rate 0.001, decay
    1, floor 0)."""
    generations: int | None = None
    """When to stop; None: the preset's, or no limit if there is one of steps."""
    steps: int | None = None
    """Environment steps to spend on estimates, rounded up to whole generations; None: no limit."""
    centre_lives: int = 16
    """Fresh lives that the rule itself is scored on in every generation. Their steps are counted
    apart: they change nothing."""
    final_lives: int = 512
    """Fresh lives that the final rule is scored on."""
    seed: int = 0
    """Decides the first rule, its perturbations and all lives."""
    processes: int | None = None
    """How many work side by side, on a thread each; results do not depend on it. None: one, or with
    --resume as many as before."""
    checkpoint_interval: int = 10
    """Generations between checkpoints."""
    picture_interval: int = 10
    """Generations between pictures of the rule."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """A discovery with all its constants."""

    preset: Preset
    lives: Any
    estimator: EstimatorConfig
    optimiser: OptimiserConfig
    generations: int | None
    steps: int | None

    def build_lifetimes(self) -> Lifetimes:
        return self.preset.build(self.lives)

    def part_done(self, generations: int, steps: int) -> float:
        """How near the nearer of the limits is, 1 where it is reached."""
        parts = [
            done / limit
            for done, limit in ((generations, self.generations), (steps, self.steps))
            if limit is not None
        ]
        return min(1.0, max(parts))


def resolve(config: DiscoverConfig) -> Plan:
    """Put together what preset, estimator and user say, the latter first.

    Raises:
        ValueError: naming the value, the options and the nearest match.
    """
    _require_counts(config)
    preset = find_preset(config.preset)
    estimator = _estimator(preset, config.estimator)
    same_kind = type(estimator) is type(preset.estimator)
    usual = preset.optimiser if same_kind and preset.optimiser else estimator.optimiser
    unlimited = config.generations is None and config.steps is not None
    return Plan(
        preset,
        changed(preset.lives, config.lives),
        changed(estimator, config.estimator_options),
        changed(usual, config.optimiser),
        None if unlimited else config.generations or preset.generations,
        config.steps,
    )


def build_estimator(config: DiscoverConfig) -> Estimator:
    """The estimator of a discovery before its first generation, lives included.

    Raises:
        ValueError: for constants that make no sense together.
    """
    plan = resolve(config)
    return plan.estimator.build(plan.build_lifetimes(), config.seed)


def _estimator(preset: Preset, name: str | None) -> EstimatorConfig:
    if name is None:
        return preset.estimator
    if name not in ESTIMATORS:
        raise unknown("estimator", name, ESTIMATORS)
    kind = ESTIMATORS[name]
    return preset.estimator if type(preset.estimator) is kind else kind()


def _require_counts(config: DiscoverConfig) -> None:
    for name in ("centre_lives", "final_lives", "checkpoint_interval", "picture_interval"):
        require_positive(name, getattr(config, name))
    for name in ("generations", "steps", "processes"):
        if getattr(config, name) is not None:
            require_positive(name, getattr(config, name))
