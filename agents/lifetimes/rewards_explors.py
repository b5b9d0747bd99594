"""ExploRS: agents that shape their own rewards, of which many learn side by side.

Devidze, Kamalaruban & Singla 2022 (NeurIPS; thesis arXiv 2503.21949), with the schedule and the
constants of their public code (neurips2022_exploration-guided-reward-shaping, `code_tabular`). An
agent learns from

    r̂(s, a, s') = r̄(s, a) + φ(s, a) + B(s'),    B(s) = λ / √((λ / B_max)² + N(s)),

N(s) being its visits so far and φ a reward it learns, by a first-order rule, to raise its true
return. All is float64. What leaves the task earns no bonus.

Shape legend: P agents, T steps of an episode, S states, A actions, K last episodes.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from quickstudy.agents.lifetimes.rewards_learners import epsilon_greedy
from quickstudy.agents.lifetimes.tabular_rollout import at_states, table_rows
from quickstudy.agents.lifetimes.tabular_tables import log_softmax, scattered
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.tabular.chains_rooms import SlipperyMDP, slipped

LEARNERS = ("reinforce", "q-learning")
_BLOCK = 50
"""Episodes whose chance is drawn at once."""


@dataclass(frozen=True)
class ExploRSConfig:
    """Constants; the defaults are the published ones."""

    learner: Literal["reinforce", "q-learning"] = "reinforce"
    """Who learns from the shaped reward."""
    discount: float = 0.99
    """γ, per step."""
    bonus_weight: float = 1.0
    """λ."""
    bonus_max: float = 1.0
    """B_max: the bonus of a state never visited."""
    shaping_rate: float = 0.01
    """η of φ."""
    shaping_limit: float | None = None
    """|φ| is kept below this (published: 0.01 for Q-learning, none for REINFORCE)."""
    critic_rate: float = 0.01
    """Of the critic of the true return, for the mean error over the kept steps."""
    actor_rate: float = 0.1
    """Of REINFORCE's logits, for the mean gradient over the steps learned from."""
    q_rate: float = 0.1
    """Of Q-learning's values."""
    epsilon: float = 0.05
    """How often Q-learning takes any action."""
    shape_every: int = 5
    """Episodes between updates of φ and its critic."""
    learn_every: int = 2
    """Episodes between updates of the learner."""
    kept_episodes: int = 10
    """The last episodes, from which φ learns."""
    recent_episodes: int = 5
    """The last of them, from which the learner learns."""

    def check(self) -> None:
        """Raise `ValueError` for an unknown learner, or a count below 1."""
        if self.learner not in LEARNERS:
            raise unknown("learner", self.learner, LEARNERS)
        for name in ("shape_every", "learn_every", "kept_episodes", "recent_episodes"):
            require_positive(name, getattr(self, name))


class Episode(NamedTuple):
    """One episode of each agent. After its end, an agent stays where it ended and earns nothing."""

    state_PT: Tensor
    """Before each step, int64."""
    next_PT: Tensor
    """After it, int64."""
    action_PT: Tensor
    """int64."""
    going_PT: Tensor
    """1 where a step was made, 0 after the end."""
    policy_PTA: Tensor
    """The probabilities that it acted by."""
    shaped_PT: Tensor
    """r̂."""
    shaped_return_PT: Tensor
    """Discounted sum of r̂ from here on."""
    true_return_PT: Tensor
    """That of r̄."""


