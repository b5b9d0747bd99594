"""How fast populations learn, against agents that learn one after the other.

Shape legend: P agents, T steps, E copies, B = T·E steps of an agent, O observation features, M
parameters of a rule, W weights.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from quickstudy.agents.distributions import Categorical
from quickstudy.agents.lifetimes.control import ControlConfig, ControlLifetimes
from quickstudy.agents.lifetimes.control_learning import ControlLearning, Experience, whitened
from quickstudy.agents.lifetimes.stacked_adam import EPSILON
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.returns import gae
from quickstudy.envs import rng
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare
from quickstudy.experiments.threads import ACTING, torch_threads

FAMILY = "CartPole"
LOOP_AGENTS = 8
"""Agents of the loop: its rate does not depend on how many there are."""


def population_benchmark(
    num_agents: int, hidden_size: int, at_least: float | None = None
) -> Benchmark:
    """Whole updates (acting, advantages, 16 gradient steps) of P agents at once on one thread.

    Against a loop over agents of torch modules, each with worlds and a torch.optim.Adam of its own
    and the same learned drift; the loop is spared normalisation.
    """
    case = f"discovery/population-{num_agents}-width-{hidden_size}"

    def run(effort: Effort) -> list[Result]:
        config = ControlConfig(families=(FAMILY,), hidden_size=hidden_size)
        with torch_threads(ACTING):
            cases = (
                Case("loop of torch optimisers", one_by_one(config, LOOP_AGENTS, effort.seed)),
                Case("population", all_at_once(config, num_agents, effort.seed)),
            )
            loop, population = interleave(cases, effort.plan)
        bar = None if at_least is None else Bar("at least", at_least)
        return [compare(case, population, loop, bar)]

    return Benchmark(case, run)


def all_at_once(config: ControlConfig, num_agents: int, seed: int) -> Callable[[], int]:
    """One update of every agent per call, of always the same population; returns the steps."""
    lifetimes = ControlLifetimes(config, FAMILY)
    rule_PM = lifetimes.first_rule(seed).expand(num_agents, -1)
    rows = lifetimes.begin(rng.world_keys(seed, rng.Stream.STUDENT, num_agents))

    def run() -> int:
        lifetimes.learn(rule_PM, rows, 1)
        return num_agents * config.copies * config.rollout_steps

    return run


def one_by_one(config: ControlConfig, num_agents: int, seed: int) -> Callable[[], int]:
    """The same, agent after agent."""
    learning = ControlLifetimes(config, FAMILY).learning
    key_P = rng.world_keys(seed, rng.Stream.STUDENT, num_agents)
    weight_PW = learning.networks.initial(key_P)
    rule_M = learning.drift.first_rule(seed)
    pupils = [
        WorldlyPupil(config, Pupil(learning, rule_M, weight_W), key)
        for weight_W, key in zip(weight_PW, key_P, strict=True)
    ]

    def run() -> int:
        for pupil in pupils:
            pupil.update()
        return num_agents * config.copies * config.rollout_steps

    return run


class Pupil:
    """One agent as torch's users write it: modules, a loss, an optimiser."""

    def __init__(self, learning: ControlLearning, rule_M: Tensor, weight_W: Tensor) -> None:
        self.config, self._drift, self._rule_M = learning.config, learning.drift, rule_M
        parts = learning.networks.layout.parts(weight_W)
        self.actor, self.critic = (_network(parts, name) for name in ("actor", "critic"))
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self._adam = torch.optim.Adam(self.parameters, self.config.learning_rate, eps=EPSILON)

    def descend(self, batch: Experience, lifetime: Lifetime) -> None:
        """One gradient step on tensors without the axis of agents."""
        self._adam.zero_grad()
        self._loss(batch, lifetime).backward()  # type: ignore[no-untyped-call]  # torch's
        nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient_norm)
        self._adam.step()

    def _loss(self, batch: Experience, lifetime: Lifetime) -> Tensor:
        policy = Categorical(self.actor(batch.x))
        log_ratio_B = policy.log_prob(batch.action) - batch.log_prob
        drift_B = self._drift(self._rule_M, log_ratio_B, batch.advantage, lifetime)
        praise = (log_ratio_B.exp() * batch.advantage - drift_B).mean()
        value_B: Tensor = self.critic(batch.x).squeeze(-1)
        error_B = value_B - batch.goal
        bonus = self.config.entropy_coefficient * policy.entropy().mean()
        return self.config.value_coefficient * 0.5 * error_B.square().mean() - praise - bonus


