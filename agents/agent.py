"""An agent: a token encoder, a memory and two heads.

The memory reads, at each step, the observation and what the last action was and earned; the heads
read the memory and, again, the observation (RNN+S of Beck et al. 2023) and the clock. The value
head sees the memory too; without the clock it could not know how much of a fixed horizon is left.

Shape legend: T time, B worlds, O observation features, F token features, M memory features.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from quickstudy.agents.distributions import Categorical, DiagonalGaussian, Distribution
from quickstudy.agents.heads import HEADS, Head, HyperHead
from quickstudy.agents.layers import linear, tanh
from quickstudy.agents.models import ModelConfig
from quickstudy.agents.normalization import RunningMoments
from quickstudy.agents.sequence_model import State
from quickstudy.envs import rng
from quickstudy.envs.devices import Device
from quickstudy.envs.errors import unknown


class Percept(Protocol):
    """The part of a time step (or of a rollout of them) that an agent reads."""

    @property
    def observation(self) -> Tensor: ...
    @property
    def previous_action(self) -> Tensor: ...
    @property
    def previous_reward(self) -> Tensor: ...
    @property
    def episode_start(self) -> Tensor: ...
    @property
    def trial_start(self) -> Tensor: ...
    @property
    def clock(self) -> Tensor: ...


@dataclass(frozen=True)
class AgentConfig:
    """What an agent is made of; everything else follows from the family."""

    memory: ModelConfig
    """The sequence model and its size."""
    embedding_size: int = 64
    """Features of the encoded token."""
    head_size: int = 128
    """Hidden units of the policy and value heads."""
    head: Literal["plain", "hypernetwork"] = "plain"
    """What the memory does to the policy: one input among others (plain), or it generates all of
    the policy head's weights (hypernetwork: Beck et al. 2023). The value head is always plain."""
    head_sees_observation: bool = True
    """Whether the heads read the observation again, beside the memory (False: memory and clock)."""
    initial_std: float = 0.6
    """Standard deviation of a Gaussian policy at the start, in units of the action box."""
    sees_history: bool = True
    """Whether the token holds the last action and reward (False: a non-adaptive agent)."""
    sees_clock: bool = True
    """Whether the token holds the time passed (False where trials have no known horizon)."""
    sees_task: bool = False
    """Whether the hidden task is appended to the observation (True: the oracle)."""


@dataclass(frozen=True)
class AgentOutput:
    """What the heads say."""

    policy: Distribution
    value: Tensor
    """Value of the present step, `(...)`, in units of the scaled reward."""
    memory: Tensor
    """What the heads read from the memory, `(..., M)`."""


