"""`quickstudy discover meta-test`: does a discovered rule serve the suite's agents elsewhere?

Every objective gets as much tuning: the same learning rates, tried on one seed that has no part in
the comparison and judged by training returns alone; then the same seeds, frames and test tasks.
All runs are kept in one folder, so a meta-test can be stopped, gone on with, or grow.
"""

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from quickstudy.agents.objectives.discovered import Discovered, find_discovered
from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.agents.objectives.registry import DISCOVERED, make_objective
from quickstudy.agents.registry import agent_config
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.compare import Row, row_of
from quickstudy.experiments.compare_config import Arena, Trainings
from quickstudy.experiments.config import resolve_device
from quickstudy.experiments.discovery.meta_test_table import table
from quickstudy.experiments.run_folder import RunFolder
from quickstudy.experiments.statistics import mean_interval
from quickstudy.experiments.training_runs import (
    TrainingRun,
    told_apart,
    train_all,
)

RULE, GENERATION_0 = "rule", "generation-0"
"""What the discovered rule, and the one that its discovery began with, are called."""

TUNING_SEED = 10_000
"""Learning rates are chosen on this seed; those of the comparison are 0, 1, 2 …"""

LATE = 0.25
"""The last part of a training, whose returns judge a learning rate."""


@dataclass(frozen=True)
class MetaTest(Trainings):
    """Who learns what, from how much. The defaults take hours."""

    families: tuple[str, ...] = ("HalfCheetahDir", "HalfCheetahVel")
    """Families, each as Family or Family/HxK (episode length × episodes per trial)."""
    agents: tuple[str, ...] = ("rl2",)
    """Agents that learn; `quickstudy list` shows them."""
    against: tuple[str, ...] = ("ppo", "dpo", "a2c", GENERATION_0)
    """Objectives the rule is compared with; generation-0 is the rule that the discovery began with
    (of a drift: PPO), which shows how far apart equals may come by chance."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates that every objective is tried with; a single one is not tried, but taken."""
    seeds: int = 5
    """Training seeds 0 … seeds − 1 of each."""
    folder: Path = Path("runs/meta-test")
    """Where the runs are kept. What is finished there is not repeated, what was cut off goes on."""


@dataclass(frozen=True)
class Contest:
    """An agent in an arena that learns by an objective."""

    arena: Arena
    agent: str
    name: str
    """The objective's name here: rule, generation-0, or as in `quickstudy list`."""
    objective: str
    """The same as `--objective` takes it."""


def meta_test(rule: str, config: MetaTest, console: Console) -> dict[str, Any]:
    """Tune and train what is missing in the folder, print a table per family, return the result for
    JSON.

    Args:
        rule: a discovered rule's file, or the name of a shipped one.
        config: what is compared, and for how long.
        console: where to print.

    Raises:
        ValueError: for an unknown rule, family, agent, objective or device, a rule that these
            agents cannot follow, or a count or learning rate that is not above 0; before any
            training.
        RuntimeError: if a training run fails; the others' results are kept.
    """
    arenas = _checked(config)
    objectives = _objectives(find_discovered(rule), config)
    contests = [
        Contest(arena, agent, *objective)
        for arena, agent, objective in itertools.product(arenas, config.agents, objectives.items())
    ]
    tuning = _tuned(config, contests, console)
    runs = {contest: _runs(config, contest, best(tuning[contest])) for contest in contests}
    console.print(f"Comparison: {config.seeds} seeds.")
    train_all([run for each in runs.values() for run in each], config.jobs, console)
    result = {"rule": rule, "config": asdict(config) | {"folder": str(config.folder)}} | figures(
        {c: row_of(c.arena, c.agent, runs[c], config.tasks, config.device) for c in contests},
        tuning,
    )
    for arena in arenas:
        console.print(table(str(arena), result))
    return result


def best(late_return: Mapping[float, float | None]) -> float:
    """The learning rate of the highest return, the lower of equals; NaN and None are below all."""
    ordered = sorted(late_return)
    return max(ordered, key=lambda rate: _or_lowest(late_return[rate]))


def late_return(path: Path, episode: int) -> float:
    """The mean training return of an episode over the last quarter of a run's updates."""
    rows = [row for row in RunFolder(path).metrics.rows() if f"adapt/return_ep{episode}" in row]
    late = rows[-math.ceil(LATE * len(rows)) :]
    return float(np.mean([row[f"adapt/return_ep{episode}"] for row in late]))


def figures(
    rows: Mapping[Contest, Row], tuning: Mapping[Contest, Mapping[float, float | None]]
) -> dict[str, Any]:
    """What every objective came to, and what the rule earned more than each, seed by seed."""
    return {
        "arms": [
            asdict(row)
            | {
                "objective": contest.name,
                "learning_rate": best(tuning[contest]),
                "tuning": {f"{rate:g}": value for rate, value in tuning[contest].items()},
                "behind_rule": _behind_rule(rows, contest),
            }
            for contest, row in rows.items()
        ]
    }


