"""The command line: `quickstudy list | train | eval | compare | play | bench | anchors | …`.

Heavy imports happen inside the commands, so that `--help` and mistyped options answer at once.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from quickstudy.envs.errors import unknown
from quickstudy.envs.registry import FAMILIES
from quickstudy.experiments.classroom_cli import Classroom
from quickstudy.experiments.compare_config import CompareConfig
from quickstudy.experiments.config import TrainConfig, resolve_device
from quickstudy.experiments.console import make_console
from quickstudy.experiments.discovery_cli import Discover, study_command
from quickstudy.experiments.output_files import require_folder_of


@dataclass(frozen=True)
class List:
    """Show families, agents, objectives and teachers, or all that is known of one family."""

    family: str | None = None
    """One family: its manual, splits with digests, anchors with intervals, references, sources, and
    how many bits it asks for."""

    def __call__(self) -> None:
        from quickstudy.experiments.family_card import family_card
        from quickstudy.experiments.listing import (
            agents_table,
            families_table,
            objectives_table,
            teachers_table,
        )

        console = make_console()
        if self.family is not None:
            console.print(family_card(self.family))
            return
        console.print(families_table())
        console.print(agents_table())
        console.print(objectives_table())
        console.print(teachers_table())


@dataclass(frozen=True)
class Train:
    """Train an agent on a family of tasks, or go on with a run by --resume."""

    family: tyro.conf.Positional[str | None] = None
    """The task family; `quickstudy list` shows them."""
    resume: Path | None = None
    """Go on with the run in this folder, bit for bit; takes no other option, but for a --device to
    go on elsewhere (then not bit for bit)."""
    run_dir: Path | None = None
    """Where to keep the run; None: runs/<family>-<agent>-s<seed>-<time>."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)

    def __call__(self) -> None:
        from quickstudy.experiments import train

        if self.resume is not None:
            elsewhere = TrainConfig(device=self.config.device)
            if self != Train(resume=self.resume, config=elsewhere):
                raise ValueError(
                    "--resume goes on with a run as it was begun: give nothing else (but --device)."
                )
            device = None if self.config.device == "auto" else self.config.device
            train.resume(self.resume, make_console(), device)
            return
        if self.family is None:
            raise ValueError(f"Which family? Options: {', '.join(FAMILIES)}.")
        train.train(replace(self.config, family=self.family), self.run_dir, make_console())


@dataclass(frozen=True)
class Eval:
    """Play trained agents on held-out tasks: return of episode 1 … K, beside the anchors."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; several that differ only in their seed are evaluated together."""
    split: str = "test"
    """Which tasks: train, test or ood."""
    tasks: int = 128
    """How many tasks; each is played for exactly one trial."""
    seed: int = 0
    """Decides the list of tasks, physics noise and sampled actions."""
    episodes: int | None = None
    """Episodes per trial; None: as in training."""
    sampled: bool = False
    """Sample actions instead of taking the most likely."""
    switch_episode: int | None = None
    """The episode (2 … K) from which on the next task of the list is played, untold; None: as in
    training."""
    checkpoint: str = "latest"
    """Which checkpoint: latest, or best (by the return of training trials)."""
    device: str = "auto"
    """Where to play, wherever the runs were: auto, cpu, cuda or warp-cpu."""
    json: Path | None = None
    """Write returns, intervals and anchors to this file."""
    save_memory: bool = False
    """Also write what the memory holds at the end of each episode, labelled with task, episode and
    return, for TensorBoard's projector (into the folder `projector` of each run)."""

    def __call__(self) -> None:
        from quickstudy.experiments.evaluate_runs import evaluate_runs, export_memory, family_of
        from quickstudy.experiments.report import EvalConfig

        require_folder_of(self.json)
        config = EvalConfig(
            self.split,
            self.tasks,
            self.seed,
            self.episodes,
            self.sampled,
            self.switch_episode,
            _chosen_device(self.device, family_of(self.runs)),
        )
        report = evaluate_runs(self.runs, config, self.checkpoint)
        make_console().print(report.table())
        if self.json is not None:
            self.json.write_text(json.dumps(report.to_dict(), indent=1))
        for run in self.runs if self.save_memory else ():
            folder = export_memory(run, config, self.checkpoint)
            make_console().print(f"Memory: tensorboard --logdir {folder}")


