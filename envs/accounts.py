"""What trials bring: the return, length and success of each episode, in N worlds at once.

Shape legend: N worlds, n finished trials, D task parameters, K episodes per trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.envs.finished import Rows


@dataclass(frozen=True)
class TrialResults:
    """Finished trials, in the order in which they finished; on the CPU."""

    tasks: Tensor
    """`(n, D)` float64; where tasks switch, the one that the trial began with."""
    returns: Tensor
    """`(n, K)` float64: the return of each episode."""
    lengths: Tensor
    """`(n, K)` int64: the steps of each episode."""
    worlds: Tensor
    """`(n,)` int64: the world each trial ran in."""
    successes: Tensor | None = None
    """`(n, K)` bool: True where any step of the episode was a success, as Meta-World counts; None
    where the family has no notion of it."""

    def rows(self, index: Tensor) -> "TrialResults":
        """Those of the trials that `index` (integers, or a mask) names."""
        return TrialResults(
            self.tasks[index],
            self.returns[index],
            self.lengths[index],
            self.worlds[index],
            None if self.successes is None else self.successes[index],
        )


def joined(parts: Sequence[TrialResults]) -> TrialResults:
    """The trials of all parts (at least one), one after the other."""
    successes = [part.successes for part in parts if part.successes is not None]
    return TrialResults(
        torch.cat([part.tasks for part in parts]),
        torch.cat([part.returns for part in parts]),
        torch.cat([part.lengths for part in parts]),
        torch.cat([part.worlds for part in parts]),
        torch.cat(successes) if successes else None,
    )


class Accounts:
    """Adds up what the episodes of each world's present trial bring."""

    def __init__(
        self,
        num_worlds: int,
        num_episodes: int,
        device: torch.device,
        *,
        counts_success: bool = False,
    ) -> None:
        """Open an account for each world; `counts_success` where steps say if they are one."""
        self._shape = (num_worlds, num_episodes)
        self._device = device
        self._counts_success = counts_success
        self._episodes_K = torch.arange(num_episodes, device=device)
        self.clear()

    def clear(self) -> None:
        """Open all accounts anew."""
        shape, device = self._shape, self._device
        self._return_N = torch.zeros(shape[0], dtype=torch.float64, device=device)
        self._returns_NK = torch.zeros(shape, dtype=torch.float64, device=device)
        self._lengths_NK = torch.zeros(shape, dtype=torch.int64, device=device)
        self._success_N: Tensor | None = None
        self._successes_NK: Tensor | None = None
        if self._counts_success:
            self._success_N = torch.zeros(shape[0], dtype=torch.bool, device=device)
            self._successes_NK = torch.zeros(shape, dtype=torch.bool, device=device)

    def add(self, reward_N: Tensor, success_N: Tensor | None) -> None:
        """Enter one step of every world."""
        self._return_N = self._return_N + reward_N
        if self._success_N is not None:
            assert success_N is not None, "the family reports success, this step does not"
            self._success_N = self._success_N | success_N

    def end_episodes(self, ended_N: Tensor, episode_N: Tensor, length_N: Tensor) -> None:
        """Close the present episode, number `episode_N` (from 0), where `ended_N` is True."""
        present_NK = ended_N.unsqueeze(1) & (episode_N.unsqueeze(1) == self._episodes_K)
        self._returns_NK = torch.where(present_NK, self._return_N.unsqueeze(1), self._returns_NK)
        self._lengths_NK = torch.where(present_NK, length_N.unsqueeze(1), self._lengths_NK)
        self._return_N = self._return_N.masked_fill(ended_N, 0.0)
        if self._success_N is not None and self._successes_NK is not None:
            success_N1 = self._success_N.unsqueeze(1)
            self._successes_NK = torch.where(present_NK, success_N1, self._successes_NK)
            self._success_N = self._success_N & ~ended_N

    def rows(self) -> Rows:
        """The accounts of every world's episodes, named as in `TrialResults`."""
        rows = {"returns": self._returns_NK, "lengths": self._lengths_NK}
        return rows if self._successes_NK is None else rows | {"successes": self._successes_NK}

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of everything."""
        state = {"return": self._return_N} | self.rows()
        if self._success_N is not None:
            state["success"] = self._success_N
        return {name: value.clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken; other names in `state` are left alone."""
        self._return_N = state["return"].clone()
        self._returns_NK = state["returns"].clone()
        self._lengths_NK = state["lengths"].clone()
        if self._success_N is not None:
            self._success_N = state["success"].clone()
            self._successes_NK = state["successes"].clone()