def _behind_rule(rows: Mapping[Contest, Row], contest: Contest) -> dict[str, float] | None:
    """How much less than the rule: the mean over seeds of the differences, with its interval; None
    for the rule itself.
    """
    if contest.name == RULE:
        return None
    same_place = {(c.arena, c.agent): row for c, row in rows.items() if c.name == RULE}
    rule = same_place[contest.arena, contest.agent].mean_by_seed
    other = rows[contest].mean_by_seed
    return asdict(mean_interval(np.subtract(rule, other)))


def _tuned(
    config: MetaTest, contests: Sequence[Contest], console: Console
) -> dict[Contest, dict[float, float | None]]:
    """The late training return of every learning rate; None of a single one."""
    if len(config.rates) == 1:
        return {contest: {config.rates[0]: None} for contest in contests}
    runs = {
        (contest, rate): training_run(config, contest, rate, TUNING_SEED)
        for contest, rate in itertools.product(contests, config.rates)
    }
    console.print(f"Tuning: {len(config.rates)} learning rates each.")
    train_all(list(runs.values()), config.jobs, console)
    tuning: dict[Contest, dict[float, float | None]] = {contest: {} for contest in contests}
    for (contest, rate), run in runs.items():
        tuning[contest][rate] = late_return(run.path, contest.arena.episodes_per_trial)
    return tuning


def _runs(config: MetaTest, contest: Contest, rate: float) -> list[TrainingRun]:
    return [training_run(config, contest, rate, seed) for seed in range(config.seeds)]


def training_run(config: MetaTest, contest: Contest, rate: float, seed: int) -> TrainingRun:
    """One run; its folder's name tells it from all others, a rule by its file's hash."""
    arena = contest.arena
    who = contest.objective.rpartition("/")[2].removesuffix(".json")
    place = str(arena).replace("/", "-")
    changed = told_apart(config.train_options)
    name = f"{place}-{contest.agent}-{who}-lr{rate:g}-{config.frames}{changed}-s{seed}"
    options = {
        **config.train_options,
        "agent": contest.agent,
        "objective": contest.objective,
        "learner.learning-rate": rate,
        "frames": config.frames,
        "seed": seed,
        **arena.options(config.device),
    }
    return TrainingRun.of(config.folder / name, arena.family, options)


def _objectives(rule: Path, config: MetaTest) -> dict[str, str]:
    """What `--objective` takes, by name. Rules are copied into the folder: theirs may change."""
    make_objective(f"{DISCOVERED}{rule}", PPOConfig())
    found = Discovered.load(rule)
    rules = {RULE: found, GENERATION_0: _untaught(found)}
    names = [RULE, *config.against]
    for name in names:
        if name.startswith(DISCOVERED):
            rules[name] = Discovered.load(find_discovered(name.removeprefix(DISCOVERED)))
    config.folder.mkdir(parents=True, exist_ok=True)
    return {name: _copied(rules[name], config, name) if name in rules else name for name in names}


def _untaught(found: Discovered) -> Discovered:
    """What the discovery of a rule began with."""
    notes = found.provenance.notes | {"generations": 0}
    provenance = replace(found.provenance, environment_steps=0, notes=notes)
    return replace(found, rule_M=found.network.first_rule(0), provenance=provenance)


def _copied(rule: Discovered, config: MetaTest, name: str) -> str:
    """Into a file that is named after what it holds."""
    content = f"{rule.kind} {rule.network.config} {rule.rule_M.tolist()}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    path = config.folder.resolve() / f"{Path(name.removeprefix(DISCOVERED)).stem}-{digest}.json"
    rule.save(path)
    return f"{DISCOVERED}{path}"


def _checked(config: MetaTest) -> list[Arena]:
    """The arenas; raises `ValueError` for what cannot be run."""
    arenas = [Arena.parse(text) for text in config.families]
    for agent in config.agents:
        agent_config(agent)
    for objective in set(config.against) - {GENERATION_0}:
        make_objective(objective, PPOConfig())
    config.check(arenas)
    require_positive("seeds", config.seeds)
    if "learner.learning-rate" in config.train_options:
        raise ValueError("learner.learning-rate is tuned: give its candidates as rates.")
    for name in ("families", "agents", "rates"):
        if not getattr(config, name):
            raise ValueError(f"{name} must not be empty.")
    if not all(0.0 < rate < math.inf for rate in config.rates):
        raise ValueError(f"rates must be above 0, got {config.rates}.")
    for arena in arenas:
        resolve_device(config.device, arena.family)
    return arenas


def _or_lowest(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else -math.inf