@dataclass(frozen=True)
class Compare:
    """Train several agents on several families with several seeds, and print one table of each.

    What is finished in the folder is not repeated, what was cut off goes on.
    """

    config: Annotated[CompareConfig, tyro.conf.arg(name="")]
    json: Path | None = None
    """Write the table's figures, versions and the command to this file."""
    plot: Path | None = None
    """Draw the last episode's return against the episode length into this PNG, SVG or PDF."""

    def __call__(self) -> None:
        from quickstudy.experiments.compare import compare, record
        from quickstudy.experiments.plots import plot_by_length, require_matplotlib

        require_folder_of(self.json)
        if self.plot is not None:
            require_folder_of(self.plot)
            require_matplotlib()
        rows = compare(self.config, make_console())
        if self.json is not None:
            self.json.write_text(json.dumps(record(self.config, rows), indent=1) + "\n")
        if self.plot is not None:
            plot_by_length(rows, self.plot)


@dataclass(frozen=True)
class Play:
    """Watch a policy play single trials: zero, random, expert, or a trained agent."""

    family: tyro.conf.Positional[str]
    """The task family."""
    agent: str = "random"
    """zero, random, expert (where the family has a scripted one), or a run folder."""
    split: str = "train"
    """Where the tasks come from."""
    tasks: int = 4
    """How many tasks."""
    task: tuple[float, ...] = ()
    """One task of your own instead, parameter by parameter."""
    family_options: dict[str, str] = field(default_factory=dict)
    """What the family lets you choose: NAME VALUE …; a run brings its own."""
    seed: int = 0
    """Decides tasks, physics noise and random actions."""
    video: Path | None = None
    """Film the trials into this MP4 (or GIF, by its name)."""
    beside: str | None = None
    """A second policy, named as --agent is: filmed below the first, in the same worlds (before and
    after, say)."""
    device: str = "auto"
    """Where to play: auto, cpu, cuda or warp-cpu."""

    def __call__(self) -> None:
        from quickstudy.experiments import play
        from quickstudy.experiments.video import require_film

        require_folder_of(self.video)
        if self.video is not None:
            require_film(self.video)
        device = _chosen_device(self.device, self.family)
        options = self.family_options
        player = play.make_player(self.family, self.agent, self.seed, device, options)
        tasks = play.choose_tasks(self.family, self.split, self.tasks, self.seed, self.task)
        make_console().print(play.play(player, tasks, self.seed))
        if self.video is None:
            return
        players = [player]
        if self.beside is not None:
            other = play.make_player(self.family, self.beside, self.seed, device)
            players.append(other.in_worlds_of(player))
        play.film_players(players, tasks, self.seed, self.video)


@dataclass(frozen=True)
class MeasureAnchors:
    """Measure what zero, random, non-adaptive and oracle policies earn on a family."""

    family: tyro.conf.Positional[str]
    """The task family."""
    oracle: Path | None = None
    """A run of `quickstudy train FAMILY --agent oracle`; not needed where an expert is scripted."""
    markov: Path | None = None
    """A run of `quickstudy train FAMILY --agent markov`: a candidate for the non-adaptive one."""
    episode_length: int | None = None
    """Steps per episode; None: the family's default."""
    tasks: int = 1000
    """Test tasks, one episode each."""
    seed: int = 0
    """Decides tasks, physics noise and random actions."""
    device: str = "cpu"
    """Where to play: auto, cpu, cuda or warp-cpu."""
    write: bool = False
    """Store the anchors in the package."""

    def __call__(self) -> None:
        from quickstudy.envs.anchors import store_anchors
        from quickstudy.experiments.anchors import measure_anchors

        anchors = measure_anchors(
            self.family,
            episode_length=self.episode_length,
            oracle_run=self.oracle,
            markov_run=self.markov,
            num_tasks=self.tasks,
            seed=self.seed,
            device=_chosen_device(self.device, self.family),
        )
        console = make_console()
        for name, anchor in anchors.named.items():
            interval = f"{anchor.mean:.1f} [{anchor.low:.1f}, {anchor.high:.1f}]"
            console.print(f"{name:>13}: {interval}  ({anchor.policy})", markup=False)
        if self.write:
            store_anchors(anchors)


