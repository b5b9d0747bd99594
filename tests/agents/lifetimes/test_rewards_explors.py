"""ExploRS against one agent in loops; its bonus, its shaping and its returns by hand."""

import pytest
import torch

from quickstudy.agents.lifetimes.rewards_explors import (
    Episode,
    ExploRS,
    ExploRSConfig,
    bonus,
    expected_return,
    walk,
)
from quickstudy.envs import rng
from quickstudy.envs.tabular.chains_rooms import ChainConfig, RoomConfig

CHAIN = ChainConfig(right=3, left=2, distance=1, distractor=0.3, horizon=7, slip=0.2)
ARMS = [(False, False), (True, False), (False, True), (True, True)]


def agents(config=None, mdp=None, arms=ARMS, seed=0):
    """One agent per arm, all with one key."""
    key = rng.world_keys(seed, rng.Stream.STUDENT, 1)
    switches = torch.tensor(arms)
    return ExploRS(
        config or ExploRSConfig(),
        mdp or CHAIN.build(),
        key.repeat(len(arms)),
        bonus_P=switches[:, 0],
        shaping_P=switches[:, 1],
    )


class Slow:
    """One agent, as its definition reads: dictionaries and loops over steps."""

    def __init__(self, config, mdp, key, bonus_on, shaping_on):
        self.config, self.mdp, self.key = config, mdp, key.view(1)
        self.bonus_on, self.shaping_on = bonus_on, shaping_on
        num_states, self.num_actions = mdp.next_SA.shape
        self.table, self.phi = ([[0.0] * self.num_actions for _ in range(num_states)] for _ in "ab")
        self.value, self.visits = [0.0] * num_states, [0] * num_states
        self.kept = []

    def policy(self, s):
        row = torch.tensor(self.table[s], dtype=torch.float64)
        if self.config.learner == "reinforce":
            return torch.softmax(row, dim=0).tolist()
        best = [float(q >= max(self.table[s]) - 1e-6) for q in self.table[s]]
        eps = self.config.epsilon
        return [eps / self.num_actions + (1 - eps) * b / sum(best) for b in best]

    def bonus(self, s):
        if s == self.mdp.terminal or not self.bonus_on:
            return 0.0
        lam, most = self.config.bonus_weight, self.config.bonus_max
        return lam / ((lam / most) ** 2 + self.visits[s]) ** 0.5

    def play(self, n):
        """A list of (s, a, s', r̄, r̂, π(·|s))."""
        draw = rng.uniform(rng.fold_in(self.key, n), 2 * self.mdp.horizon)[0].tolist()
        s, episode = self.mdp.start, []
        for t in range(self.mdp.horizon):
            policy, below = self.policy(s), 0.0
            action = self.num_actions - 1
            for a in range(self.num_actions - 1):
                below += policy[a]
                if draw[2 * t] < below:
                    action = a
                    break
            slip = draw[2 * t + 1]
            moved = int(slip / self.mdp.slip * self.num_actions) if slip < self.mdp.slip else action
            arrived = int(self.mdp.next_SA[s, moved])
            true = float(self.mdp.reward_SA[s, action].double())
            shaped = true + self.phi[s][action] + self.bonus(arrived)
            self.visits[s] += 1
            episode.append((s, action, arrived, true, shaped, policy))
            s = arrived
            if s == self.mdp.terminal:
                break
        return episode

    def returns(self, episode, place):
        found, carry = [], 0.0
        for step in reversed(episode):
            carry = step[place] + self.config.discount * carry
            found.append(carry)
        return found[::-1]

    def shape(self):
        steps = [
            (*step, g)
            for episode in self.kept
            for step, g in zip(episode, self.returns(episode, 3), strict=True)
        ]
        phi = [list(row) for row in self.phi]
        value = list(self.value)
        for s, a, _, _, _, policy, g in steps:
            error = g - self.value[s]
            for b in range(self.num_actions):
                phi[s][b] += self.config.shaping_rate * policy[a] * error * ((a == b) - policy[b])
            value[s] += self.config.critic_rate * error / len(steps)
        self.value = value
        if self.shaping_on:
            most = self.config.shaping_limit or float("inf")
            self.phi = [[min(max(x, -most), most) for x in row] for row in phi]

    def learn(self):
        recent = self.kept[-self.config.recent_episodes :]
        if self.config.learner == "reinforce":
            steps = [
                (step[0], step[1], g)
                for episode in recent
                for step, g in zip(episode, self.returns(episode, 4), strict=True)
            ]
            policies = [self.policy(s) for s in range(len(self.table))]
            for s, a, g in steps:
                for b in range(self.num_actions):
                    change = g * ((a == b) - policies[s][b])
                    self.table[s][b] += self.config.actor_rate * change / len(steps)
            return
        for episode in recent:
            for s, a, arrived, _, shaped, _ in reversed(episode):
                target = shaped + self.config.discount * max(self.table[arrived])
                self.table[s][a] += self.config.q_rate * (target - self.table[s][a])

    def live(self, episodes):
        for n in range(episodes):
            self.kept = [*self.kept, self.play(n)][-self.config.kept_episodes :]
            if (n + 1) % self.config.shape_every == 0:
                self.shape()
            if (n + 1) % self.config.learn_every == 0:
                self.learn()