class ExploRS:
    """P agents on one MDP; an agent is a function of its key and of its two switches."""

    def __init__(
        self,
        config: ExploRSConfig,
        mdp: SlipperyMDP,
        key_P: Tensor,
        *,
        bonus_P: Tensor,
        shaping_P: Tensor,
    ) -> None:
        """New-born agents.

        Args:
            config: constants.
            mdp: what they act in.
            key_P: all chance; agents of the same key share their luck.
            bonus_P: bool; who is paid B.
            shaping_P: bool; who learns φ.

        Raises:
            ValueError: as `config.check`.
        """
        config.check()
        self.config = config
        self.mdp = mdp
        self.episodes = 0
        """Played so far."""
        self._key_P = key_P
        self._bonus_P1 = bonus_P.to(torch.float64).unsqueeze(1)
        self._shaping_P11 = shaping_P.to(torch.float64)[:, None, None]
        empty_PSA = torch.zeros(len(key_P), *mdp.next_SA.shape, dtype=torch.float64)
        self.table_PSA = empty_PSA
        """Logits, or values of actions."""
        self.phi_PSA = empty_PSA.clone()
        """φ."""
        self.value_PS = empty_PSA[..., 0].clone()
        """V: the critic of the true return."""
        self.visits_PS = empty_PSA[..., 0].clone()
        """N."""
        self.policy_PSA = self._policy()
        """What they act by now."""
        self._kept: deque[Episode] = deque(maxlen=config.kept_episodes)
        self._worth_TT = _worth(config.discount, mdp.horizon)
        self._earlier_TT = torch.ones(mdp.horizon, mdp.horizon).tril(diagonal=-1).bool()
        self._reward = mdp.reward_SA.to(torch.float64)

    @torch.no_grad()
    def live(self, num_episodes: int) -> None:
        """Play and learn."""
        until = self.episodes + num_episodes
        while self.episodes < until:
            for draw_PTD in self._chance(min(_BLOCK, until - self.episodes)):
                self._kept.append(self._play(draw_PTD))
                self.episodes += 1
                if self.episodes % self.config.shape_every == 0:
                    self._shape()
                if self.episodes % self.config.learn_every == 0:
                    self._learn()

    def true_return(self) -> Tensor:
        """The exact expected undiscounted return of the present policies, `(P,)` float64."""
        return expected_return(self.mdp, self.policy_PSA)

    def _chance(self, num_episodes: int) -> Tensor:
        """Draws for the next episodes, `(episodes, P, T, 2)`: the action, and the slip."""
        counter = self.episodes + torch.arange(num_episodes).unsqueeze(1)
        draw = rng.uniform(rng.fold_in(self._key_P, counter), 2 * self.mdp.horizon)
        return draw.view(num_episodes, len(self._key_P), self.mdp.horizon, 2)

    def _play(self, draw_PTD: Tensor) -> Episode:
        """An episode, its visits counted."""
        states, action_PT = walk(self.mdp, self.policy_PSA, draw_PTD)
        state_PT, next_PT = states[:, :-1], states[:, 1:]
        going_PT = (state_PT != self.mdp.terminal).to(torch.float64)
        true_PT = self._reward[state_PT, action_PT]
        phi_PTA = at_states(self.phi_PSA, state_PT)
        phi_PT = phi_PTA.gather(-1, action_PT.unsqueeze(-1)).squeeze(-1)
        bonus_PT = self._bonus_P1 * self._bonus(state_PT, next_PT)
        shaped_PT = going_PT * (true_PT + phi_PT + bonus_PT)
        self.visits_PS = self.visits_PS + self._sum(state_PT, going_PT.unsqueeze(-1)).squeeze(-1)
        return Episode(
            state_PT,
            next_PT,
            action_PT,
            going_PT,
            at_states(self.policy_PSA, state_PT),
            shaped_PT,
            shaped_PT @ self._worth_TT,
            true_PT @ self._worth_TT,
        )

    def _bonus(self, state_PT: Tensor, next_PT: Tensor) -> Tensor:
        """B(s') of each step, by the visits before it: a state counts when it is left."""
        before_PT = at_states(self.visits_PS.unsqueeze(-1), next_PT).squeeze(-1)
        same_PTT = next_PT.unsqueeze(2) == state_PT.unsqueeze(1)
        visits_PT = before_PT + (same_PTT & self._earlier_TT).sum(dim=2)
        bonus_PT = bonus(visits_PT, self.config.bonus_weight, self.config.bonus_max)
        return bonus_PT.where(next_PT != self.mdp.terminal, 0.0)

    def _shape(self) -> None:
        """φ ← φ + η Σ π(a|s) (Ḡ − V(s)) (e_a − π(·|s)), then V one step towards Ḡ."""
        kept = _joined(self._kept)
        value_PT = at_states(self.value_PS.unsqueeze(-1), kept.state_PT).squeeze(-1)
        error_PT = kept.going_PT * (kept.true_return_PT - value_PT)
        taken_PT1 = kept.policy_PTA.gather(-1, kept.action_PT.unsqueeze(-1))
        direction_PTA = _towards(kept, kept.policy_PTA, taken_PT1.squeeze(-1) * error_PT)
        change_PSA = self.config.shaping_rate * self._sum(kept.state_PT, direction_PTA)
        self.phi_PSA = self.phi_PSA + self._shaping_P11 * change_PSA
        if self.config.shaping_limit is not None:
            self.phi_PSA.clamp_(-self.config.shaping_limit, self.config.shaping_limit)
        total_PS = self._sum(kept.state_PT, error_PT.unsqueeze(-1)).squeeze(-1)
        steps_P1 = kept.going_PT.sum(dim=1, keepdim=True)
        self.value_PS = self.value_PS + self.config.critic_rate * total_PS / steps_P1

    def _learn(self) -> None:
        recent = list(self._kept)[-self.config.recent_episodes :]
        if self.config.learner == "reinforce":
            self._reinforce(_joined(recent))
        else:
            for episode in recent:
                self._q_learn(episode)
        self.policy_PSA = self._policy()

    def _reinforce(self, recent: Episode) -> None:
        """θ ← θ + rate × the mean over steps of Ĝ ∇ log π(a|s), by the present policy."""
        policy_PTA = at_states(self.policy_PSA, recent.state_PT)
        weight_PT = recent.going_PT * recent.shaped_return_PT
        total_PSA = self._sum(recent.state_PT, _towards(recent, policy_PTA, weight_PT))
        steps_P11 = recent.going_PT.sum(dim=1)[:, None, None]
        self.table_PSA = self.table_PSA + self.config.actor_rate * total_PSA / steps_P11

    def _q_learn(self, episode: Episode) -> None:
        """From the last step to the first."""
        table = self.table_PSA = self.table_PSA.clone()
        num_actions = table.shape[-1]
        place_PT = _places(table, episode.state_PT, episode.action_PT)
        next_PT = table_rows(table, episode.next_PT).view(place_PT.shape)
        flat, rows = table.view(-1), table.view(-1, num_actions)
        for t in reversed(range(self.mdp.horizon)):
            target_P = episode.shaped_PT[:, t] + self.config.discount * rows[next_PT[:, t]].amax(1)
            change_P = self.config.q_rate * (target_P - flat[place_PT[:, t]])
            flat.index_add_(0, place_PT[:, t], change_P * episode.going_PT[:, t])

    def _policy(self) -> Tensor:
        if self.config.learner == "reinforce":
            return log_softmax(self.table_PSA).exp()
        return epsilon_greedy(self.table_PSA, self.config.epsilon).exp()

    def _sum(self, state_PT: Tensor, value_PTX: Tensor) -> Tensor:
        return scattered(self.table_PSA, state_PT, value_PTX)


