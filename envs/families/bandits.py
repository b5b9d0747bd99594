"""Bernoulli bandits: pull k arms n times and find out which pays most often.

Shape legend: N worlds, k arms.
"""

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.family import Family, Outcome, unbounded_box
from quickstudy.envs.tasks import Parameter, PriorTasks

PICTURE_HEIGHT = 100
ARM_WIDTH = 8

MANUAL = """
## Task

| index | name | train, test | ood | unit |
|---|---|---|---|---|
| {indices} | {names} | U[0, 1] each | U[0, 0.5] each | 1 |

How often each arm pays. Train and test tasks are independent draws from one prior (never twice the
same), so that a score can be compared with the best that is possible under this prior.

## Observation

| index | meaning | range | unit |
|---|---|---|---|
| 0 | nothing | 0 | 1 |

## Action

An arm, 0 to {last}.

## Reward

`pull` = 1 with the pulled arm's probability, else 0.

## Episode

Never terminates; {n} steps by default, 1 episode per trial.

## Source

Duan et al. 2016 (RL², section 3.1).

## Peers

Duan et al. and SNAIL play trials of 10, 100 or 500 pulls with 5, 10 or 50 arms, on the same prior;
their scores are means of 1000 trials, some of them above the optimum by chance.
"""


class _Bandit(Family):
    """A bandit; its subclasses say how many arms, and how many pulls by default."""

    observation_space = unbounded_box(1)

    def __init_subclass__(cls, arms: int, pulls: int) -> None:
        names = [f"p_{i + 1}" for i in range(arms)]
        parameters = (Parameter(name, 0.0, 1.0, "1") for name in names)
        cls.task_space = PriorTasks(*parameters, ood=((0.0, 0.5),) * arms)
        cls.action_space = spaces.Discrete(arms)
        indices = ", ".join(str(i) for i in range(arms))
        manual = MANUAL.format(indices=indices, names=", ".join(names), last=arms - 1, n=pulls)
        cls.__doc__ = f"{cls.__doc__}\n{manual}"

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._key_N = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)
        self._step_N = torch.zeros_like(self._key_N)
        self._arm_N = torch.full_like(self._key_N, -1)  # the last one pulled, for the picture

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        self._key_N = torch.where(mask_N, key_N, self._key_N)
        self._step_N = self._step_N.masked_fill(mask_N, 0)
        self._arm_N = self._arm_N.masked_fill(mask_N, -1)

    def _advance(self, action: Tensor) -> Outcome:
        u_N = rng.uniform(rng.fold_in(self._key_N, self._step_N), 1)[:, 0]
        p_N = self.task_ND.gather(1, action.unsqueeze(1))[:, 0]
        self._step_N = self._step_N + 1
        self._arm_N = action
        return Outcome({"pull": (u_N < p_N).to(torch.float64)}, self._never_N, self._never_N)

    def _observe(self) -> Tensor:
        return torch.zeros(self.num_worlds, 1, device=self.device)

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """The arm that pays most often."""
        return belief_ND.argmax(dim=1)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "task": self.task_ND.clone(),
            "key": self._key_N.clone(),
            "step": self._step_N.clone(),
            "arm": self._arm_N.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._key_N = self._restored(state["key"])
        self._step_N = self._restored(state["step"])
        self._arm_N = self._restored(state["arm"])

    def render(self, world: int = 0) -> np.ndarray:
        """A bar per arm, as high as its probability; the arm last pulled is blue."""
        probabilities_k = self.task_ND[world].tolist()
        picture = np.full((PICTURE_HEIGHT, ARM_WIDTH * len(probabilities_k), 3), 245, np.uint8)
        for arm, p in enumerate(probabilities_k):
            colour = (40, 90, 170) if arm == int(self._arm_N[world]) else (170, 170, 170)
            top = round((1.0 - p) * (PICTURE_HEIGHT - 1))
            picture[top:, arm * ARM_WIDTH : (arm + 1) * ARM_WIDTH - 1] = colour
        return picture


class Bandit2(_Bandit, arms=2, pulls=100):
    """Two arms that pay 1 or 0, each with a probability of its own."""


class Bandit5(_Bandit, arms=5, pulls=10):
    """Five arms that pay 1 or 0, each with a probability of its own."""


class Bandit10(_Bandit, arms=10, pulls=10):
    """Ten arms that pay 1 or 0, each with a probability of its own."""


class Bandit50(_Bandit, arms=50, pulls=10):
    """Fifty arms that pay 1 or 0, each with a probability of its own."""
