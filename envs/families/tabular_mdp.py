"""TabularMDP: random finite MDPs, generated from a seed, a pair of state and action at a time.

Shape legend: N worlds, S states, A actions, H steps of an episode.
"""

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.family import Family, Outcome, unbounded_box
from quickstudy.envs.tasks import SPLIT_SEED, SeedTasks

NUM_STATES = 10
NUM_ACTIONS = 5
MEAN_REWARD = 1.0
"""Of the prior of each pair's mean reward, whose standard deviation is 1."""

MDP_KEY = rng.root_key(SPLIT_SEED, rng.Stream.SPLIT)
"""Above the keys of all MDPs; part of every `-v0`."""

CELL = 16
"""Pixels."""


class TabularMDP(Family):
    """Ten states, five actions: learn a random MDP while acting in it.

    ## Task

    | index | name | train | test | unit |
    |---|---|---|---|---|
    | 0 | seed | even, below 2⁴⁰ | odd, below 2⁴⁰ | 1 |

    The MDP is a pure function of its seed: for each state and action a mean reward, N(1, 1), and
    the probabilities of the next state, Dirichlet(1, …, 1).

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0–9 | 1 for the present state, else 0 | {0, 1} | 1 |

    ## Action

    One of five, 0 to 4; what each does depends on the state and the task.

    ## Reward

    `mean` = the mean reward of the state and the action; `noise` = N(0, 1).

    ## Episode

    Starts in state 0. Never terminates; 10 steps by default, 10 episodes per trial.

    ## Source

    Duan et al. 2016 (RL², section 3.2), after Osband et al. 2013.

    ## Peers

    Duan et al. and SNAIL play trials of 10, 25, 50, 75 or 100 episodes, on the same prior.
    """

    task_space = SeedTasks(bits=40)
    observation_space = unbounded_box(NUM_STATES)
    action_space = spaces.Discrete(NUM_ACTIONS)
    episode_length = 10

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._key_N = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)
        self._mdp_key_N = torch.zeros_like(self._key_N)
        self._step_N = torch.zeros_like(self._key_N)
        self._state_N = torch.zeros_like(self._key_N)
        self._one_hot_SS = torch.eye(NUM_STATES, device=self.device)
        self._plan: tuple[Tensor, Tensor] | None = None

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        self._key_N = torch.where(mask_N, key_N, self._key_N)
        self._mdp_key_N = mdp_key(self.task_ND[:, 0].long())
        self._step_N = self._step_N.masked_fill(mask_N, 0)
        self._state_N = self._state_N.masked_fill(mask_N, 0)

    def _advance(self, action: Tensor) -> Outcome:
        mean_N, weight_NS = pair(self._mdp_key_N, self._state_N, action)
        u_N3 = rng.uniform(rng.fold_in(self._key_N, self._step_N), 3)
        self._state_N = pick(weight_NS, u_N3[:, 2])
        self._step_N = self._step_N + 1
        noise_N = rng.box_muller(u_N3[:, :2])[:, 0]
        return Outcome({"mean": mean_N, "noise": noise_N}, self._never_N, self._never_N)

    def _observe(self) -> Tensor:
        return self._one_hot_SS[self._state_N]

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """The best action of the believed MDP with the steps that remain."""
        if self._plan is None or not torch.equal(self._plan[0], belief_ND):
            actions_HNS, _ = plan(*tables(belief_ND[:, 0].long()), self.episode_length)
            self._plan = belief_ND.clone(), actions_HNS
        everywhere = torch.arange(self.num_worlds, device=self.device)
        return self._plan[1][self._step_N, everywhere, self._state_N]

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "task": self.task_ND.clone(),
            "key": self._key_N.clone(),
            "step": self._step_N.clone(),
            "state": self._state_N.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._key_N = self._restored(state["key"])
        self._step_N = self._restored(state["step"])
        self._state_N = self._restored(state["state"])
        self._mdp_key_N = mdp_key(self.task_ND[:, 0].long())

    def render(self, world: int = 0) -> np.ndarray:
        """Mean rewards, states across and actions down, dark is high; the present state is blue."""
        mean_AS = tables(self.task_ND[world : world + 1, 0].long())[0][0].T.cpu().numpy()
        grey_AS = np.clip(160.0 - 40.0 * mean_AS, 0.0, 255.0).astype(np.uint8)
        picture = np.repeat(grey_AS[:, :, None], 3, axis=2)
        picture[:, int(self._state_N[world]), 2] = 255
        return picture.repeat(CELL, axis=0).repeat(CELL, axis=1)


def mdp_key(seed_N: Tensor) -> Tensor:
    """The key of each seed's MDP."""
    return rng.fold_in(MDP_KEY, seed_N)


def pair(mdp_key_N: Tensor, state_N: Tensor, action_N: Tensor) -> tuple[Tensor, Tensor]:
    """What a state and an action lead to, float64.

    Returns:
        The mean reward `(N,)`, and a positive weight of each next state `(N, S)`: independent
        Exp(1), which divided by their sum are Dirichlet(1, …, 1).
    """
    key_N = rng.fold_in(mdp_key_N, state_N * NUM_ACTIONS + action_N)
    u_NK = rng.uniform(key_N, NUM_STATES + 2)
    mean_N = MEAN_REWARD + rng.box_muller(u_NK[..., NUM_STATES:])[..., 0]
    return mean_N, -torch.log1p(-u_NK[..., :NUM_STATES])


def pick(weight_NS: Tensor, u_N: Tensor) -> Tensor:
    """An index with probability in proportion to its weight, from a uniform number in [0, 1)."""
    total_NS = weight_NS.cumsum(dim=1)
    # Without the last column: rounding may lift the threshold to the total itself.
    return (total_NS[:, :-1] <= u_N.unsqueeze(1) * total_NS[:, -1:]).sum(dim=1)


def tables(seed_N: Tensor) -> tuple[Tensor, Tensor]:
    """Whole MDPs: mean rewards `(N, S, A)` and transition probabilities `(N, S, A, S)`."""
    device = seed_N.device
    state_S1 = torch.arange(NUM_STATES, device=device).unsqueeze(1)
    action_A = torch.arange(NUM_ACTIONS, device=device)
    mean_NSA, weight_NSAS = pair(mdp_key(seed_N)[:, None, None], state_S1, action_A)
    return mean_NSA, weight_NSAS / weight_NSAS.sum(dim=-1, keepdim=True)


def plan(reward_NSA: Tensor, transition_NSAS: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
    """Finite-horizon value iteration.

    Returns:
        The best action at each step and state, `(horizon, N, S)`, and the value of each state at
        the first step, `(N, S)`.
    """
    num_worlds, num_states, num_actions = reward_NSA.shape
    # The product of a matrix and a vector per world, S·A rows at once.
    flat_NPS = transition_NSAS.reshape(num_worlds, num_states * num_actions, num_states)
    value_NS = torch.zeros_like(reward_NSA[..., 0])
    actions = []
    for _ in range(horizon):
        next_NSA = torch.bmm(flat_NPS, value_NS.unsqueeze(-1)).view_as(reward_NSA)
        value_NS, action_NS = (reward_NSA + next_NSA).max(dim=-1)
        actions.append(action_NS)
    return torch.stack(actions[::-1]), value_NS
