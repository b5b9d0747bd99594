"""The adaptation report: what an agent earns in episode 1 … K on held-out tasks.

Shape legend: S seeds (agents), N tasks, D task parameters, K episodes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.envs.accounts import TrialResults
from quickstudy.envs.anchors import Anchors, stored_anchors
from quickstudy.envs.references.reference import Reference
from quickstudy.envs.references.stored import stored_references
from quickstudy.envs.registry import family_class
from quickstudy.envs.tasks import ListedTasks
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.experiments.config import TrainConfig
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.policies import AgentPolicy
from quickstudy.experiments.statistics import (
    Interval,
    adaptation_gain,
    k_shot_curve,
    normalised_score,
    stratified_bootstrap,
)

Returns = NDArray[np.float64]
Successes = NDArray[np.bool_]

FEW_TASKS = 4
"""Up to so many tasks have a row of their own."""


@dataclass(frozen=True)
class EvalConfig:
    """How agents are evaluated."""

    split: str = "test"
    """Which tasks: train, test or ood."""
    tasks: int = 128
    """How many tasks, one trial each."""
    seed: int = 0
    """Decides the list of tasks, physics noise and sampled actions."""
    episodes: int | None = None
    """Episodes per trial; None: as in training."""
    sampled: bool = False
    """Sample actions instead of taking the most likely."""
    switch_episode: int | None = None
    """The episode (2 … K) from which on the next task of the list is played; None: as in
    training."""
    device: str = "cpu"
    """Where worlds and agents are: cpu, cuda or warp-cpu."""

    def setup(self, training: TrainConfig) -> TrialSetup:
        """What agents play that were trained so."""
        return replace(
            training.setup,
            episodes_per_trial=self.episodes or training.episodes_per_trial,
            switch_episode=self.switch_episode or training.switch_episode,
            device=self.device,
        )


@dataclass(frozen=True)
class Report:
    """The returns of one evaluation and what is said about them."""

    family: str
    agent: str
    config: EvalConfig
    task_ND: Tensor
    returns_SNK: Returns
    wiped_SNK: Returns | None
    """The same with memory wiped at each episode, where that was asked for."""
    anchors: Anchors | None
    references: tuple[Reference, ...] = ()
    """What known strategies earn in trials like these."""
    successes_SNK: Successes | None = None
    """Whether any step of the episode was a success; None where the family has no such notion."""

    @property
    def trial(self) -> Interval:
        """Mean return of a whole trial."""
        trial_SN1 = self.returns_SNK.sum(axis=-1, keepdims=True)
        return stratified_bootstrap(
            trial_SN1, "mean", seed=self.config.seed, strata_T=self._strata()
        )

    @property
    def regret(self) -> dict[str, float]:
        """How much less than each reference a trial earns, on average."""
        return {r.name: r.trial_return - self.trial.point for r in self.references}

    @property
    def curve(self) -> list[Interval]:
        """Mean return of each episode with its 95 % interval, tasks weighted as listed."""
        return self._curve(self.returns_SNK)

    @property
    def success_rate(self) -> list[Interval] | None:
        """Share of tasks that are solved in each episode with its 95 % interval."""
        successes = self.successes_SNK
        return None if successes is None else self._curve(successes.astype(np.float64))

    @property
    def gain(self) -> Interval:
        """Last minus first episode."""
        gain_SN1 = adaptation_gain(self.returns_SNK)[..., None]
        return stratified_bootstrap(
            gain_SN1, "mean", seed=self.config.seed, strata_T=self._strata()
        )

    @property
    def normalised(self) -> list[float] | None:
        """Mean normalised score of each episode: 0 non-adaptive, 1 oracle."""
        a = self.anchors
        if a is None or a.non_adaptive is None or a.oracle is None:
            return None
        if a.oracle.mean <= a.non_adaptive.mean:
            return None  # nothing to gain from knowing the task: there is no scale
        mean_K = self.returns_SNK.mean(axis=(0, 1))
        return [float(s) for s in normalised_score(mean_K, a.non_adaptive.mean, a.oracle.mean)]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: returns `[task][episode]` (mean over agents) and `[seed][task][episode]`."""
        wiped, successes, rates = self.wiped_SNK, self.successes_SNK, self.success_rate
        return {
            "family": self.family,
            "agent": self.agent,
            "evaluation": asdict(self.config),
            "tasks": self.task_ND.tolist(),
            "returns": self.returns_SNK.mean(axis=0).tolist(),
            "returns_by_seed": self.returns_SNK.tolist(),
            "returns_memory_wiped_by_seed": None if wiped is None else wiped.tolist(),
            "successes_by_seed": None if successes is None else successes.tolist(),
            "interval": {
                "confidence": 0.95,
                "mean": [asdict(interval) for interval in self.curve],
                "iqm": [asdict(i) for i in self._curve(self.returns_SNK, "iqm")],
                "gain": asdict(self.gain),
                "trial": asdict(self.trial),
                "memory_wiped_mean": None
                if wiped is None
                else [asdict(i) for i in self._curve(wiped)],
                "success": None if rates is None else [asdict(i) for i in rates],
            },
            "normalised": self.normalised,
            "anchors": None if self.anchors is None else asdict(self.anchors),
            "references": [asdict(reference) for reference in self.references],
            "regret": self.regret,
        }

    def scalars(self) -> dict[str, float]:
        """`eval/<split>/…` for TensorBoard and the metrics."""
        prefix = f"eval/{self.config.split}"
        curve = {f"{prefix}/return_ep{k}": i.point for k, i in enumerate(self.curve, start=1)}
        rates = enumerate(self.success_rate or (), start=1)
        solved = {f"{prefix}/success_ep{k}": i.point for k, i in rates}
        return curve | {f"{prefix}/gain": self.gain.point} | solved

    def table(self) -> Table:
        """The report as a table for the terminal."""
        title, columns, rows = self._cells()
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(row[0], *map(_stacked, row[1:]))
        return table

    def markdown(self) -> str:
        """The report as a Markdown table."""
        title, columns, rows = self._cells()
        lines = [f"**{title}**", "", "| " + " | ".join(columns) + " |"]
        lines.append("|" + "---|" * len(columns))
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])

    def _cells(self) -> tuple[str, list[str], list[list[str]]]:
        num_seeds, num_tasks, num_episodes = self.returns_SNK.shape
        title = (
            f"{self.family}, {self.agent}: return per episode, {num_tasks} {self.config.split} "
            f"tasks × {num_seeds} seed(s), mean [95 % interval]"
        )
        columns = ["", *[f"episode {k}" for k in range(1, num_episodes + 1)], "gain"]
        rows = [[self.agent, *map(_interval, self.curve), _interval(self.gain)]]
        rates = self.success_rate
        if rates is not None:
            rows.append(["success rate", *map(_interval, rates), ""])
        rows += self._rows_by_task()
        if self.wiped_SNK is not None:
            wiped = [*map(_interval, self._curve(self.wiped_SNK)), ""]
            rows.append(["memory wiped each episode", *wiped])
        rows += self._anchor_rows(num_episodes)
        if self.normalised is not None:
            scores = [f"{score:.2f}" for score in self.normalised]
            rows.append(["normalised score", *scores, ""])
        if self.references:
            columns += ["trial", "regret"]
            rows[0].append(_interval(self.trial))
            rows += self._reference_rows()
        return title, columns, [row + [""] * (len(columns) - len(row)) for row in rows]

    def _share(self, reference: Reference) -> str:
        """What part of a positive reference is earned."""
        if reference.trial_return <= 0.0:
            return ""
        return f" ({self.trial.point / reference.trial_return:.1%})"

    def _reference_rows(self) -> list[list[str]]:
        return [
            [
                f"reference: {r.name}",
                *map(_number, r.episode_returns),
                _number(r.episode_returns[-1] - r.episode_returns[0]),
                _number(r.trial_return),
                _number(self.regret[r.name]) + self._share(r),
            ]
            for r in self.references
        ]

    def _rows_by_task(self) -> list[list[str]]:
        """One row per task, where there are a few (two directions)."""
        space = family_class(self.family).task_space
        values = torch.unique(self.task_ND[:, 0]).tolist()
        few = isinstance(space, ListedTasks) and space.dim == 1 and 1 < len(values) <= FEW_TASKS
        rows = []
        for value in values if few else []:
            chosen = self.returns_SNK[:, (self.task_ND[:, 0] == value).numpy()]
            curve = k_shot_curve(chosen, seed=self.config.seed)
            gain = float(adaptation_gain(chosen).mean())
            name = f"  {space.parameters[0].name} {value:+.2f}"
            rows.append([name, *map(_interval, curve), _number(gain)])
        return rows

    def _anchor_rows(self, num_episodes: int) -> list[list[str]]:
        if self.anchors is None:
            return []
        return [
            [f"anchor: {name}", *[_number(anchor.mean)] * num_episodes, ""]
            for name, anchor in self.anchors.named.items()
        ]

    def _curve(self, returns_SNK: Returns, statistic: str = "mean") -> list[Interval]:
        return k_shot_curve(returns_SNK, statistic, seed=self.config.seed, strata_T=self._strata())

    def _strata(self) -> list[int] | None:
        """Values of a finite task space are listed evenly by design, not by chance."""
        if not isinstance(family_class(self.family).task_space, ListedTasks):
            return None
        strata: list[int] = torch.unique(self.task_ND[:, 0], return_inverse=True)[1].tolist()
        return strata


