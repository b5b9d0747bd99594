"""Two-Colours: is a learned entropy weight better than a fixed one, and what must it know?

Flennerhag et al. 2022 (Bootstrapped Meta-Learning), with the contexts of Luketina et al. 2022
(table 1): fixed weights, plain meta-gradients and bootstrapped ones, each with and without what was
lately earned. All methods live equally many environment steps; seeds share their luck between arms.

Shape legend: W windows, P streams, N seeds, K periods between two switches, B bins of a period.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from quickstudy.agents.lifetimes.entropy_rules import Context, constant_rule
from quickstudy.agents.lifetimes.streams import StreamConfig, StreamLifetimes, network_of
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.tabular.two_colours import PERIOD, TwoColours
from quickstudy.experiments.discovery.online import Method, Online, OnlineConfig
from quickstudy.experiments.discovery.online_run import History, OnlineRun, live
from quickstudy.experiments.statistics import mean_interval
from quickstudy.experiments.threads import ACTING, torch_threads

RUNS: dict[str, tuple[Method, Context]] = {
    "fixed": ("fixed", "constant"),
    "mg-none": ("mg", "none"),
    "mg-reward": ("mg", "reward"),
    "mg-rich": ("mg", "rich"),
    "bmg-none": ("bmg", "none"),
    "bmg-reward": ("bmg", "reward"),
    "bmg-rich": ("bmg", "rich"),
}
"""What is compared; `fixed` is one run of all weights of the sweep."""

BINS = 100
"""B: points of the curve from one switch to the next."""

Measure = Literal["total", "late"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
"""Return of the whole life (in millions, as published), in which rules are still learned; and the
reward per step of its later half."""


@dataclass(frozen=True)
class TwoColoursStudy:
    """The sizes of the public replications, but for the seeds (one at a time there)."""

    runs: tuple[str, ...] = ("fixed", "mg-none", "mg-reward", "bmg-none", "bmg-reward")
    """What is compared: fixed, and mg or bmg with none, reward or rich as context."""
    folder: Path = Path("runs/two-colours")
    """Where the runs are kept. What is finished there is not repeated, what was cut off goes on;
    several processes may do different runs in one folder."""
    steps: int = 6_400_000
    """Environment steps of each life; whole windows of (K + L) x 16 are lived. With more steps
    finished lives go on."""
    seeds: int = 8
    """Lives of each arm."""
    width: int = 256
    """Hidden features of the agents' networks. Narrow ones cost less and learn more slowly."""
    agent_lr: float = 0.1
    """Step size of the agents. Narrow networks need a larger one to learn in a period, and then
    their units die off in long lives."""
    period: int = PERIOD
    """Steps between two switches. Nothing is learned below 25 000 (Luketina et al. 2022)."""
    sweep: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4, 0.8)
    """Fixed entropy weights."""
    updates: int = 7
    """K: updates that bmg's gradient goes through."""
    bootstrap: int = 9
    """L: further steps to bmg's target."""
    lr: float = 1e-4
    """Step size of Adam, for the rules (Luketina et al. 2022 tried 1e-6 to 1e-3)."""
    outer_entropy: float = 0.12
    """The entropy weight in mg's outer objective."""
    seed: int = 0
    """Decides all chance."""

    def check(self) -> None:
        """Raise `ValueError` for an unknown run, a number out of range, or too few steps."""
        for run in self.runs:
            if run not in RUNS:
                raise unknown("run", run, RUNS)
        for name in ("seeds", "width", "period", "updates", "bootstrap"):
            require_positive(name, getattr(self, name))
        for name in ("agent_lr", "lr"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}.")
        if not all(0.0 <= weight <= 1.0 for weight in self.sweep):
            raise ValueError(f"sweep must lie between 0 and 1, got {self.sweep}.")
        if self.num_windows < 1:
            raise ValueError(f"steps must be at least one window of {self.window}: {self.steps}.")

    @property
    def window(self) -> int:
        """Environment steps of a window."""
        return (self.updates + self.bootstrap) * StreamConfig.rollout

    @property
    def num_windows(self) -> int:
        """W."""
        return self.steps // self.window


def study(config: TwoColoursStudy, console: Console) -> dict[str, Any]:
    """Live what is missing in the folder, print a table, return the result for JSON.

    Raises:
        ValueError: for a bad configuration, or a folder with runs of another, or longer ones.
    """
    config.check()
    arms: dict[str, dict[str, Any]] = {}
    with torch_threads(ACTING):
        for name in config.runs:
            run = OnlineRun(online(config, name), config.num_windows)
            live(run, config.folder / name, _described(config, name), console)
            arms |= _arms(config, name, run)
    result = {
        "config": asdict(config) | {"folder": str(config.folder)},
        "arms": arms,
        "differences": {m: differences(arms, m) for m in MEASURES},
    }
    console.print(table(result))
    return result


def online(config: TwoColoursStudy, name: str) -> Online:
    """The streams of a run before their first step; `fixed` has the sweep's weights in turn."""
    method, context = RUNS[name]
    agent = StreamConfig(
        context=context,
        updates=config.num_windows * (config.updates + config.bootstrap),
        width=config.width,
        lr=config.agent_lr,
        outer_entropy=config.outer_entropy,
    )
    lifetimes = StreamLifetimes(TwoColours(config.period), agent)
    root = rng.root_key(config.seed, rng.Stream.DISCOVERY)
    key_N = rng.fold_in(root, torch.arange(config.seeds))
    if method == "fixed":
        rules = [constant_rule(w).expand(config.seeds, -1) for w in config.sweep]
        rule_PM, key_P = torch.cat(rules), key_N.repeat(len(config.sweep))
    else:
        firsts = [lifetimes.first_rule(config.seed + n) for n in range(config.seeds)]
        rule_PM, key_P = torch.stack(firsts), key_N
    learning = OnlineConfig(method, config.updates, config.bootstrap, config.lr)
    return Online(lifetimes, learning, rule_PM, key_P)


