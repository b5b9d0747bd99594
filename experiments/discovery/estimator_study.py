"""`quickstudy discover estimators`: every outer estimator against the exact gradient.

All of them estimate around the same rules, on the same lives' distribution and seeds, and spend the
same number of environment steps per estimate (`ExactConfig.steps_per_update` says what an expected
update is charged for). An estimate is the mean over the generations of one life, of an estimator
that begins anew, with all agents of one age, under a rule that stands still.

Shape legend: S estimates, M parameters of a rule, P lives, n draws.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from quickstudy.agents.lifetimes.exact import ExactConfig, ExactLifetimes
from quickstudy.agents.lifetimes.exact_gradient import exact_gradient, smoothed_gradient
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.estimator_cases import Case, estimator_cases
from quickstudy.experiments.discovery.gradient_quality import Reference, bias, direction
from quickstudy.experiments.statistics import Array
from quickstudy.experiments.threads import ACTING, torch_threads

_LIVES = 512
"""Lives that are differentiated side by side."""


@dataclass(frozen=True)
class EstimatorStudy:
    """Sizes of the study of estimators."""

    mdp: Literal["chain", "random"] = "chain"
    """The five-state chain, on which nothing but the perturbations is random, or random MDPs."""
    num_updates: int = 40
    """N."""
    sigma: float = 0.02
    """Standard deviation of the evolution strategies' perturbations. On the chain the gradient at
    generation 0 is 1.08 long, smoothed by 0.01 it is 0.53, by 0.02 0.30 (cosine with the exact
    one 0.998), by 0.1 0.03 (cosine 0.57)."""
    pairs: int = 64
    """Whole lives of so many antithetic pairs are what one estimate may cost."""
    estimates: int = 64
    """S, per estimator and rule: at least 4."""
    ascent: int = 20
    """Steps along the exact gradient from generation 0 to the second rule; 0: no second rule."""
    reference_lives: int = 4096
    """Lives behind each reference gradient; an even number, half of them mirrored."""
    seed: int = 0
    """Decides the first rule, the lives and all perturbations."""

    def check(self) -> None:
        """Raise `ValueError` for a size that makes no sense."""
        for name in ("pairs", "reference_lives"):
            require_positive(name, getattr(self, name))
        if self.ascent < 0:
            raise ValueError(f"ascent must be at least 0, got {self.ascent!r}.")
        if self.estimates < 4:
            raise ValueError(f"estimates must be at least 4, got {self.estimates!r}.")
        if self.reference_lives < 4 or self.reference_lives % 2:
            raise ValueError(
                f"reference_lives must be even and at least 4, got {self.reference_lives!r}."
            )


def study(config: EstimatorStudy, console: Console) -> dict[str, Any]:
    """Measure all estimators, print a table per rule, return the result for JSON.

    Raises:
        ValueError: for a bad configuration.
    """
    config.check()
    began = time.perf_counter()
    with torch_threads(ACTING):
        lifetimes = ExactConfig(mdp=config.mdp, num_updates=config.num_updates).build()
        rules = _rules(lifetimes, config)
        measured = {name: _measure(lifetimes, rules, name, config, console) for name in rules}
    return {
        "config": asdict(config),
        "lifetimes": asdict(lifetimes.config),
        "rules": measured,
        "seconds": time.perf_counter() - began,
    }


def ascended(lifetimes: ExactLifetimes, config: EstimatorStudy) -> Tensor:
    """A rule on the way: generation 0 after some steps of Adam (0.02) along the exact gradient."""
    rule_M = lifetimes.first_rule(config.seed).requires_grad_()
    optimiser = torch.optim.Adam([rule_M], lr=0.02, maximize=True)
    key_P = _keys(lifetimes, config)[:_LIVES]
    for _ in range(config.ascent):
        _, gradient_PM = exact_gradient(lifetimes, rule_M, key_P)
        rule_M.grad = gradient_PM.mean(dim=0).to(rule_M.dtype)
        optimiser.step()
    return rule_M.detach()


def estimates(
    case: Case, lifetimes: ExactLifetimes, rule_M: Tensor, config: EstimatorStudy
) -> tuple[Array, float, int]:
    """Independent estimates `(S, M)`, the steps that one costs, and its pairs or agents.

    Their number is what the steps of `pairs` antithetic pairs over whole lives pay for. Where
    nothing is random, two estimates are equal; then one of a single agent stands for all.
    """
    (first_M, cost), (second_M, _) = (_estimate(case, lifetimes, rule_M, 1, s) for s in (0, 1))
    if torch.equal(first_M, second_M):
        return first_M.unsqueeze(0).numpy(), float(cost), 1
    budget = 2 * config.pairs * (config.num_updates + 1) * lifetimes.config.steps_per_update
    size = max(1, round(budget / cost))
    seeds = range(config.estimates * config.seed, config.estimates * (config.seed + 1))
    made = [_estimate(case, lifetimes, rule_M, size, seed) for seed in seeds]
    steps = float(np.mean([spent for _, spent in made]))
    return torch.stack([gradient_M for gradient_M, _ in made]).numpy(), steps, size


def table(measured: dict[str, Any], title: str) -> Table:
    """Direction, noise and bias of every estimator."""
    shown = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for column in ("estimator", "cosine", "cosine of mean", "noise", "length", "bias²", "unbiased"):
        shown.add_column(column, no_wrap=True)
    for name, row in measured["estimators"].items():
        way, off = row["direction"], row.get("bias", {})
        shown.add_row(
            name,
            _shown(way["cosine"]),
            _shown(way["cosine_of_mean"]),
            f"{way['noise']['point']:.2f}",
            _shown(off.get("length")),
            _shown(off.get("squared")),
            {True: "yes", False: "no", None: ""}[off.get("unbiased")],
        )
    return shown


def _rules(lifetimes: ExactLifetimes, config: EstimatorStudy) -> dict[str, Tensor]:
    """The rules to estimate around, by name."""
    rules = {"generation 0": lifetimes.first_rule(config.seed)}
    if config.ascent:
        rules[f"after {config.ascent} exact steps"] = ascended(lifetimes, config)
    return rules


@dataclass(frozen=True)
class _Truth:
    """What is known of a rule without estimators."""

    score: float
    exact: Reference
    smooth: dict[int, Reference]
    """By the updates that share a perturbation."""

    def figures(self) -> dict[str, Any]:
        """Lengths, and how far smoothing turns the gradient."""
        exact_M, smooth = self.exact.mean_M, self.smooth.items()
        return {
            "score": self.score,
            "exact_norm": float(np.linalg.norm(exact_M)),
            "smoothed_norm": {w: float(np.linalg.norm(ref.mean_M)) for w, ref in smooth},
            "smoothed_cosine": {w: _cosine(ref.mean_M, exact_M) for w, ref in smooth},
        }


def _measure(
    lifetimes: ExactLifetimes,
    rules: dict[str, Tensor],
    name: str,
    config: EstimatorStudy,
    console: Console,
) -> dict[str, Any]:
    """All estimators around one rule; prints its table."""
    cases, rows = estimator_cases(config.num_updates, config.sigma), {}
    truth = _truth(lifetimes, rules[name], cases, config)
    for case in cases:
        console.print(f"{config.mdp}, {name}: {case.name}", markup=False)
        draws_SM, steps, size = estimates(case, lifetimes, rules[name], config)
        size_and_cost = {"kind": case.kind, "window": case.window, "size": size, "steps": steps}
        rows[case.name] = size_and_cost | _quality(case, draws_SM, truth, config.seed)
    measured = truth.figures() | {"estimators": rows}
    console.print(table(measured, f"{config.mdp}, {name}"))
    return measured


def _quality(case: Case, draws_SM: Array, truth: _Truth, seed: int) -> dict[str, Any]:
    """Direction, against the exact gradient; and, where the length of an estimate means something,
    its bias against what it is to estimate and against the exact gradient.
    """
    draws_SM = case.scale * draws_SM
    found: dict[str, Any] = {"direction": asdict(direction(draws_SM, truth.exact, seed))}
    if case.sized:
        target = truth.exact if case.smooth is None else truth.smooth[case.smooth]
        off = bias(draws_SM, target)
        found["bias"] = asdict(off) | {"unbiased": off.unbiased}
        found["bias_to_exact"] = asdict(bias(draws_SM, truth.exact))
    return found


def _truth(
    lifetimes: ExactLifetimes, rule_M: Tensor, cases: list[Case], config: EstimatorStudy
) -> _Truth:
    """The exact gradient, and those of the smoothed scores that the cases are to estimate."""
    exact, score = _exact(lifetimes, rule_M, config)
    windows = sorted({case.smooth for case in cases if case.smooth is not None})
    smooth = {window: _smoothed(lifetimes, rule_M, window, config) for window in windows}
    return _Truth(score, exact, smooth)


def _estimate(
    case: Case, lifetimes: ExactLifetimes, rule_M: Tensor, size: int, seed: int
) -> tuple[Tensor, int]:
    """The mean estimate `(M,)` over one life of a new estimator, and the steps it took."""
    estimator = case.configure(size).build(lifetimes, seed)
    total_M, steps = torch.zeros(len(rule_M), dtype=torch.float64), 0
    for _ in range(case.generations):
        results = [estimator.work(shard) for shard in estimator.shards(rule_M)]
        estimate = estimator.combine(results)
        total_M += estimate.gradient_M
        steps += estimate.steps
    return total_M / case.generations, steps


def _exact(
    lifetimes: ExactLifetimes, rule_M: Tensor, config: EstimatorStudy
) -> tuple[Reference, float]:
    """The exact gradient, averaged over lives (on the chain all are the same), and the score."""
    chunks = torch.split(_keys(lifetimes, config), _LIVES)
    parts = [exact_gradient(lifetimes, rule_M, key_P) for key_P in chunks]
    score = torch.cat([score_P for score_P, _ in parts]).mean().item()
    return Reference.of(torch.cat([gradient_PM for _, gradient_PM in parts]).numpy()), score


def _smoothed(
    lifetimes: ExactLifetimes, rule_M: Tensor, window: int, config: EstimatorStudy
) -> Reference:
    """The gradient of the smoothed score, from mirrored pairs, each with a key of its own."""
    pairs = []
    keys = rng.world_keys(config.seed, rng.Stream.TASK, config.reference_lives // 2)
    for number, key_p in enumerate(torch.split(keys, _LIVES // 2)):
        seed = int(rng.fold_in(rng.root_key(config.seed, rng.Stream.EVALUATION), number))
        draws_PM = smoothed_gradient(
            lifetimes, rule_M, key_p.repeat(2), deviation=config.sigma, window=window, seed=seed
        )
        pairs.append(0.5 * (draws_PM[: len(key_p)] + draws_PM[len(key_p) :]))
    return Reference.of(torch.cat(pairs).numpy())


def _keys(lifetimes: ExactLifetimes, config: EstimatorStudy) -> Tensor:
    """The lives behind the exact gradient: one where all are the same."""
    spread = lifetimes.config.mdp == "random" or lifetimes.config.initial_spread > 0
    return rng.world_keys(config.seed, rng.Stream.TASK, config.reference_lives if spread else 1)


def _cosine(x_M: Array, y_M: Array) -> float:
    return float(x_M @ y_M / (np.linalg.norm(x_M) * np.linalg.norm(y_M)))


def _shown(interval: dict[str, float] | None) -> str:
    """Without its ends where they fall together."""
    if interval is None:
        return ""
    point, low, high = (_number(interval[name]) for name in ("point", "low", "high"))
    return point if interval["low"] == interval["high"] else f"{point} [{low}, {high}]"


def _number(x: float) -> str:
    return f"{x:.2f}" if abs(x) < 10 else f"{x:.0f}"