def evaluate_agents(
    agents: list[Agent], training: TrainConfig, config: EvalConfig, *, ablate: bool = True
) -> Report:
    """Evaluate agents (one per seed) that were trained alike.

    Args:
        agents: whose returns are stacked along the first axis.
        training: how they were trained.
        config: tasks and seed.
        ablate: also evaluate with memory wiped at each episode: how much of this is memory? (With
            one episode per trial there is nothing to wipe.)

    Raises:
        ValueError: for an unknown split.
    """
    space = family_class(training.family).task_space
    task_ND = space.listing(config.split, config.tasks, config.seed)
    assert training.episode_length is not None

    def play(agent: Agent, wipe_memory: bool) -> TrialResults:
        policy = AgentPolicy(
            agent,
            deterministic=not config.sampled,
            wipe_memory=wipe_memory,
            seed=config.seed,
        )
        return evaluate(policy, config.setup(training), task_ND, config.seed)

    wipe = ablate and (config.episodes or training.episodes_per_trial) != 1
    played = [play(agent, wipe_memory=False) for agent in agents]
    wiped = [play(agent, wipe_memory=True) for agent in agents] if wipe else []
    return Report(
        training.family,
        training.agent,
        config,
        task_ND,
        _returns(played),
        _returns(wiped) if wipe else None,
        _anchors(training, config),
        _references(training, config),
        _successes(played),
    )


