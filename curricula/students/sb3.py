"""Who a learner of Stable-Baselines3 (PPO, SAC) is; `sb3_learner.py` is the learner."""

from dataclasses import dataclass
from typing import Any, Literal

from quickstudy.curricula.curriculum import teaching_dim
from quickstudy.curricula.student import Student
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.registry import family_class, family_entry

ALGORITHMS = ("ppo", "sac")


@dataclass(frozen=True)
class SB3Config:
    """A learner with the package's own constants, but for those below."""

    family: str = "PointGoal"
    """The task family."""
    algorithm: Literal["ppo", "sac"] = "ppo"
    low: float = 0.0
    """The return that counts as score 0; what is below, too."""
    high: float = 1.0
    """The return that counts as score 1; what is above, too."""
    episode_length: int = 0
    """Steps per episode; 0: the family's default."""
    learning_rate: float = 3e-4
    hidden_size: int = 64
    """Units in each of two hidden layers."""
    rollout_steps: int = 2048
    """PPO: steps between updates."""
    learning_starts: int = 1000
    """SAC: steps before the first update, with random actions."""
    evaluations: int = 1
    """Episodes per test task."""
    family_options: tuple[tuple[str, str], ...] = ()
    """What the family lets a user choose, by name, as text."""

    @property
    def dim(self) -> int:
        return teaching_dim(family_class(self.family).task_space)

    @property
    def space(self) -> dict[str, Any]:
        tasks = family_class(self.family).task_space
        return {
            "name": self.family,
            "version": family_entry(self.family).version,
            "digest": tasks.digest("train"),
            "score": [self.low, self.high],
            "episode_length": self.length,
        }

    @property
    def length(self) -> int:
        """Steps per episode."""
        return self.episode_length or family_entry(self.family).episode_length

    def build(self, seed: int) -> Student:
        """Raises `ValueError` for an unknown family or algorithm, or constants without sense."""
        if self.algorithm not in ALGORITHMS:
            raise unknown("algorithm", self.algorithm, ALGORITHMS)
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}.")
        for name in ("length", "hidden_size", "rollout_steps", "evaluations"):
            require_positive(name, getattr(self, name))
        # A heavy import, which the configuration of other students does not need.
        from quickstudy.curricula.students.sb3_learner import SB3Student

        return SB3Student(self, seed)
