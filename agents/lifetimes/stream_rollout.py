"""What agents live through on streams, and what an actor-critic learns from it.

Shape legend: P streams (one agent and one copy each), T steps of a rollout, U = T + 1 states,
F features of a state, A actions, D uniform draws per step (the last one chooses the action).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.agents.lifetimes.relu_networks import Activations, Network, forward, gradient
from quickstudy.envs.tabular.tabular_tasks import TabularStep


class StreamTasks(Protocol):
    """Tasks in which no episode ever ends, and whose states are described by features."""

    num_actions: int
    num_draws: int

    def sample(self, key_P: Tensor) -> Rows:
        """See `TabularTasks.sample`."""

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        """See `TabularTasks.begin`."""

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        """See `TabularTasks.step`."""

    def features(self, worlds: Rows) -> Tensor:
        """What an agent sees, `(P, E, F)` float32."""


@dataclass(frozen=True)
class Steps:
    """T steps of each stream."""

    features_PUF: Tensor
    """The states before each step, and after the last one."""
    action_PT: Tensor
    reward_PT: Tensor


@dataclass(frozen=True)
class Experience:
    """T steps of each stream, and what the critic made of them; nothing has a gradient."""

    features_PTF: Tensor
    action_PT: Tensor
    reward_PT: Tensor
    value: Activations
    """The critic's, of all U states."""
    td_PT: Tensor
    """r_t + γ v(s_{t+1}) − v(s_t), the advantage."""


def play(
    stream: StreamTasks, tasks: Rows, worlds: Rows, policy: Network, draw_PTD: Tensor
) -> tuple[Steps, Rows]:
    """T steps under a policy that samples its actions, and where the streams are then."""
    features, actions, rewards = [], [], []
    dtype = policy[0].dtype
    for draw_PD in draw_PTD.unbind(dim=1):
        x_P1F = stream.features(worlds).to(dtype)
        action_P1 = _sampled(forward(policy, x_P1F).outputs[:, 0], draw_PD[:, -1:])
        step = stream.step(tasks, worlds, action_P1, draw_PD[:, None, :-1])
        assert not step.ended_PE.any(), "A stream has no episodes."
        worlds = step.worlds
        features.append(x_P1F)
        actions.append(action_P1)
        rewards.append(step.reward_PE)
    features.append(stream.features(worlds).to(dtype))
    rewards_PT = torch.cat(rewards, dim=1).to(dtype)
    return Steps(torch.cat(features, dim=1), torch.cat(actions, dim=1), rewards_PT), worlds


def judged(steps: Steps, critic: Network, discount: float) -> Experience:
    """The steps, with the critic's values and errors."""
    value = forward(critic, steps.features_PUF)
    value_PU = value.outputs[..., 0]
    return Experience(
        steps.features_PUF[:, :-1],
        steps.action_PT,
        steps.reward_PT,
        value,
        steps.reward_PT + discount * value_PU[:, 1:] - value_PU[:, :-1],
    )


def critic_gradient(critic: Network, experience: Experience) -> Network:
    """Of the mean of ½ TD² over T steps, the values that come after them held fixed."""
    d_PT = -experience.td_PT / experience.td_PT.shape[1]
    d_PU = torch.nn.functional.pad(d_PT, (0, 1))  # nothing is learned from the last state
    return gradient(critic, experience.value, d_PU.unsqueeze(-1))


def policy_gradient(policy: Network, experience: Experience, entropy_P: Tensor) -> Network:
    """Of −mean(A_t log π(a_t|s_t)) − ε mean H(π(·|s_t)); differentiable in policy and ε.

    In the logits z of a step that is A_t (π − 1[a_t]) + ε π (log π + H), over T.
    """
    activations = forward(policy, experience.features_PTF)
    log_PTA = torch.log_softmax(activations.outputs, dim=-1)
    prob_PTA = log_PTA.exp()
    entropy_PT1 = -(prob_PTA * log_PTA).sum(dim=-1, keepdim=True)
    taken_PTA = torch.nn.functional.one_hot(experience.action_PT, prob_PTA.shape[-1])
    reward = experience.td_PT.unsqueeze(-1) * (prob_PTA - taken_PTA)
    entropy = entropy_P[:, None, None] * prob_PTA * (log_PTA + entropy_PT1)
    return gradient(policy, activations, (reward + entropy) / log_PTA.shape[1])


def surrogate(policy: Network, experience: Experience, entropy_weight: float) -> Tensor:
    """mean(A_t log π(a_t|s_t)) + weight · mean H, `(P,)`: its gradient is the policy gradient."""
    log_PTA = log_policy(policy, experience.features_PTF)
    taken_PT = log_PTA.gather(2, experience.action_PT.unsqueeze(-1)).squeeze(-1)
    entropy_PT = -(log_PTA.exp() * log_PTA).sum(dim=-1)
    return (experience.td_PT * taken_PT + entropy_weight * entropy_PT).mean(dim=1)


def log_policy(policy: Network, x_PTF: Tensor) -> Tensor:
    """The logarithm of π(·|s), `(P, T, A)`."""
    return torch.log_softmax(forward(policy, x_PTF).outputs, dim=-1)


def _sampled(logit_PA: Tensor, draw_P1: Tensor) -> Tensor:
    """The inverse of the cumulative distribution; a NaN policy takes action 0."""
    below_PA = torch.softmax(logit_PA, dim=-1).cumsum(dim=-1)[:, :-1] <= draw_P1
    return below_PA.sum(dim=-1, keepdim=True)