def _returns(played: Sequence[TrialResults]) -> Returns:
    return np.stack([trials.returns.numpy() for trials in played])


def _successes(played: Sequence[TrialResults]) -> Successes | None:
    known = [trials.successes.numpy() for trials in played if trials.successes is not None]
    return np.stack(known) if known else None


def _anchors(training: TrainConfig, config: EvalConfig) -> Anchors | None:
    """The stored anchors, unless they were measured on tasks of another distribution."""
    assert training.episode_length is not None
    return (
        None if config.split == "ood" else stored_anchors(training.family, training.episode_length)
    )


def _references(training: TrainConfig, config: EvalConfig) -> tuple[Reference, ...]:
    """The stored references, which are for the prior that `train` and `test` share."""
    assert training.episode_length is not None
    assert training.episodes_per_trial is not None
    if config.split == "ood" or config.switch_episode or training.switch_episode:
        return ()
    episodes = config.episodes or training.episodes_per_trial
    return stored_references(training.family, training.episode_length, episodes)


def _number(value: float) -> str:
    text = f"{value:.1f}" if abs(value) >= 10.0 else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0.0 else text


def _interval(interval: Interval) -> str:
    return f"{_number(interval.point)} [{_number(interval.low)}, {_number(interval.high)}]"


def _stacked(cell: str) -> str:
    """The interval below its mean, so that five episodes fit on a line."""
    return cell.replace(" [", "\n[")
