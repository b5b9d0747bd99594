"""What an LPG rule tells its agents, measured on a population that lives by it.

The agents live on random MDPs (`RandomMDPs`), because there what a state is worth under a policy is
computed, not estimated; each rollout is whole episodes, so returns are complete, too. At some
moments of their lives a fresh rollout is shown to the rule, which leaves the agents as they are.

Shape legend: P agents, T steps, E copies, S states, A actions, H steps of an episode, M parameters,
m categories of the prediction y, U = T + 1.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.agents.lifetimes.tabular import TabularConfig, TabularLifetimes
from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout, at_states, draws, play
from quickstudy.agents.lifetimes.tabular_rules import LPGRule, LPGRuleConfig
from quickstudy.agents.lifetimes.tabular_tables import log_softmax
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.lpg import LPG, Experience
from quickstudy.agents.returns import gae
from quickstudy.envs import rng
from quickstudy.envs.tabular.random_mdps import RandomMDPs
from quickstudy.experiments.discovery.findings import moments

_AGENTS = 32
_BRANCH = 100
"""Below an agent's key: chance that none of its own is drawn from."""
_MOVED = 0.1
"""How far predictions are moved to see what follows from it."""


@dataclass(frozen=True)
class Line:
    """A least-squares line through the origin of both means; NaN where one side never differs."""

    slope: float
    r2: float


@dataclass(frozen=True)
class Probe:
    """What a rule does at one moment of a life."""

    updates: int
    """n."""
    on_reward: Line
    """π̂ against the reward of the step."""
    on_return: Line
    """π̂ against the discounted return from the step to the episode's end."""
    on_advantage: Line
    """π̂ against the exact advantage Q(s, a) − V(s) of the agent's present policy."""
    prediction_worth: float
    """Correlation of φ(y(s)), all that the rule sees of a prediction, with V(s)."""
    weight_by_next: float
    """How much π̂_t rises per rise of φ(y(s_{t+1})): other than 0 if the rule bootstraps."""
    weight_by_own: float
    """How much π̂_t rises per rise of φ(y(s_t)): below 0 for a baseline."""
    target_by_next: float
    """How much φ(ŷ_t) rises per rise of φ(y(s_{t+1}))."""
    target_entropy: float
    """Mean entropy of ŷ as a share of log m: 1 says nothing about the state."""
    weight_size: float
    """Root mean square of π̂."""
    step: float
    """KL(π before ‖ π after) of the agent's next update, in nats, mean over the states visited."""


@torch.no_grad()
def probe_life(
    network: LPG, rule_M: Tensor, total: int, fractions: tuple[float, ...]
) -> list[Probe]:
    """Live by the rule for `total` updates, and look at these n/N."""
    rule_PM = rule_M.detach().expand(_AGENTS, -1)
    lives = _lives(network, total)
    rows = lives.begin(rng.world_keys(0, rng.Stream.EVALUATION, _AGENTS))
    probes: list[Probe] = []
    lived = 0
    for moment in moments(total, fractions):
        n = int(moment.updates)
        rows = lives.learn(rule_PM, rows, n - lived)
        after = lives.learn(rule_PM, rows, 1)
        probes.append(_probe(lives, rule_PM, rows, after))
        rows, lived = after, n + 1
    return probes


def _lives(network: LPG, total: int) -> TabularLifetimes:
    tasks = RandomMDPs()
    config = TabularConfig(
        rule=LPGRuleConfig(network=network.config),
        min_updates=total,
        max_updates=total,
        rollout_steps=2 * tasks.horizon,
    )
    return TabularLifetimes(config, tasks)


def _probe(lives: TabularLifetimes, rule_PM: Tensor, rows: Rows, after: Rows) -> Probe:
    tasks, rule = lives.tasks, lives.rule
    assert isinstance(tasks, RandomMDPs)
    assert isinstance(rule, LPGRule)
    rollout, lived = fresh_experience(lives, rows)
    age = Lifetime(rows["updates"], rows["total"])
    weight_PTE, log_target_PTEm = rule.network.targets(rule_PM, lived, age)
    value_PTE, advantage_PTE = exact_worth(tasks, rows, rollout, rule.config.discount)
    phi_PUE = rule.network.embedded(rule_PM, lived.prediction)
    entropy_PTE = -(log_target_PTEm.exp() * log_target_PTEm).sum(dim=-1)
    by_next, by_own, target = _bootstrapping(rule.network, rule_PM, lived, age)
    return Probe(
        updates=int(rows["updates"][0]),
        on_reward=regress(weight_PTE, rollout.reward),
        on_return=regress(weight_PTE, returns(rollout, rule.config.discount)),
        on_advantage=regress(weight_PTE, advantage_PTE),
        prediction_worth=_correlation(phi_PUE[:, :-1], value_PTE),
        weight_by_next=by_next,
        weight_by_own=by_own,
        target_by_next=target,
        target_entropy=float(entropy_PTE.mean()) / math.log(log_target_PTEm.shape[-1]),
        weight_size=float(weight_PTE.square().mean().sqrt()),
        step=float(lives.divergence(rows, after).mean()),
    )