def bonus(visits: Tensor, weight: float, highest: float) -> Tensor:
    """B = λ / √((λ / B_max)² + N): B_max at first; 1 / √(1 + N) where λ = B_max = 1."""
    return weight / ((weight / highest) ** 2 + visits).sqrt()


def walk(mdp: SlipperyMDP, policy_PSA: Tensor, draw_PTD: Tensor) -> tuple[Tensor, Tensor]:
    """An episode of each policy: states `(P, T + 1)` and actions `(P, T)`, by inverse CDF.

    After its end an agent stays in the terminal state.
    """
    num_agents, num_states, num_actions = policy_PSA.shape
    below = policy_PSA.cumsum(dim=-1)[..., :-1].reshape(num_agents * num_states, -1).numpy()
    first_P = num_states * np.arange(num_agents)
    leads_to = mdp.next_SA.flatten().numpy()
    # What a slip makes of the action: −1 where it is left as it is.
    slip_PT = slipped(torch.tensor(-1), draw_PTD[..., 1], mdp.slip, num_actions)
    slip_TP = slip_PT.expand(draw_PTD.shape[:2]).T.contiguous().numpy()
    draw_TP1 = draw_PTD[..., :1].transpose(0, 1).contiguous().numpy()
    state_P = np.full(num_agents, mdp.start)
    states, actions = [state_P], []
    # In NumPy: for so few numbers its calls cost a third of torch's.
    for draw_P1, slip_P in zip(draw_TP1, slip_TP, strict=True):
        action_P = (draw_P1 >= below.take(state_P + first_P, axis=0)).sum(axis=1)
        moved_P = np.where(slip_P < 0, action_P, slip_P)
        state_P = leads_to.take(state_P * num_actions + moved_P)
        states.append(state_P)
        actions.append(action_P)
    return torch.from_numpy(np.stack(states, axis=1)), torch.from_numpy(np.stack(actions, axis=1))


def expected_return(mdp: SlipperyMDP, policy_PSA: Tensor) -> Tensor:
    """Exact, undiscounted, over one episode, by dynamic programming: `(P,)` float64."""
    num_agents, num_states, _ = policy_PSA.shape
    # A slip makes any action equally likely; the reward is that of the action meant.
    moves_PSA = (1.0 - mdp.slip) * policy_PSA + mdp.slip / policy_PSA.shape[-1]
    reward_PS = (policy_PSA * mdp.reward_SA).sum(dim=-1)
    value_PS = torch.zeros(num_agents, num_states, dtype=torch.float64)
    for _ in range(mdp.horizon):
        value_PS = reward_PS + (moves_PSA * value_PS[:, mdp.next_SA]).sum(dim=-1)
    return value_PS[:, mdp.start]


def _worth(discount: float, horizon: int) -> Tensor:
    """What a reward at step u is worth at step t: γ^(u − t), `(T, T)` as [u, t]; 0 before t."""
    step_T = torch.arange(horizon, dtype=torch.float64)
    return (discount ** (step_T.unsqueeze(1) - step_T)).tril()


def _towards(episode: Episode, policy_PTA: Tensor, weight_PT: Tensor) -> Tensor:
    """The weighted directions w (e_a − π), `(P, T, A)`."""
    weight_PT1 = weight_PT.unsqueeze(-1)
    return (-weight_PT1 * policy_PTA).scatter_add(-1, episode.action_PT.unsqueeze(-1), weight_PT1)


def _places(table_PSA: Tensor, state_PT: Tensor, action_PT: Tensor) -> Tensor:
    """Where states and actions stand in the flat table, `(P, T)`."""
    rows_PT = table_rows(table_PSA, state_PT).view(state_PT.shape)
    return rows_PT * table_PSA.shape[-1] + action_PT


def _joined(episodes: Sequence[Episode]) -> Episode:
    """Several episodes as one long one, `(P, K · T)`."""
    return Episode(*(torch.cat(part, dim=1) for part in zip(*episodes, strict=True)))
