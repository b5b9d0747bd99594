"""The estimators that are held against the exact gradient."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quickstudy.experiments.discovery.estimators import EstimatorConfig
from quickstudy.experiments.discovery.estimators.bmg import BMGConfig
from quickstudy.experiments.discovery.estimators.meta_gradient import MetaGradientConfig
from quickstudy.experiments.discovery.estimators.open_es import OpenESConfig
from quickstudy.experiments.discovery.estimators.pes import PESConfig
from quickstudy.experiments.discovery.estimators.shaping import Shaping
from quickstudy.experiments.discovery.estimators.snes import SNESConfig
from quickstudy.experiments.discovery.estimators.truncated_es import TruncatedESConfig

META_GRADIENT_WINDOWS = (1, 2, 5, 10, 20, 40)
TRUNCATED_WINDOWS = (1, 2, 5, 10, 20)
PES_WINDOWS = (5, 10, 20)
BMG_WINDOWS = (1, 5, 10)
"""K, each with each of:"""
BMG_TARGETS = (5, 20)
"""L."""
SHARD = 512
"""On such small MDPs many agents take little longer than few."""
SHAPINGS: tuple[Shaping, ...] = ("raw", "centred-ranks", "pairwise")


@dataclass(frozen=True)
class Case:
    """An estimator of the study; windows are cut from whole lives, all of one age."""

    name: str
    kind: str
    """What a line of the picture joins."""
    window: int
    """K: updates that it looks at before it lets go of the past; N if it never does."""
    configure: Callable[[int], EstimatorConfig]
    """Its constants for so many pairs or agents."""
    generations: int
    """That make up one life."""
    scale: float = 1.0
    """What the mean of a life's estimates is multiplied by, to be a gradient of the final score."""
    smooth: int | None = None
    """Updates that share a perturbation in the smoothed score whose gradient it is to estimate;
    None: it perturbs nothing."""
    sized: bool = True
    """False where only the direction of an estimate means something."""


def estimator_cases(num_updates: int, sigma: float) -> list[Case]:
    """All estimators, for lives of N updates and perturbations of standard deviation `sigma`."""
    return [
        *_whole_lives(num_updates, sigma),
        *(_pes(num_updates, sigma, window) for window in _shorter(PES_WINDOWS, num_updates)),
        *(_truncated(num_updates, sigma, k) for k in _shorter(TRUNCATED_WINDOWS, num_updates)),
        *(_meta_gradient(num_updates, k) for k in META_GRADIENT_WINDOWS if k <= num_updates),
        *(
            _bmg(num_updates, k, target)
            for target in BMG_TARGETS
            for k in _shorter(BMG_WINDOWS, num_updates)
        ),
    ]


def _whole_lives(num_updates: int, sigma: float) -> list[Case]:
    strategies = [_open_es(num_updates, sigma, shaping) for shaping in SHAPINGS]

    def snes(pairs: int) -> EstimatorConfig:
        return SNESConfig(pairs=pairs, sigma=sigma, shard=SHARD)

    return [
        *strategies,
        Case("SNES", "SNES", num_updates, snes, 1, smooth=num_updates, sized=False),
    ]


def _open_es(num_updates: int, sigma: float, shaping: Shaping) -> Case:
    def configure(pairs: int) -> EstimatorConfig:
        return OpenESConfig(pairs=pairs, sigma=sigma, shaping=shaping, shard=SHARD)

    kind, sized = f"ES, {shaping}", shaping == "raw"
    return Case(kind, kind, num_updates, configure, 1, smooth=num_updates, sized=sized)


def _pes(num_updates: int, sigma: float, window: int) -> Case:
    def configure(pairs: int) -> EstimatorConfig:
        return PESConfig(pairs=pairs, window=window, sigma=sigma, stagger=False, shard=SHARD)

    lives = _windows(num_updates, window)
    return Case(f"PES, K = {window}", "PES", window, configure, lives, smooth=window)


def _truncated(num_updates: int, sigma: float, window: int) -> Case:
    def configure(pairs: int) -> EstimatorConfig:
        return TruncatedESConfig(
            pairs=pairs, window=window, sigma=sigma, stagger=False, shard=SHARD
        )

    name, lives = f"truncated ES, K = {window}", _windows(num_updates, window)
    return Case(name, "truncated ES", window, configure, lives, smooth=num_updates)


def _meta_gradient(num_updates: int, window: int) -> Case:
    def configure(agents: int) -> EstimatorConfig:
        return MetaGradientConfig(agents=agents, window=window, stagger=False, shard=SHARD)

    name, lives = f"meta-gradient, K = {window}", _windows(num_updates, window)
    return Case(name, "meta-gradient", window, configure, lives, scale=lives)


def _bmg(num_updates: int, differentiated: int, target: int) -> Case:
    def configure(agents: int) -> EstimatorConfig:
        return BMGConfig(agents=agents, differentiated=differentiated, target=target, stagger=False)

    name = f"BMG, K = {differentiated}, L = {target}"
    lives = _windows(num_updates, differentiated + target - 1)
    return Case(name, f"BMG, L = {target}", differentiated, configure, lives, sized=False)


def _windows(num_updates: int, window: int) -> int:
    """That make up a life."""
    return -(-num_updates // window)


def _shorter(windows: Iterable[int], num_updates: int) -> list[int]:
    return [window for window in windows if window < num_updates]
