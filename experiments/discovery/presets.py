"""What can be discovered: a line in `PRESETS` each. Heavy imports happen inside."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes
from quickstudy.agents.objectives.discovered import Kind, Network
from quickstudy.agents.objectives.lifetime import TimeFeatures
from quickstudy.envs.errors import unknown
from quickstudy.experiments.discovery.estimators import EstimatorConfig
from quickstudy.experiments.discovery.estimators.open_es import OpenESConfig
from quickstudy.experiments.discovery.estimators.optimiser import OptimiserConfig

Pictures = dict[str, npt.NDArray[np.uint8]]
"""Pictures `(height, width, 3)` by name."""


@dataclass(frozen=True)
class Preset:
    """Whose lives, how estimated, for how long; users may change every constant."""

    lives: Any
    """The lifetimes' configuration, a frozen dataclass."""
    build: Callable[[Any], Lifetimes]
    """Makes the lifetimes of such a configuration."""
    estimator: EstimatorConfig
    generations: int
    optimiser: OptimiserConfig | None = None
    """None: what suits the estimator."""
    rule: Callable[[Any], tuple[Kind, Network]] | None = None
    """What the rule is, of such a configuration: it is then written as a discovered rule."""
    draw: Callable[[Any, Tensor], Pictures] | None = None
    """Pictures of a rule `(M,)`, given such a configuration."""
    measure: Callable[[Any, Tensor], dict[str, float]] | None = None
    """Figures of a rule, likewise; followed from generation to generation."""


def _noisy_quadratic() -> Preset:
    from quickstudy.agents.lifetimes.noisy_quadratic import NoisyQuadratic, NoisyQuadraticConfig

    return Preset(
        NoisyQuadraticConfig(),
        NoisyQuadratic,
        OpenESConfig(pairs=32, sigma=0.1),
        generations=200,
        optimiser=OptimiserConfig(learning_rate=0.05),
    )


def _lpg_small() -> Preset:
    from quickstudy.agents.lifetimes.tabular_rules import LPGRuleConfig
    from quickstudy.agents.objectives.lpg import LPGConfig

    return _tabular(LPGRuleConfig(network=LPGConfig(time="none")))


def _ta_lpg_small() -> Preset:
    from quickstudy.agents.lifetimes.tabular_rules import LPGRuleConfig

    return _tabular(LPGRuleConfig())


def _a2c_schedule() -> Preset:
    from quickstudy.agents.lifetimes.tabular_rules import ScheduleRuleConfig

    return _tabular(ScheduleRuleConfig())


def _tabular(rule: Any) -> Preset:
    """Tabular agents on small grid-worlds: 64 candidates, 400 generations."""
    from quickstudy.agents.lifetimes.tabular import TabularConfig, TabularLifetimes
    from quickstudy.agents.lifetimes.tabular_rules import LPGRuleConfig, ScheduleRuleConfig
    from quickstudy.envs.tabular.registry import make_tabular_tasks

    return Preset(
        TabularConfig(rule=rule),
        lambda config: TabularLifetimes(config, make_tabular_tasks(config.tasks)),
        OpenESConfig(pairs=32, sigma=0.1, shard=32),  # of two processes, one has the long lives
        generations=400,
        rule=_lpg if isinstance(rule, LPGRuleConfig) else None,
        measure=_measure_entropy if isinstance(rule, ScheduleRuleConfig) else None,
    )


def _lpg(config: Any) -> tuple[Kind, Network]:
    from quickstudy.agents.objectives.lpg import LPG

    return "lpg", LPG(config.rule.network)


def _measure_entropy(config: Any, rule_M: Tensor) -> dict[str, float]:
    from quickstudy.experiments.discovery.measures import entropy_measures

    return entropy_measures(config.rule.build(), rule_M, config.max_updates)


def _lifetime_reward() -> Preset:
    from quickstudy.agents.lifetimes.rewards import RewardConfig, RewardLifetimes
    from quickstudy.agents.lifetimes.rewards_rule import RewardRuleConfig
    from quickstudy.envs.tabular.registry import make_tabular_tasks

    return Preset(
        RewardConfig(rule=RewardRuleConfig(reads_actions=False)),
        lambda config: RewardLifetimes(config, make_tabular_tasks(config.tasks)),
        OpenESConfig(pairs=64, sigma=0.1),
        generations=400,
    )


def _exact_chain() -> Preset:
    from quickstudy.agents.lifetimes.exact import ExactConfig, ExactLifetimes

    # At 0.1 the smoothed score is nearly flat: its gradient is a thirtieth of the exact one.
    estimator = OpenESConfig(pairs=32, sigma=0.02)
    return Preset(ExactConfig(), ExactLifetimes, estimator, generations=100)


def _lpo_control() -> Preset:
    return _control("none")


def _ta_lpo_control() -> Preset:
    return _control("fraction")


def _control(time: TimeFeatures) -> Preset:
    """Small networks on cart-poles and points, which begin by PPO: 32 candidates.

    Lives end in the midst of PPO's climb: there it has about 0.7 on the anchors' scale. Units are
    few, because 16 pairs say little about many parameters; a perturbation moves the drift by about
    half of what lies between PPO's and DPO's.
    """
    from quickstudy.agents.lifetimes.control import ControlConfig
    from quickstudy.agents.objectives.drifts import LearnedDriftConfig

    return Preset(
        ControlConfig(
            families=("CartPole", "PointGoal"),
            drift=LearnedDriftConfig(hidden_size=16, time=time),
            min_updates=20,
            max_updates=20,
            normalise=True,
        ),
        ControlConfig.build,
        OpenESConfig(pairs=16, sigma=0.15, shard=32),
        generations=200,
        rule=_drift,
        draw=_draw_drift,
        measure=_measure_drift,
    )


def _drift(config: Any) -> tuple[Kind, Network]:
    from quickstudy.agents.objectives.drifts import LearnedDrift

    return "drift", LearnedDrift(config.drift)


def _draw_drift(config: Any, rule_M: Tensor) -> Pictures:
    from quickstudy.agents.objectives.drifts import LearnedDrift
    from quickstudy.experiments.discovery.measures import drift_pictures

    return drift_pictures(LearnedDrift(config.drift), rule_M, config.max_updates)


def _measure_drift(config: Any, rule_M: Tensor) -> dict[str, float]:
    from quickstudy.agents.objectives.drifts import LearnedDrift
    from quickstudy.experiments.discovery.measures import drift_measures

    return drift_measures(LearnedDrift(config.drift), rule_M, config.max_updates)


PRESETS: dict[str, Callable[[], Preset]] = {
    "lpg-small": _lpg_small,
    "ta-lpg-small": _ta_lpg_small,
    "a2c-schedule": _a2c_schedule,
    "lpo-control": _lpo_control,
    "ta-lpo-control": _ta_lpo_control,
    "lifetime-reward": _lifetime_reward,
    "exact-chain": _exact_chain,
    "noisy-quadratic": _noisy_quadratic,
}


def find_preset(name: str) -> Preset:
    """A preset by its name.

    Raises:
        ValueError: if there is none; it lists all and suggests the nearest.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]()
