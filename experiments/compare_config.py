"""What `quickstudy compare` compares: arenas, contenders, and how long they train."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.agents.objectives.registry import make_objective, portable_name
from quickstudy.agents.registry import agent_config
from quickstudy.curricula.teachers import TEACHERS
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.registry import family_entry
from quickstudy.experiments.config import resolve_device
from quickstudy.experiments.scores import SIGNALS, Signal
from quickstudy.experiments.training_runs import require_train_options


@dataclass(frozen=True)
class Arena:
    """A family and the trial it is played in; written `Family` or `Family/60x3` (H × K)."""

    family: str
    episode_length: int
    episodes_per_trial: int

    @classmethod
    def parse(cls, text: str) -> "Arena":
        """Raises `ValueError` for an unknown family or a trial that is not `HxK`."""
        family, _, trial = text.partition("/")
        entry = family_entry(family)
        if not trial:
            return cls(family, entry.episode_length, entry.episodes_per_trial)
        sizes = trial.split("x")
        if len(sizes) != 2 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ValueError(f"{text!r}: write a trial as {family}/HxK, such as {family}/60x3.")
        return cls(family, int(sizes[0]), int(sizes[1]))

    def require_frames(self, frames: int) -> None:
        """Raise `ValueError` if they are less than one trial."""
        if frames < self.episode_length * self.episodes_per_trial:
            raise ValueError(f"frames {frames} is less than one trial of {self}.")

    def options(self, device: str) -> dict[str, object]:
        """What `quickstudy train` is told of it, on a device that may be `auto`."""
        return {
            "episode-length": self.episode_length,
            "episodes-per-trial": self.episodes_per_trial,
            "device": resolve_device(device, self.family),
        }

    def __str__(self) -> str:
        return f"{self.family}/{self.episode_length}x{self.episodes_per_trial}"


@dataclass(frozen=True)
class Contender:
    """An agent, how it learns and who teaches it: `agent[@objective][+teacher[:signal]]`."""

    agent: str
    teacher: str = "none"
    signal: Signal | Literal["auto"] = "auto"
    objective: str = "ppo"

    @classmethod
    def parse(cls, text: str) -> "Contender":
        """Raises `ValueError` for an unknown agent, objective, teacher or signal."""
        learner, plus, taught = text.partition("+")
        agent, _, objective = learner.partition("@")
        agent_config(agent)
        objective = objective or "ppo"
        make_objective(objective, PPOConfig())
        objective = portable_name(objective)
        return cls(agent, *_lessons(taught), objective) if plus else cls(agent, objective=objective)

    def __str__(self) -> str:
        learner = self.agent if self.objective == "ppo" else f"{self.agent}@{self.objective}"
        return learner if self.teacher == "none" else f"{learner}+{self.teacher}:{self.signal}"


def _lessons(text: str) -> tuple[str, Signal]:
    """A teacher and what it is told; raises `ValueError` for an unknown one."""
    teacher, _, signal = text.partition(":")
    if teacher not in TEACHERS:
        raise unknown("teacher", teacher, TEACHERS)
    if not signal:
        return teacher, TEACHERS[teacher].told
    for known in SIGNALS:
        if known == signal:
            return teacher, known
    raise unknown("signal", signal, SIGNALS)


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """What studies of many trainings have in common."""

    frames: int = 1_000_000
    """Training frames of each run."""
    train_options: dict[str, str] = field(default_factory=dict)
    """Options of `quickstudy train` for every run, without their dashes: NAME VALUE …, such as
    worlds 32 learner.minibatch-frames 1600."""
    tasks: int = 128
    """Test tasks each trained agent is scored on."""
    jobs: int = 1
    """Runs at a time, each on its share of the processors."""
    device: str = "auto"
    """Where to run: auto, cpu, cuda or warp-cpu."""

    def check(self, arenas: Sequence[Arena]) -> None:
        """Raise `ValueError` for an option or a count that no training can have."""
        require_train_options(self.train_options)
        for name in ("frames", "tasks", "jobs"):
            require_positive(name, getattr(self, name))
        for arena in arenas:
            arena.require_frames(self.frames)


@dataclass(frozen=True)
class CompareConfig(Trainings):
    """What is compared."""

    families: tyro.conf.Positional[tuple[str, ...]]
    """Families, each as Family or Family/HxK (episode length × episodes per trial)."""
    agents: tuple[str, ...] = ("rl2",)
    """Agents; `quickstudy list` shows them. Each alone, with an objective (rl2@dpo), with a teacher
    (rl2+alp-gmm, rl2@dpo+alp-gmm), or with a teacher and what it is told (rl2+alp-gmm:gain)."""
    seeds: int = 3
    """Training seeds 0 … seeds − 1 of each."""
    folder: Path = Path("runs/compare")
    """Where the runs are kept."""

    def arenas(self) -> list[Arena]:
        """The families and their trials, once all else is found to be sound.

        Raises:
            ValueError: for an unknown family, agent, objective, teacher, signal, trial or option,
                or a count below 1.
        """
        arenas = [Arena.parse(text) for text in self.families]
        if not arenas or not self.agents:
            raise ValueError("Compare what? Give at least one family and one agent.")
        for agent in self.agents:
            Contender.parse(agent)
        require_positive("seeds", self.seeds)
        self.check(arenas)
        return arenas
