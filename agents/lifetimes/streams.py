"""Agents that live on streams: actor-critics, no episodes, and a rule for how much to explore.

As in Flennerhag et al. 2022 (Bootstrapped Meta-Learning, arXiv 2109.04504) on Two-Colours: two
networks, an update every 16 steps by plain gradient descent, the entropy weight ε a function of
the rule. Policy and critic share nothing and ε is in the policy's loss alone, so what the critic
becomes does not depend on the rule (given the actions): gradients go through the policy's updates
only, and rewards and actions are as they are.

The two public replications differ in the advantage: TD errors of one step in one of them, returns
to the rollout's end in the other. Here it is the first: agents with the second learn faster at
first, and less and less with every switch.

Shape legend: P streams, M parameters of a rule, T steps of a rollout, F features, A actions,
R recent rollouts, C signals of each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.entropy_rules import NUM_SIGNALS, RECENT, Context, EntropyRule
from quickstudy.agents.lifetimes.lifetimes import DifferentiableLifetimes, Rows
from quickstudy.agents.lifetimes.relu_networks import (
    NUM_TENSORS,
    Network,
    descended,
    new_networks,
)
from quickstudy.agents.lifetimes.stream_rollout import (
    Experience,
    StreamTasks,
    critic_gradient,
    judged,
    log_policy,
    play,
    policy_gradient,
    surrogate,
)
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive
from quickstudy.envs.nested_state import nested, part


@dataclass(frozen=True)
class StreamConfig:
    """The agent, as published."""

    context: Context = "reward"
    """What the rule reads: constant, none, reward or rich."""
    updates: int = 400_000
    """N: how many updates a life has."""
    width: int = 256
    """Hidden features of both networks."""
    rollout: int = 16
    """T: steps between updates."""
    lr: float = 0.1
    """Of gradient descent, for both networks."""
    discount: float = 0.99
    outer_entropy: float = 0.12
    """The entropy weight of the outer objective, as in the public replications (Luketina et al.
    2022 tried 0 and 0.1)."""


class StreamLifetimes(DifferentiableLifetimes):
    """P streams side by side, each with an agent of its own.

    Rows: `key`, `updates`, `total`, `steps`, `rollouts`; `earned` (float64, all rewards of the
    life); `entropy_weight` (the rule's latest ε); `context` (P, R, C), oldest first; `visited`
    (P, T, F), the states of the last rollout; and the rows of tasks, worlds, policy and critic,
    named `task.…`, `world.…`, `policy.…` and `critic.…`.
    """

    def __init__(self, tasks: StreamTasks, config: StreamConfig) -> None:
        """Raise `ValueError` for an unknown context or a size that is not positive."""
        for name in ("updates", "width", "rollout"):
            require_positive(name, getattr(config, name))
        self.tasks = tasks
        self.config = config
        self.rule = EntropyRule(config.context)
        self.num_parameters = self.rule.layout.num_parameters

    def first_rule(self, seed: int) -> Tensor:
        return self.rule.first_rule(seed)

    def total(self, key_P: Tensor) -> Tensor:
        return torch.full_like(key_P, self.config.updates)

    def begin(self, key_P: Tensor) -> Rows:
        task_key, world_key, policy_key, critic_key, play_key = (
            rng.fold_in(key_P, branch) for branch in range(5)
        )
        tasks = self.tasks.sample(task_key)
        draw_PU = rng.uniform(world_key, self.tasks.num_draws)
        worlds = self.tasks.begin(tasks, draw_PU.unsqueeze(1))
        num_features, width = self.tasks.features(worlds).shape[-1], self.config.width
        none_P = torch.zeros_like(key_P)
        return {
            "key": play_key,
            "updates": none_P,
            "total": self.total(key_P),
            "steps": none_P,
            "rollouts": none_P,
            "earned": none_P.double(),
            "entropy_weight": none_P.float(),
            "context": torch.zeros(len(key_P), RECENT, NUM_SIGNALS),
            "visited": torch.zeros(len(key_P), self.config.rollout, num_features),
            **nested("task", tasks),
            **nested("world", worlds),
            **_rows_of_network(
                "policy", new_networks(policy_key, num_features, width, self.tasks.num_actions)
            ),
            **_rows_of_network("critic", new_networks(critic_key, num_features, width, 1)),
        }

    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        for _ in range(num_updates):
            experience, rows = self.observe(rows)
            entropy_P = self.rule.entropy_weight(rule_PM, rows["context"])
            rows = self.update(rows, experience, entropy_P)
            rows["updates"] = rows["updates"] + 1
            rows["entropy_weight"] = entropy_P.detach()
        return rows

    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean reward per step of the life so far; nothing is spent to see it.

        That of a part of a life is a difference of `earned`.
        """
        return rows["earned"] / rows["steps"].clamp(min=1), torch.zeros_like(rows["steps"])

    def surrogate(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The outer objective on the rollout that comes next, which the stream goes on to have.

        To let the stream go on behind it, call `observe` and `objective`.
        """
        experience, _ = self.observe(rows)
        return self.objective(rows, experience), torch.full_like(rows["steps"], self.config.rollout)

    def improve(self, rows: Rows) -> Rows:
        """A further rollout and a step on its policy gradient, without entropy."""
        experience, rows = self.observe(rows)
        return self.update(rows, experience, torch.zeros_like(experience.td_PT[:, 0]))

    def divergence(self, target: Rows, rows: Rows) -> Tensor:
        """Summed over the states of the target's last rollout, as in both replications.

        A sum, not a mean: Adam's ε makes the scale of this loss matter. The target's states, not
        those of `rows`: what noise did to the agent in the states it has just learned from, the
        next updates undo, and a rule that is to match that would explore more, whatever is earned.
        """
        x_PTF = target["visited"]
        log_PTA = log_policy(network_of(rows, "policy"), x_PTF)
        with torch.no_grad():
            target_PTA = log_policy(network_of(target, "policy"), x_PTF)
        return (target_PTA.exp() * (target_PTA - log_PTA)).sum(dim=(1, 2))

    @torch.no_grad()
    def observe(self, rows: Rows) -> tuple[Experience, Rows]:
        """One more rollout of every stream; the agents are as before (and keep their graph)."""
        num_steps = self.config.rollout
        key_P = rng.fold_in(rows["key"], rows["rollouts"])
        draw_PX = rng.uniform(key_P, num_steps * (self.tasks.num_draws + 1))
        draw_PTD = draw_PX.view(len(key_P), num_steps, -1)
        tasks, worlds = part("task", rows), part("world", rows)
        steps, worlds = play(self.tasks, tasks, worlds, network_of(rows, "policy"), draw_PTD)
        experience = judged(steps, network_of(rows, "critic"), self.config.discount)
        lived = {
            "steps": rows["steps"] + num_steps,
            "rollouts": rows["rollouts"] + 1,
            "earned": rows["earned"] + steps.reward_PT.double().sum(dim=1),
            "context": torch.cat([rows["context"][:, 1:], _signals(experience)], dim=1),
            "visited": experience.features_PTF,
        }
        return experience, {**rows, **lived, **nested("world", worlds)}

    def update(self, rows: Rows, experience: Experience, entropy_P: Tensor) -> Rows:
        """One step of gradient descent on −A log π − ε H and on ½ TD² (means over the rollout)."""
        policy, lr = network_of(rows, "policy"), self.config.lr
        new_policy = descended(policy, policy_gradient(policy, experience, entropy_P), lr)
        with torch.no_grad():
            critic = network_of(rows, "critic")
            new_critic = descended(critic, critic_gradient(critic, experience), lr)
        return {
            **rows,
            **_rows_of_network("policy", new_policy),
            **_rows_of_network("critic", new_critic),
        }

    def objective(self, rows: Rows, experience: Experience) -> Tensor:
        """The outer objective of the agents' policies on some experience, `(P,)`."""
        return surrogate(network_of(rows, "policy"), experience, self.config.outer_entropy)


def network_of(rows: Rows, name: str) -> Network:
    """The `policy` or the `critic` of a population."""
    return tuple(rows[f"{name}.{index}"] for index in range(NUM_TENSORS))


def with_learners_of(rows: Rows, other: Rows) -> Rows:
    """The streams of `rows`, with the policies and critics of `other`."""
    learners = {k: v for k, v in other.items() if k.startswith(("policy.", "critic."))}
    return {**rows, **learners}


def _rows_of_network(name: str, network: Network) -> Rows:
    return nested(name, {str(index): tensor for index, tensor in enumerate(network)})


def _signals(experience: Experience) -> Tensor:
    """Mean reward, TD error and value of a rollout, `(P, 1, C)`."""
    value_PT = experience.value.outputs[:, :-1, 0]
    signals = [experience.reward_PT, experience.td_PT, value_PT]
    return torch.stack([x.mean(dim=1) for x in signals], dim=1).unsqueeze(1)
