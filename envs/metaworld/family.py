"""What Meta-World's families share.

Shape legend: N worlds, D task parameters, O observation features.
"""

import inspect
import os
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.errors import require_positive
from quickstudy.envs.family import Family, Outcome, unbounded_box, unit_box
from quickstudy.envs.metaworld.experts import scripted_action
from quickstudy.envs.metaworld.manual import manual
from quickstudy.envs.metaworld.package import load_metaworld
from quickstudy.envs.metaworld.workers import Workers
from quickstudy.envs.metaworld.worlds import ACTION_SIZE, OBSERVATION_SIZE, STAYS, Worlds

WORLDS_PER_WORKER = 4
"""With fewer, starting and asking another process gains little."""


class MetaWorld(Family):
    """Manipulation environments of the package metaworld, unchanged.

    Each step says whether it is a success. Meta-World's results are stated in episodes of which any
    step was (its own evaluation ends them there): `TrialResults.successes`.
    """

    observation_space = unbounded_box(OBSERVATION_SIZE)
    action_space = unit_box(ACTION_SIZE)
    render_fps = 80
    reports_success = True
    draws_chance = False
    goal_visible: ClassVar[bool]
    """False where the goal's position is zeroed in the observation."""

    def __init_subclass__(cls) -> None:
        """A family writes its own manual up to the tasks; the rest is common to all."""
        super().__init_subclass__()
        if "task_space" in cls.__dict__:
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{manual(cls.goal_visible)}"

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_workers: int | None = None
    ) -> None:
        """`num_workers` processes step the worlds; by default as many as there are processors.

        Raises:
            ValueError: where metaworld is missing or of another version.
        """
        super().__init__(num_worlds, device)
        load_metaworld()
        self._worlds = _make_worlds(num_worlds, num_workers, goal_visible=self.goal_visible)
        self._drawn: Worlds | None = None
        self._observation_NO = torch.from_numpy(self._worlds.result.observation_NO)

    def reset(self, mask_N: Tensor, task_ND: Tensor, key_N: Tensor) -> None:
        """As `Family.reset`.

        Raises:
            ValueError: for an environment or a goal that does not exist.
        """
        last_D = torch.tensor([p.high for p in self.task_space.parameters])
        exists_ND = (task_ND >= 0) & (task_ND <= last_D) & (task_ND == task_ND.floor())
        missing_N = mask_N & ~exists_ND.all(dim=1)
        if missing_N.any():
            raise ValueError(
                f"A Meta-World task is two integers, an environment from 0 to {last_D[0]:.0f} and "
                f"a goal from 0 to {last_D[1]:.0f}, got {task_ND[missing_N][0].tolist()}."
            )
        super().reset(mask_N, task_ND, key_N)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        del key_N  # unused: Meta-World starts all episodes on a task in the same state
        task_N2 = self.task_ND.long().masked_fill(~mask_N.unsqueeze(1), STAYS)
        self._worlds.reset(task_N2.numpy())

    def _advance(self, action: Tensor) -> Outcome:
        self._worlds.step(action.to(torch.float32).numpy())
        result = self._worlds.result
        diverged_N = torch.from_numpy(result.diverged_N.copy())
        success_N = torch.from_numpy(result.success_N) & ~diverged_N
        reward_N = torch.from_numpy(result.reward_N).masked_fill(diverged_N, 0.0)
        # Only a time limit or divergence ends an episode.
        return Outcome({"metaworld": reward_N}, self._never_N, diverged_N, success_N)

    def _observe(self) -> Tensor:
        return self._observation_NO

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """Meta-World's scripted policy of the believed environment, shown the believed goal."""
        rows = zip(belief_ND.int().tolist(), self._observation_NO.numpy(), strict=True)
        chosen = [scripted_action(task[0], task[1], observation) for task, observation in rows]
        return torch.from_numpy(np.stack(chosen)).to(torch.float32)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "task": self.task_ND.clone(),
            "diverged": self._diverged_N.clone(),
            "observation": self._observation_NO.clone(),
            "worlds": torch.from_numpy(self._worlds.save()),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = state["task"].clone()
        self._diverged_N = state["diverged"].clone()
        self._observation_NO.copy_(state["observation"])
        self._worlds.load(self.task_ND.long().numpy(), state["worlds"].numpy())

    def render(self, world: int = 0) -> np.ndarray:
        """The scene from Meta-World's camera `corner2`, the goal in magenta, hidden or not."""
        if self._drawn is None:  # a copy of the world, which may live in another process
            self._drawn = Worlds(1, goal_visible=self.goal_visible)
        task_12 = self.task_ND[world : world + 1].long().numpy()
        self._drawn.load(task_12, self._worlds.save()[world : world + 1])
        return self._drawn.picture(0)

    def close(self) -> None:
        """Free what `render` opened and end the processes: nothing can be stepped afterwards."""
        if self._drawn is not None:
            self._drawn.close()
            self._drawn = None
        self._worlds.close()


def _make_worlds(
    num_worlds: int, num_workers: int | None, *, goal_visible: bool
) -> Worlds | Workers:
    if num_workers is None:
        processors = len(os.sched_getaffinity(0))
        num_workers = max(1, min(processors, num_worlds // WORLDS_PER_WORKER))
    require_positive("num_workers", num_workers)
    if num_workers == 1:
        return Worlds(num_worlds, goal_visible=goal_visible)
    return Workers(num_worlds, min(num_workers, num_worlds), goal_visible=goal_visible)