def fresh_experience(lives: TabularLifetimes, rows: Rows) -> tuple[TabularRollout, Experience]:
    """A rollout of the present policies, and what an LPG rule is shown of it.

    The agents, and the luck that is still before them, are as they were.
    """
    assert isinstance(lives.rule, LPGRule)
    key_P = rng.fold_in(rng.fold_in(rows["key"], _BRANCH), rows["updates"])
    config = lives.config
    chance = draws(key_P, config.rollout_steps, config.copies, lives.tasks.num_draws + 1)
    rollout, _ = play(lives.tasks, rows, chance)
    log_policy_PTEA = log_softmax(at_states(rows["logits"], rollout.state))
    log_y_PUEm = log_softmax(at_states(rows["prediction"], rollout.states))
    return rollout, lives.rule.experience(rollout, log_policy_PTEA, log_y_PUEm)


# --- worth ------------------------------------------------------------------------------------


def exact_worth(
    tasks: RandomMDPs, rows: Rows, rollout: TabularRollout, discount: float
) -> tuple[Tensor, Tensor]:
    """V(s_t) and Q(s_t, a_t) − V(s_t) under the present policies until the episode's end.

    By backward induction over the steps of an episode; `(P, T, E)` float64. Rollouts begin with an
    episode.
    """
    shape = (-1, tasks.num_states, tasks.num_actions)
    policy_PSA = rows["logits"].to(torch.float64).softmax(dim=-1)
    reward_PSA = rows["task.reward"].to(torch.float64).view(shape)
    cumulative_PXS = rows["task.cumulative"]
    chance_PXS = cumulative_PXS.diff(dim=2, prepend=torch.zeros_like(cumulative_PXS[..., :1]))
    value_PS = torch.zeros_like(policy_PSA[..., 0])
    worth: list[Tensor] = []
    for _ in range(tasks.horizon):
        next_PSA = (chance_PXS @ value_PS.unsqueeze(2)).view(shape)
        q_PSA = reward_PSA + discount * next_PSA
        value_PS = (policy_PSA * q_PSA).sum(dim=2)
        worth.insert(0, torch.cat([value_PS.unsqueeze(2), q_PSA], dim=2))
    steps = rollout.action.shape[1]
    found = [at_states(worth[t % tasks.horizon], rollout.state[:, t]) for t in range(steps)]
    worth_PTEX = torch.stack(found, dim=1)
    value_PTE = worth_PTEX[..., 0]
    chosen_PTE = worth_PTEX[..., 1:].gather(-1, rollout.action.unsqueeze(-1)).squeeze(-1)
    return value_PTE, chosen_PTE - value_PTE


def returns(rollout: TabularRollout, discount: float) -> Tensor:
    """Discounted, to the episode's end, `(P, T, E)`: what GAE is with λ = 1 and no values."""
    reward_TPE, ended_TPE = rollout.reward.transpose(0, 1), rollout.ended.transpose(0, 1)
    zero_TPE = torch.zeros_like(reward_TPE)
    found = gae(reward_TPE, zero_TPE, zero_TPE, ended_TPE, discount=discount, trace=1.0)
    return found.transpose(0, 1)


# --- bootstrapping ----------------------------------------------------------------------------


def _bootstrapping(
    network: LPG, rule_PM: Tensor, lived: Experience, age: Lifetime
) -> tuple[float, float, float]:
    """What moves if one prediction does: π̂ before it, π̂ at it, φ(ŷ) before it, per rise of φ.

    The prediction amid the first episode moves towards the category of the largest φ.
    """
    at = int(lived.ended[0, :, 0].nonzero()[0, 0]) // 2 + 1
    moved = _moved(network, rule_PM, lived, at)
    before, after = (network.targets(rule_PM, e, age) for e in (lived, moved))
    rise_PE = _rise(network, rule_PM, lived.prediction, moved.prediction)[:, at]
    weight_PTE = after[0] - before[0]
    target_PTE = _rise(network, rule_PM, before[1].exp(), after[1].exp())
    return (
        _per(weight_PTE[:, at - 1], rise_PE),
        _per(weight_PTE[:, at], rise_PE),
        _per(target_PTE[:, at - 1], rise_PE),
    )


def _moved(network: LPG, rule_PM: Tensor, lived: Experience, at: int) -> Experience:
    size = network.config.prediction_size
    corner_1mm = torch.eye(size, dtype=rule_PM.dtype).unsqueeze(0)
    phi_m = network.embedded(rule_PM[:1], corner_1mm.unsqueeze(2))[0, :, 0]
    prediction = lived.prediction.clone()
    prediction[:, at] = torch.lerp(prediction[:, at], corner_1mm[0, phi_m.argmax()], _MOVED)
    return replace(lived, prediction=prediction)


def _rise(network: LPG, rule_PM: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Of φ."""
    return network.embedded(rule_PM, after) - network.embedded(rule_PM, before)


# --- lines ------------------------------------------------------------------------------------


def regress(y: Tensor, x: Tensor) -> Line:
    """The line of y on x, all entries of both."""
    y, x = _centred(y), _centred(x)
    covariance, own = (x * y).sum(), x.square().sum()
    return Line(_ratio(covariance, own), _ratio(covariance.square(), own * y.square().sum()))


def _correlation(y: Tensor, x: Tensor) -> float:
    y, x = _centred(y), _centred(x)
    return _ratio((x * y).sum(), (x.square().sum() * y.square().sum()).sqrt())


def _per(change: Tensor, cause: Tensor) -> float:
    """The line through the origin."""
    change, cause = change.to(torch.float64), cause.to(torch.float64)
    return _ratio((change * cause).sum(), cause.square().sum())


def _ratio(above: Tensor, below: Tensor) -> float:
    """NaN where rounding is all there is below."""
    return float(above / below) if float(below) > 1e-18 else math.nan


def _centred(value: Tensor) -> Tensor:
    flat = value.to(torch.float64).flatten()
    return flat - flat.mean()
