"""A reward that is learned, and that remembers an agent's whole life.

Shape legend: P agents, M parameters, T steps, E copies, S states, A actions, C features of a state,
F inputs of a step, H hidden features, G = 3H gates.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout, at_states
from quickstudy.agents.objectives.layout import Layout, Shapes
from quickstudy.agents.objectives.stacked_gru import dense, gru_shapes, gru_step
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.tabular.tabular_tasks import TabularTasks

LONGEST = 1000
"""Steps: at first the features of a memory forget at rates from 1/2 to 1/1000 per step."""
MIXES = ("alone", "added")


@dataclass(frozen=True)
class RewardRuleConfig:
    """The network that gives the reward, and what the agent makes of it."""

    width: int = 16
    """H: features of the memory."""
    reads_actions: bool = True
    """Whether it is told which action was taken. If not, it can judge states alone, and then it
    does not matter what the actions are called."""
    embedding: int = 4
    """C: learned features of a state, where the task offers no coordinates."""
    mix: Literal["alone", "added"] = "alone"
    """alone: the agent learns from the learned reward only; added: from r + weight × it."""
    weight: float = 1.0
    """Of the learned reward, where it is added."""

    def build(self, tasks: TabularTasks) -> "RewardRule":
        return RewardRule(self, tasks)


class RewardRule:
    """r̂_t = tanh(w · h_t + k r_t + b), h a GRU over all steps of a life.

    The lifetime intrinsic reward of Zheng et al. 2020 (arXiv 1912.05500): an agent's memory is
    blank at its birth and then never again, neither when an episode ends nor when the agent
    learns. It reads the state, the action, the true reward, and whether the episode ended. (Their
    network is an LSTM; tanh bounds the reward, k is ours.)

    At first w = b = 0, and k = 1 if it is alone, else 0: so discovery starts from an agent that
    learns from the true reward (squashed by tanh, if alone).
    """

    def __init__(self, config: RewardRuleConfig, tasks: TabularTasks) -> None:
        require_positive("width", config.width)
        require_positive("embedding", config.embedding)
        if config.mix not in MIXES:
            raise unknown("mix", config.mix, MIXES)
        self.config = config
        self._coordinates_SC = tasks.coordinates()
        self._num_actions = tasks.num_actions if config.reads_actions else 0
        self.layout = Layout(_shapes(config, tasks))
        self.num_parameters = self.layout.num_parameters

    def first_rule(self, seed: int) -> Tensor:
        """`(M,)` float32; see above."""
        rule_M = self.layout.random_row(seed)
        parts = self.layout.parts(rule_M)
        width = self.config.width
        # As Tallec & Ollivier 2018 (arXiv 1804.11188): a life needs long and short memories.
        parts["input_bias"][width : 2 * width] = torch.linspace(0, math.log(LONGEST - 1), width)
        parts["head"].zero_()
        parts["true_reward"].fill_(float(self.config.mix == "alone"))
        return rule_M

    def memory(self, num_agents: int, copies: int) -> Tensor:
        """That of the new-born, `(P, E, H)`."""
        return torch.zeros(num_agents, copies, self.config.width)

    def read(
        self, rule_PM: Tensor, memory_PEH: Tensor, rollout: TabularRollout
    ) -> tuple[Tensor, Tensor]:
        """Rewards to learn from, `(P, T, E)`, and the memory after the rollout, `(P, E, H)`."""
        parts = self.layout.parts(rule_PM)
        x_PTEF = self._inputs(parts, rollout)
        states = _remember(parts, x_PTEF, memory_PEH)
        h_PTEH = torch.stack(states, dim=1)
        head_PTE = dense(h_PTEH, parts["head"], parts["head_bias"])[..., 0]
        given = torch.tanh(head_PTE + parts["true_reward"].unsqueeze(-1) * rollout.reward)
        added = self.config.mix == "added"
        reward_PTE = rollout.reward + self.config.weight * given if added else given
        return reward_PTE, states[-1]

    def _inputs(self, parts: dict[str, Tensor], rollout: TabularRollout) -> Tensor:
        """What is known of each step, `(P, T, E, F)`."""
        columns = [self._features(parts, rollout.state)]
        if self._num_actions:
            columns.append(one_hot(rollout.action, self._num_actions))
        columns += [rollout.reward.unsqueeze(-1), rollout.ended.unsqueeze(-1)]
        return torch.cat([column.to(rollout.reward.dtype) for column in columns], dim=-1)

    def _features(self, parts: dict[str, Tensor], state_PTE: Tensor) -> Tensor:
        if self._coordinates_SC is None:
            return at_states(parts["embedding"], state_PTE)
        return self._coordinates_SC[state_PTE]


def _shapes(config: RewardRuleConfig, tasks: TabularTasks) -> Shapes:
    at_SC = tasks.coordinates()
    embedding: Shapes = {"embedding": (tasks.num_states, config.embedding)}
    features = config.embedding if at_SC is None else at_SC.shape[1]
    inputs = features + tasks.num_actions * config.reads_actions + 2
    network: Shapes = {
        **gru_shapes(inputs, config.width),
        "head": (config.width, 1),
        "head_bias": (1,),
        "true_reward": (1,),
    }
    return embedding | network if at_SC is None else network


def _remember(parts: dict[str, Tensor], x_PTEF: Tensor, memory_PEH: Tensor) -> list[Tensor]:
    """The memory after each step, T of `(P, E, H)`."""
    states = []
    for gates_PEG in dense(x_PTEF, parts["input"], parts["input_bias"]).unbind(dim=1):
        memory_PEH = gru_step(parts, gates_PEG, memory_PEH)
        states.append(memory_PEH)
    return states