class WorldlyPupil:
    """A pupil in E copies of a task, who makes one update after the other."""

    def __init__(self, config: ControlConfig, pupil: Pupil, key: Tensor) -> None:
        self._config, self._pupil, self._key = config, pupil, key
        self._env = TrialEnv(FAMILY, config.copies, episodes_per_trial=1)
        self._now = self._env.reset(rng.fold_in(key, torch.arange(config.copies)))
        self._num_updates = 0

    def update(self) -> None:
        """Acts T steps, then learns from them."""
        experience = self._experience()
        lifetime = Lifetime(torch.tensor(0), torch.tensor(self._config.max_updates))
        for epoch in range(self._config.learning.epochs):
            key = rng.fold_in(rng.fold_in(self._key, self._num_updates), epoch)
            order_B = rng.permutation(key, len(experience.goal))
            for index_C in order_B.chunk(self._config.learning.minibatches):
                self._pupil.descend(_some(experience, index_C), lifetime)
        self._num_updates += 1

    @torch.no_grad()
    def _experience(self) -> Experience:
        records = [self._act(step) for step in range(self._config.rollout_steps)]
        self._env.finished()
        names = ("x", "next_x", "action", "log_prob", "reward", "terminated", "ended")
        rows = dict(zip(names, map(torch.stack, zip(*records, strict=True)), strict=True))
        value_TE = self._pupil.critic(rows["x"]).squeeze(-1)
        next_TE = self._pupil.critic(rows["next_x"]).squeeze(-1)
        next_TE = next_TE.masked_fill(rows["terminated"], 0.0)
        constants = {"discount": self._pupil.config.discount, "trace": self._pupil.config.trace}
        advantage_TE = gae(rows["reward"], value_TE, next_TE, rows["ended"], **constants)
        return Experience(
            x=rows["x"].flatten(0, 1),
            action=rows["action"].flatten(),
            log_prob=rows["log_prob"].flatten(),
            advantage=whitened(advantage_TE.reshape(1, -1))[0],
            goal=(advantage_TE + value_TE).flatten(),
        )

    def _act(self, step: int) -> tuple[Tensor, ...]:
        before_EO = self._now.observation
        policy = Categorical(self._pupil.actor(before_EO))
        key_E = rng.fold_in(rng.fold_in(self._key, step), torch.arange(len(before_EO)))
        action_E = policy.sample(rng.uniform(key_E, 1).to(torch.float32))
        now = self._now = self._env.step(action_E)
        did = (before_EO, now.final_observation, action_E, policy.log_prob(action_E))
        return (*did, now.reward, now.terminated, now.episode_start)


def _some(experience: Experience, index_C: Tensor) -> Experience:
    return Experience(**{name: rows[index_C] for name, rows in vars(experience).items()})


def _network(parts: dict[str, Tensor], name: str) -> nn.Sequential:
    first, second, last = (_linear(parts, f"{name}_{layer}") for layer in (1, 2, 3))
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), last)


def _linear(parts: dict[str, Tensor], layer: str) -> nn.Linear:
    weight_IJ = parts[f"{layer}_weight"]
    linear: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # torch's
        nn.Linear, *weight_IJ.shape
    )
    with torch.no_grad():
        linear.weight.copy_(weight_IJ.T)
        linear.bias.copy_(parts[f"{layer}_bias"])
    return linear