QUICK = {"actor_rate": 2.0, "shaping_rate": 0.1, "critic_rate": 0.5, "bonus_max": 0.7}


@pytest.mark.parametrize(
    "config",
    [
        ExploRSConfig(**QUICK),
        ExploRSConfig(**QUICK, learner="q-learning", shaping_limit=0.01, epsilon=0.2),
        ExploRSConfig(kept_episodes=3, recent_episodes=5, shape_every=2, learn_every=3),
    ],
    ids=["reinforce", "q-learning", "few-kept"],
)
def test_agents_live_as_loops_do(config):
    mdp, episodes = CHAIN.build(), 23
    fast = agents(config, mdp)
    fast.live(episodes)
    for p, (bonus_on, shaping_on) in enumerate(ARMS):
        slow = Slow(config, mdp, fast._key_P[p], bonus_on, shaping_on)
        slow.live(episodes)
        for name in ("table", "phi", "value", "visits"):
            suffix = "_PSA" if name in ("table", "phi") else "_PS"
            expected = torch.tensor(getattr(slow, name), dtype=torch.float64)
            torch.testing.assert_close(getattr(fast, name + suffix)[p], expected)
    assert not torch.equal(fast.table_PSA[0], fast.table_PSA[3])


# --- by hand ----------------------------------------------------------------------------------


def test_the_bonus_by_hand():
    """λ = B_max = 1: 1 / √(1 + N), 1 and 1/2 at 0 and 3. λ = 2, B_max = 1: 2 / √(4 + N), 2/3 at 5.
    At first it is B_max whatever λ.
    """
    visits = torch.tensor([0.0, 3.0, 5.0])
    assert bonus(visits[:2], 1.0, 1.0).tolist() == [1.0, 0.5]
    assert bonus(visits[2:], 2.0, 1.0).tolist() == pytest.approx([2 / 3])
    assert bonus(visits[:1], 7.0, 0.3).tolist() == pytest.approx([0.3])


def test_a_bonus_counts_the_visits_before_it():
    """States 2 → 3 → 3 → 2 → 3 → 0 → out, nothing visited before. Arriving at 3: N = 0, B = 1; at 3
    again, not yet left: 1; at 2, left once: 1/√2; at 3, left twice: 1/√3. At 0: 1; out: nothing.
    """
    fast = agents(arms=[(True, False)])
    out = fast.mdp.terminal
    state = torch.tensor([[2, 3, 3, 2, 3, 0, out]])
    after = torch.tensor([[3, 3, 2, 3, 0, out, out]])
    found = fast._bonus(state, after)[0].tolist()
    assert found == pytest.approx([1.0, 1.0, 2**-0.5, 3**-0.5, 1.0, 0.0, 0.0])


def test_shaping_by_hand():
    """One step: s = 2, a = 1, π = (1/4, 3/4), Ḡ = 2, V(2) = 1. With η = 0.1,
    φ(2, ·) += 0.1 · 3/4 · (2 − 1) · ((0, 1) − (1/4, 3/4)) = 0.075 · (−1/4, 1/4);
    V(2) += 0.2 · 1 / 1. The steps after the end do not count.
    """
    fast = agents(ExploRSConfig(shaping_rate=0.1, critic_rate=0.2), arms=[(False, True)])
    out = fast.mdp.terminal
    fast.value_PS[0, 2] = 1.0
    none = torch.zeros(1, 2, dtype=torch.float64)
    fast._kept.append(
        Episode(
            torch.tensor([[2, out]]),
            torch.tensor([[out, out]]),
            torch.tensor([[1, 0]]),
            torch.tensor([[1.0, 0.0]], dtype=torch.float64),
            torch.tensor([[[0.25, 0.75], [0.5, 0.5]]], dtype=torch.float64),
            none,
            none,
            torch.tensor([[2.0, 9.0]], dtype=torch.float64),
        )
    )
    fast._shape()
    assert fast.phi_PSA[0, 2].tolist() == pytest.approx([-0.01875, 0.01875])
    assert float(fast.phi_PSA.abs().sum()) == pytest.approx(0.0375)
    assert float(fast.value_PS[0, 2]) == pytest.approx(1.2)