class Agent(nn.Module):
    """Acts step by step (`step`) and is trained on whole sequences (`scan`)."""

    log_std_A: Tensor
    _actions_A: Tensor

    def __init__(
        self,
        config: AgentConfig,
        observation_size: int,
        action_space: spaces.Box | spaces.Discrete,
        seed: int,
        *,
        horizon: int,
    ) -> None:
        """Build the agent with weights drawn from `seed`.

        Args:
            config: the parts.
            observation_size: O, with the task's parameters where the agent sees them.
            action_space: a box gives a Gaussian policy, a discrete space a categorical one.
            seed: of the initial weights.
            horizon: steps of a trial, which some memories are sized and initialised for.

        Raises:
            ValueError: for an unknown kind of head, or one that would have nothing to read.
        """
        super().__init__()
        generator = rng.generator(seed, rng.Stream.WEIGHTS)
        self.config = config
        self.continuous = isinstance(action_space, spaces.Box)
        self.action_size = action_size(action_space)
        self.moments = RunningMoments(observation_size + 1)
        history_size = self.action_size + 3 if config.sees_history else 0
        clock_size = 2 if config.sees_clock else 0
        token_size = observation_size + clock_size + history_size
        self.embedding = linear(token_size, config.embedding_size, generator)
        self.memory = config.memory.build(config.embedding_size, generator, horizon)
        first_shown = 0 if config.head_sees_observation else observation_size
        self._shown = slice(first_shown, observation_size + clock_size)
        shown_size = self._shown.stop - self._shown.start
        sizes = (self.memory.output_size, shown_size, config.head_size)
        self.policy_head = _policy_head(config)(*sizes, self.action_size, generator, gain=0.01)
        self.value_head = Head(*sizes, 1, generator, gain=1.0)
        # Of a discrete action, for one-hot features: `one_hot` itself looks at its input.
        self.register_buffer("_actions_A", torch.arange(self.action_size), persistent=False)
        if self.continuous:
            initial = torch.full((self.action_size,), math.log(config.initial_std))
            self.log_std_A = nn.Parameter(initial)

    def place(self, device: Device) -> "Agent":
        """Move to a device, where steps look at no tensor unless that costs nothing there."""
        self.memory.peeks = device.peeks
        return self.to(device.torch_device)

    @property
    def noise_size(self) -> int:
        """Random numbers per action."""
        return self.action_size if self.continuous else 1

    def noise(self, key: Tensor) -> Tensor:
        """Noise for `sample`, `(..., noise_size)` float32, of the kind the policy needs."""
        draw = rng.normal if self.continuous else rng.uniform
        return draw(key, self.noise_size).to(torch.float32)

    def token(self, percept: Percept) -> Tensor:
        """The normalised input `(..., F)`: observation, clock, then what the last step was."""
        rows = torch.cat([percept.observation, percept.previous_reward.unsqueeze(-1)], dim=-1)
        normalized = self.moments.normalize(rows)
        parts = [normalized[..., :-1]]
        if self.config.sees_clock:
            parts.append(percept.clock)
        if self.config.sees_history:
            known = (~self.resets(percept)).to(torch.float32).unsqueeze(-1)
            action = self._action_features(percept.previous_action) * known
            start = percept.episode_start.to(torch.float32).unsqueeze(-1)
            parts += [action, normalized[..., -1:] * known, start, known]
        return torch.cat(parts, dim=-1)

    def resets(self, percept: Percept) -> Tensor:
        """Where the memory is blank before it reads, bool `(...)`: where a trial starts.

        A memory that is wiped each episode (TrMRL): where an episode starts. The token then hides
        the last action and reward there too, so that nothing passes from episode to episode.
        """
        wiped_each_episode = self.memory.wiped_each_episode
        return percept.episode_start if wiped_each_episode else percept.trial_start

    def step(self, percept: Percept, state: State) -> tuple[AgentOutput, State]:
        """Read one time step `(B, ...)`; memory is blank where `resets` is True."""
        token_BF = self.token(percept)
        embedded = tanh(self.embedding(token_BF))
        memory_BM, state = self.memory.step(embedded, self.resets(percept), state)
        return self._heads(memory_BM, token_BF), state

    def scan(self, token_TBF: Tensor, reset_TB: Tensor, state: State) -> AgentOutput:
        """Read T time steps whose tokens and `resets` are at hand: equal to T `step`s."""
        embedded = tanh(self.embedding(token_TBF))
        memory_TBM, _ = self.memory.scan(embedded, reset_TB, state)
        return self._heads(memory_TBM, token_TBF)

    def _heads(self, memory: Tensor, token: Tensor) -> AgentOutput:
        shown = token[..., self._shown]
        parameters = self.policy_head(memory, shown)
        policy: Distribution = (
            DiagonalGaussian(parameters, self.log_std_A)
            if self.continuous
            else Categorical(parameters)
        )
        return AgentOutput(policy, self.value_head(memory, shown).squeeze(-1), memory)

    def _action_features(self, action: Tensor) -> Tensor:
        if self.continuous:
            return action
        return (action.unsqueeze(-1) == self._actions_A).to(torch.float32)


def _policy_head(config: AgentConfig) -> type[Head | HyperHead]:
    if config.head not in HEADS:
        raise unknown("head", config.head, HEADS)
    if config.head == "hypernetwork" and not config.head_sees_observation:
        raise ValueError(
            "head='hypernetwork' needs head_sees_observation=True: what the memory generates is a "
            "network that reads the observation."
        )
    return HEADS[config.head]


def action_size(space: spaces.Box | spaces.Discrete) -> int:
    """A: dimensions of a box, or the number of discrete actions."""
    return int(np.prod(space.shape)) if isinstance(space, spaces.Box) else int(space.n)