def _described(config: TwoColoursStudy, name: str) -> dict[str, Any]:
    """What a run depends on, in JSON types; it may go on for more steps."""
    kept = asdict(config)
    del kept["runs"], kept["folder"], kept["steps"]
    return {"run": name} | kept | {"sweep": list(config.sweep) if name == "fixed" else None}


# --- results ----------------------------------------------------------------------------------


def _arms(config: TwoColoursStudy, name: str, run: OnlineRun) -> dict[str, dict[str, Any]]:
    """The result of each arm of a run."""
    names = [f"fixed-{w:g}" for w in config.sweep] if name == "fixed" else [name]
    policy = network_of(run.online.rows, "policy")
    broken_P = ~torch.stack([w.isfinite().flatten(1).all(dim=1) for w in policy]).all(dim=0)
    return {
        arm: summary(_streams(run.history, part), config) | {"broken": int(broken_P[part].sum())}
        for arm, part in zip(names, _parts(config.seeds, len(names)), strict=True)
    }


def _parts(size: int, count: int) -> list[slice]:
    return [slice(n * size, (n + 1) * size) for n in range(count)]


def _streams(history: History, part: slice) -> History:
    return replace(
        history, reward_WP=history.reward_WP[:, part], entropy_WP=history.entropy_WP[:, part]
    )


def summary(history: History, config: TwoColoursStudy) -> dict[str, Any]:
    """All measures, reward per step by period, and the mean curve from one switch to the next over
    the later half of all periods.
    """
    start_W = torch.arange(len(history.reward_WP)) * config.window
    period_W = start_W // config.period
    late_W = _late(period_W)
    total_P = config.window * history.reward_WP.sum(dim=0) / 1e6
    late_P = history.reward_WP[late_W].mean(dim=0)
    reward_KP = _mean_by(history.reward_WP, period_W)
    return {
        "total": total_P.tolist(),
        "total_interval": asdict(mean_interval(total_P.numpy())),
        "late": late_P.tolist(),
        "late_interval": asdict(mean_interval(late_P.numpy())),
        "reward_by_period": [asdict(mean_interval(r.numpy())) for r in reward_KP],
        "entropy_by_period": _mean_by(history.entropy_WP, period_W).mean(dim=1).tolist(),
        "after_switch": _after_switch(history, start_W, late_W, config),
    }


def _late(period_W: Tensor) -> Tensor:
    """Whether a window is in the later half of all periods."""
    return period_W >= (period_W[-1] + 1) // 2


def _after_switch(
    history: History, start_W: Tensor, late_W: Tensor, config: TwoColoursStudy
) -> dict[str, Any]:
    """Means over seeds and periods of what is earned, and of ε, by the time since the switch.

    Windows into which a switch falls are left out.
    """
    num_bins = max(1, min(BINS, config.period // config.window))
    since_W = start_W % config.period
    shown_W = late_W & (since_W + config.window <= config.period)
    bin_W = (since_W * num_bins // config.period)[shown_W]
    means = {
        "reward": _mean_by(history.reward_WP[shown_W], bin_W),
        "entropy": _mean_by(history.entropy_WP[shown_W], bin_W),
    }
    steps = torch.unique(bin_W) * config.period / num_bins
    return {"steps": steps.tolist()} | {k: x.mean(dim=1).tolist() for k, x in means.items()}


def _mean_by(x_WP: Tensor, label_W: Tensor) -> Tensor:
    """The mean rows of each label that there is, in ascending order."""
    return torch.stack([x_WP[label_W == label].mean(dim=0) for label in torch.unique(label_W)])


def differences(arms: dict[str, dict[str, Any]], measure: Measure) -> dict[str, Any]:
    """What one arm earned more than another by a measure, seed by seed.

    The best fixed weight is the one with the highest mean on these very seeds, which favours it.
    """
    fixed = [arm for arm in arms if arm.startswith("fixed")]
    best = max(fixed, key=lambda arm: arms[arm][f"{measure}_interval"]["point"], default=None)
    learned = [arm for arm in arms if arm not in fixed]
    pairs = [(arm, best) for arm in learned if best is not None]
    pairs += [(f"b{arm}", arm) for arm in learned if f"b{arm}" in arms]
    for arm in learned:
        method, context = arm.split("-")
        if context != "none" and f"{method}-none" in arms:
            pairs.append((arm, f"{method}-none"))
    return {
        f"{a} − {b}": asdict(mean_interval(np.subtract(arms[a][measure], arms[b][measure])))
        for a, b in pairs
    }


def table(result: dict[str, Any]) -> Table:
    """All measures with their intervals, ε in the last period, and the differences."""
    shown = Table(
        "arm", "total return (M)", "reward per step, later half", "ε", title="Two-Colours"
    )
    for name, arm in result["arms"].items():
        cells = [_cell(arm[f"{measure}_interval"]) for measure in MEASURES]
        shown.add_row(name, *cells, f"{arm['entropy_by_period'][-1]:.2f}")
    for measure in MEASURES:
        for name, interval in result["differences"][measure].items():
            cells = [_cell(interval) if m == measure else "" for m in MEASURES]
            shown.add_row(name, *cells, "")
    return shown


def _cell(interval: dict[str, float]) -> str:
    return f"{interval['point']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
