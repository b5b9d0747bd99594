"""What trials are like, whatever number of them runs side by side on whatever tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from quickstudy.envs.trials import TaskSource, TrialEnv


@dataclass(frozen=True)
class TrialSetup:
    """A family, how it is played, and where."""

    family: str
    """A registered name."""
    episode_length: int | None = None
    """Steps per episode; the family's default if None."""
    episodes_per_trial: int | None = None
    """K; the family's default if None."""
    switch_episode: int | None = None
    """The episode from which on another task is played; None: one task per trial."""
    reveal_task: bool = False
    """Append the task to the observation."""
    device: str = "cpu"
    """Where worlds and tensors live."""
    family_options: Mapping[str, object] = field(default_factory=dict)
    """What the family lets a user choose."""

    def env(self, num_worlds: int, task_source: TaskSource | None = None) -> TrialEnv:
        """The worlds, on tasks of a source (draws from the `train` split if None).

        Raises:
            ValueError: as `TrialEnv`.
        """
        return TrialEnv(
            self.family,
            num_worlds,
            episode_length=self.episode_length,
            episodes_per_trial=self.episodes_per_trial,
            switch_episode=self.switch_episode,
            task_source=task_source,
            reveal_task=self.reveal_task,
            device=self.device,
            family_options=self.family_options,
        )