def test_the_expected_return_by_hand():
    """Chain of two places, start at the left end, two steps, slips 0.1, RIGHT with 3/4: moves right
    with 0.9 · 3/4 + 0.05 = 0.725, and then earns 3/4.
    """
    config = ChainConfig(right=1, left=0, distance=0, distractor=0.0, slip=0.1, horizon=2)
    policy = torch.tensor([[[0.25, 0.75]] * 3], dtype=torch.float64)
    assert expected_return(config.build(), policy).tolist() == pytest.approx([0.725 * 0.75])


def test_the_expected_return_is_what_walks_earn():
    """4000 walks in rooms by one random policy, 4 standard errors."""
    mdp, count = RoomConfig(slip=0.3).build(), 4000
    key = rng.world_keys(1, rng.Stream.TASK, 1)
    policy = rng.uniform(key, 200).view(1, 50, 4)
    policy = policy / policy.sum(dim=-1, keepdim=True)
    draw = rng.uniform(rng.fold_in(key, torch.arange(count)), 60).view(count, 30, 2)
    states, actions = walk(mdp, policy.expand(count, -1, -1), draw)
    earned = mdp.reward_SA[states[:, :-1], actions].double().sum(dim=1)
    error = float(earned.std()) / count**0.5
    assert error > 0
    found = float(expected_return(mdp, policy))
    assert abs(found - float(earned.mean())) < 4 * error


# --- populations ------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", ["reinforce", "q-learning"])
def test_an_agent_alone_is_the_same(learner):
    config = ExploRSConfig(learner=learner)
    together = agents(config)
    together.live(30)
    for p, arm in enumerate(ARMS):
        alone = agents(config, arms=[arm])
        alone.live(30)
        torch.testing.assert_close(alone.table_PSA[0], together.table_PSA[p])
        assert torch.equal(alone.visits_PS[0], together.visits_PS[p])


def test_a_life_in_parts_is_the_whole_life_and_keys_decide_it():
    whole, parts, other = agents(), agents(), agents(seed=1)
    whole.live(130)
    for count in (1, 6, 70, 53):
        parts.live(count)
    other.live(130)
    assert torch.equal(whole.table_PSA, parts.table_PSA)
    assert torch.equal(whole.phi_PSA, parts.phi_PSA)
    assert not torch.equal(whole.table_PSA, other.table_PSA)


def test_without_its_parts_an_agent_learns_from_the_true_reward():
    """No φ and no bonus: what is shaped is what is true, and φ stays 0."""
    fast = agents(arms=[(False, False), (False, True)])
    fast.live(40)
    for episode in fast._kept:
        assert torch.equal(episode.shaped_return_PT[0], episode.true_return_PT[0])
    assert float(fast.phi_PSA[0].abs().max()) == 0.0
    assert float(fast.phi_PSA[1].abs().max()) > 0.0


@pytest.mark.parametrize("learner", ["reinforce", "q-learning"])
def test_agents_learn_a_short_chain(learner):
    """The goal three steps away, seven steps: all arms come near the best, 4 less some slips."""
    config = ExploRSConfig(learner=learner, actor_rate=5.0)
    mdp = ChainConfig(right=3, left=2, distance=1, distractor=0.0, horizon=7, slip=0.0).build()
    fast = agents(config, mdp)
    before = fast.true_return()
    fast.live(400)
    assert bool((fast.true_return() > before + 1.5).all())
    assert bool((fast.true_return() <= 4.0 + 1e-9).all())


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"'reinfor'\. Did you mean 'reinforce'"):
        agents(ExploRSConfig(learner="reinfor"))
    with pytest.raises(ValueError, match="learn_every must be an integer of at least 1, got 0"):
        agents(ExploRSConfig(learn_every=0))