@dataclass(frozen=True)
class References:
    """Compute what known strategies earn on a family: Bayes-optimal, Gittins and others."""

    family: tyro.conf.Positional[str]
    """The task family."""
    episode_length: int | None = None
    """Steps per episode; None: the family's default."""
    episodes: int | None = None
    """Episodes per trial; None: the family's default."""
    trials: int = 20_000
    """Trials behind each score that is played rather than computed."""
    seed: int = 0
    """Decides tasks, chance and the strategies' own draws."""
    write: bool = False
    """Store them in the package; `quickstudy eval` then prints the regret to them."""

    def __call__(self) -> None:
        from quickstudy.experiments.references import measure_references

        table = measure_references(
            self.family,
            episode_length=self.episode_length,
            episodes=self.episodes,
            trials=self.trials,
            seed=self.seed,
            write=self.write,
        )
        make_console().print(table)


@dataclass(frozen=True)
class Bench:
    """Measure speed and memory against bars: C loop, Gymnasium, sb3-contrib, nn.LSTM (minutes)."""

    suite: tyro.conf.Positional[str] = "core"
    """core (physics, environments, training), envs (every MuJoCo family against its physics, those
    of dm_control and Meta-World also against the packages), models (every memory by itself) or
    families (those without physics). On cuda, core is everything that there is for it."""
    json: Path | None = None
    """Write versions, machine load and every repetition's figures to this file."""
    device: str = "auto"
    """Where to measure: cpu, cuda, or auto (cuda where there is a GPU and the suite has cases)."""
    quick: bool = False
    """A minute instead of six, and rougher figures."""
    only: tuple[str, ...] = ()
    """Run the cases whose names contain any of these, such as physics or AntDir; all if none."""
    seed: int = 0
    """Decides actions, tasks and weights."""

    def __call__(self) -> None:
        from quickstudy.experiments.benchmarks.bench import BenchConfig, bench

        config = BenchConfig(self.suite, self.json, self.device, self.quick, self.only, self.seed)
        bench(config, make_console())


@dataclass(frozen=True)
class Doctor:
    """Say what is installed and what is missing, with the command that fixes it."""

    def __call__(self) -> None:
        from quickstudy.experiments.doctor import examine, table

        make_console().print(table(examine()))


Command = (
    List
    | Train
    | Eval
    | Compare
    | Play
    | Classroom
    | Discover
    | Bench
    | MeasureAnchors
    | References
    | Doctor
)

COMMANDS: dict[str, Callable[..., Command]] = {
    "list": List,
    "train": Train,
    "eval": Eval,
    "play": Play,
    "compare": Compare,
    "classroom": Classroom,
    "discover": Discover,
    "references": References,
    "bench": Bench,
    "anchors": MeasureAnchors,
    "doctor": Doctor,
}


def main() -> None:
    """Run the command line.

    A user's error is one line on stderr and exit code 2; training that blew up, or a process that
    died, exit code 1.
    """
    first = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if not first.startswith("-") and first not in COMMANDS:
        _fail(unknown("command", first, COMMANDS))
    command = study_command(sys.argv[1:]) or tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="quickstudy"
    )
    try:
        command()
    except (ValueError, FileNotFoundError) as error:
        _fail(error)
    except (FloatingPointError, ChildProcessError) as error:
        _fail(error, code=1)


def _chosen_device(device: str, family: str) -> str:
    """The device to use; says so where it was chosen and is not the CPU."""
    chosen = resolve_device(device, family)
    if device == "auto" and chosen != "cpu":
        make_console().print(f"Device: {chosen}")
    return chosen


def _fail(error: Exception, code: int = 2) -> None:
    sys.stderr.write(f"quickstudy: {error}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
