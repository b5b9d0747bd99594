"""MemoryChain: a cue seen once must be named many steps later."""

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.families.probes import NO_TASK
from quickstudy.envs.family import Family, Outcome, unbounded_box

PICTURE_HEIGHT, PICTURE_WIDTH = 40, 240
CUE_COLOURS = {-1: (200, 80, 60), 1: (40, 90, 170)}
EMPTY, PASSED, QUERY = (248, 248, 248), (205, 205, 205), (235, 190, 60)


class MemoryChain(Family):
    """A chain as long as the episode: a sign at its first step, a question at its last.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | none | 0 | 1 |

    There is no hidden task: the cue, −1 or +1 with equal chances, is drawn for each episode.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | cue: shown at the first step, afterwards 0 | {−1, 0, 1} | 1 |
    | 1 | query: 1 at the last step, before 0 | {0, 1} | 1 |

    The source also shows the remaining time, which agents have as their clock.

    ## Action

    0 names the cue −1, 1 names +1. Only the last step's counts.

    ## Reward

    `answer` = 1 at the last step if the action names the cue, −1 if not; 0 at all other steps.

    ## Episode

    Terminates with the answer; 64 steps by default, 1 episode per trial. The length of an episode
    is the length of the chain: `--episode-length 512` asks for a memory of 511 steps. The best
    return is 1; without a memory it is 0.

    Agents are not shown their last action here (unlike anywhere else): actions before the last have
    no effect, so whoever saw them could keep the cue by repeating it, without a memory.

    ## Source

    The memory length experiment of bsuite (Osband et al. 2020) with one bit.

    ## Peers

    bsuite shows the share of the time that is left; here the clock is part of every agent's input.
    """

    task_space = NO_TASK
    shows_action = False
    observation_space = unbounded_box(2)
    action_space = spaces.Discrete(2)

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._cue_N = torch.zeros(num_worlds, dtype=torch.float64, device=self.device)
        self._step_N = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        cue_N = torch.where(rng.uniform(key_N, 1)[:, 0] < 0.5, -1.0, 1.0).to(torch.float64)
        self._cue_N = torch.where(mask_N, cue_N, self._cue_N)
        self._step_N = self._step_N.masked_fill(mask_N, 0)

    def _advance(self, action: Tensor) -> Outcome:
        asked_N = self._asked()
        answer_N = asked_N * self._cue_N * (2 * action - 1)
        self._step_N = self._step_N + 1
        return Outcome({"answer": answer_N}, asked_N, self._never_N)

    def _asked(self) -> Tensor:
        return self._step_N == self.episode_length - 1

    def _observe(self) -> Tensor:
        # Not a product: −1 · 0 is −0, which still shows the sign.
        cue_N = torch.where(self._step_N == 0, self._cue_N, 0.0)
        return torch.stack([cue_N, self._asked()], dim=1)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "task": self.task_ND.clone(),
            "cue": self._cue_N.clone(),
            "step": self._step_N.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._cue_N = self._restored(state["cue"])
        self._step_N = self._restored(state["step"])

    def render(self, world: int = 0) -> np.ndarray:
        """The chain from left to right: cue (red −1, blue +1), steps passed grey, query yellow."""
        end = PICTURE_WIDTH // 12
        passed = (PICTURE_WIDTH - 2 * end) * int(self._step_N[world]) // self.episode_length
        picture = np.empty((PICTURE_HEIGHT, PICTURE_WIDTH, 3), np.uint8)
        picture[:] = EMPTY
        picture[:, :end] = CUE_COLOURS[int(self._cue_N[world])]
        picture[:, end : end + passed] = PASSED
        picture[:, -end:] = QUERY
        return picture
