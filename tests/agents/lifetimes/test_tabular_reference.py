"""Tabular lifetimes against slow references: loops over steps, autograd, float64."""

import pytest
import torch

from quickstudy.agents.lifetimes.lifetimes import rows_of
from quickstudy.agents.lifetimes.tabular import TabularConfig, TabularLifetimes
from quickstudy.agents.lifetimes.tabular_rules import (
    A2CRuleConfig,
    LPGRuleConfig,
    ScheduleRuleConfig,
)
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.lpg import LPG, Experience, LPGConfig
from quickstudy.envs import rng

T, E = 6, 3
LEARN, SCORE = 4, 5
"""Branches of an agent's key."""
NETWORK = LPGConfig(width=4, prediction_size=3, embedding_width=5)


def lifetimes(rule, corridor, **options):
    sizes = {"copies": E, "rollout_steps": T, "min_updates": 4, "max_updates": 9} | options
    return TabularLifetimes(TabularConfig(rule=rule, **sizes), corridor())


def keys(count, seed=1):
    return rng.fold_in(torch.tensor(seed), torch.arange(count))


def noisy_rules(lives, key_P, size, dtype=torch.float32):
    noise = rng.normal(rng.fold_in(key_P, 99), 2 * lives.num_parameters)[:, : lives.num_parameters]
    return (lives.first_rule(0) + size * noise).to(dtype)


def wide(rows):
    """Tables in float64."""
    names = {"logits", "value", "prediction", "penalty", "recent_reward"} & rows.keys()
    return rows | {name: rows[name].double() for name in names}


class Slow:
    """One agent; a world is a tuple (place, time)."""

    def __init__(self, corridor, row, rule_M, memory=3):
        self.corridor, self.rule_M = corridor, rule_M
        self.prize = float(row["task.prize"])
        self.key, self.total = row["key"].view(1), row["total"].view(1)
        places, times = row["world.place"][0].tolist(), row["world.time"][0].tolist()
        self.worlds = list(zip(places, times, strict=True))
        self.logits = torch.zeros(5, 3, dtype=torch.float64)
        self.y = torch.zeros(5, memory, dtype=torch.float64)
        self.value = [0.0] * 5
        self.updates = 0

    def step(self, world, draws):
        """`draws` of one copy: of the action, then of the task."""
        place, time = world
        action, below = 0, 0.0
        for probability in self.logits[place].softmax(0).tolist()[:-1]:
            below += probability
            action += draws[0] >= below
        move = (action - 1) * (-1 if draws[1] < self.corridor.slip else 1)
        after = min(max(place + move, 0), 4)
        reward = (self.prize if after == 4 else 0.0) - 0.05 * (action == 0)
        reward = float(torch.tensor(reward, dtype=torch.float32))  # as tasks say it
        ended = after == 4 or time + 1 == self.corridor.limit
        following = (int(draws[2] >= 0.5), 0) if ended else (after, time + 1)
        return action, reward, ended, following

    def draws(self, branch, counters, size=3):
        key = rng.fold_in(rng.fold_in(self.key, branch), self.updates)
        for counter in counters:
            key = rng.fold_in(key, counter)
        return rng.uniform(key, E * size).view(E, size).tolist()

    def rollout(self):
        """`(T, E)` lists of (place, action, reward, ended, next place)."""
        steps = []
        for t in range(T):
            draws, row = self.draws(LEARN, [t]), []
            for e in range(E):
                action, reward, ended, after = self.step(self.worlds[e], draws[e])
                row.append((self.worlds[e][0], action, reward, ended, after[0]))
                self.worlds[e] = after
            steps.append(row)
        return steps

    def advantages(self, steps, discount=0.99, trace=0.95):
        """Discounted sums of TD errors until the episode or the rollout ends."""
        result = torch.zeros(T, E, dtype=torch.float64)
        for e in range(E):
            for t in range(T):
                weight = 1.0
                for place, _, reward, ended, after in [row[e] for row in steps[t:]]:
                    next_value = 0.0 if ended else self.value[after]
                    result[t, e] += weight * (reward + discount * next_value - self.value[place])
                    weight *= discount * trace
                    if ended:
                        break
        return result

    def learn_values(self, steps, advantage):
        for place in range(5):
            seen = [advantage[t, e] for t in range(T) for e in range(E) if steps[t][e][0] == place]
            if seen:
                self.value[place] += 0.5 * float(sum(seen) / len(seen))

    def learn(self, update):
        steps = self.rollout()
        advantage = self.advantages(steps)
        update(steps, advantage)
        self.learn_values(steps, advantage)
        self.updates += 1

    # --- rules

    def lpg(self, steps, advantage):
        def column(index, dtype=torch.float64):
            return torch.tensor([[step[index] for step in row] for row in steps], dtype=dtype)

        place, action = column(0, torch.int64), column(1, torch.int64)
        last = column(4, torch.int64)[-1:]
        logits, y = self.logits.clone().requires_grad_(), self.y.clone().requires_grad_()
        log_prob = logits.log_softmax(1)[place, action]
        log_y = y.log_softmax(1)
        seen = Experience(
            column(2)[None],
            column(3, torch.bool)[None],
            log_prob.detach().exp()[None],
            log_y.detach().exp()[torch.cat([place, last])][None],
            torch.tensor([0.99], dtype=torch.float64),
        )
        life = Lifetime(torch.tensor([self.updates]), self.total)
        weight, log_target = LPG(NETWORK).targets(self.rule_M[None], seen, life)
        kl = (log_y.exp()[place] * (log_y[place] - log_target[0])).sum(-1)
        (weight[0] * log_prob - 0.5 * kl).mean().backward()
        self.logits = clipped_step(self.logits, logits.grad, 40.0)
        self.y = clipped_step(self.y, y.grad, 4.0)

    def a2c(self, steps, advantage):
        rate, coefficient = 40.0 * self.rule_M[0].exp(), 0.01 * self.rule_M[1].exp()
        logits = self.logits.clone().requires_grad_()
        log_policy, total = logits.log_softmax(1), 0.0
        for t in range(T):
            for e in range(E):
                row = log_policy[steps[t][e][0]]
                entropy = -(row.exp() * row).sum()
                total = total + row[steps[t][e][1]] * advantage[t, e] + coefficient * entropy
        (total / (T * E)).backward()
        self.logits = clipped_step(self.logits, logits.grad, rate)

    # --- judgement

    def score(self):
        returns, spent = [0.0] * E, 0
        starts = self.draws(SCORE, [0, 0], size=2)
        for e in range(E):
            world, ended, t = (int(starts[e][1] >= 0.5), 0), False, 0
            while not ended:
                _, reward, ended, world = self.step(world, self.draws(SCORE, [t + 1, 0])[e])
                returns[e] += reward
                t += 1
                spent += 1
        return sum(returns) / E, spent


def clipped_step(table, gradient, rate):
    norm = float(gradient.square().sum().sqrt())
    return table + rate * min(1.0, 0.5 / max(norm, 1e-15)) * gradient


RULES = {
    # Of this size targets are large enough for clipping to matter.
    "lpg": (LPGRuleConfig(NETWORK), 5.0),
    "small lpg": (LPGRuleConfig(NETWORK), 0.1),
    "a2c": (A2CRuleConfig(), 1.0),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lives_equal_the_slow_reference(corridor, name, dtype):
    config, size = RULES[name]
    lives, key_P = lifetimes(config, corridor), keys(3)
    rule_PM = noisy_rules(lives, key_P, size, torch.float64)
    rows = lives.begin(key_P)
    slow = [Slow(corridor(), rows_of(rows, slice(p, p + 1)), rule_PM[p]) for p in range(3)]
    rows = wide(rows) if dtype is torch.float64 else rows
    for _ in range(4):
        rows = lives.learn(rule_PM.to(dtype), rows, 1)
        for agent in slow:
            agent.learn(agent.a2c if name == "a2c" else agent.lpg)
    near = {"atol": 1e-9 if dtype is torch.float64 else 2e-3, "rtol": 0.0}
    for p, agent in enumerate(slow):
        assert torch.allclose(rows["logits"][p].double(), agent.logits, **near)
        value = torch.tensor(agent.value, dtype=torch.float64)
        assert torch.allclose(rows["value"][p].double(), value, **near)
        if name != "a2c":
            assert torch.allclose(rows["prediction"][p].double(), agent.y, **near)
    score_P, steps_P = lives.score(rows)
    expected = [agent.score() for agent in slow]
    assert score_P.tolist() == pytest.approx([score for score, _ in expected], abs=1e-6)
    assert steps_P.tolist() == [spent for _, spent in expected]


def test_the_reference_meets_what_could_go_wrong(corridor):
    """Its lives have clipped and unclipped steps, ends by prize and by time, and slips."""
    lives, key_P = lifetimes(RULES["lpg"][0], corridor), keys(3)
    rows = lives.begin(key_P)
    slow = [
        Slow(corridor(), rows_of(rows, slice(p, p + 1)), rule_M)
        for p, rule_M in enumerate(noisy_rules(lives, key_P, 5.0, torch.float64))
    ]
    ended, lengths = 0, []
    for agent in slow:
        for _ in range(4):
            before = agent.logits
            agent.learn(agent.lpg)
            lengths.append(float((agent.logits - before).square().sum().sqrt()))
            ended += sum(time == 0 for _, time in agent.worlds)
    assert ended > 0
    assert any(length == pytest.approx(20.0) for length in lengths)  # 40 · 0.5
    assert any(length < 19.0 for length in lengths)


@pytest.mark.parametrize("name", ["lpg", "a2c", "schedule"])
def test_the_meta_gradient_is_that_of_finite_differences(corridor, name):
    """Through K = 2 updates, then the surrogate; each of some parameters, in float64."""
    config = {
        "lpg": LPGRuleConfig(NETWORK, policy_target_penalty=0.1, prediction_target_penalty=0.2),
        "a2c": A2CRuleConfig(),
        "schedule": ScheduleRuleConfig(sees_reward=True, width=3),
    }[name]
    lives, key_P = lifetimes(config, corridor), keys(2, seed=5)
    rule_PM = noisy_rules(lives, key_P, 0.3, torch.float64).requires_grad_()
    rows = lives.learn(rule_PM.detach(), wide(lives.begin(key_P)), 1)

    def climb(rule_PM):
        return lives.surrogate(lives.learn(rule_PM, rows, 2))[0]

    def full_value(rule_PM):
        """With the penalty, of which the surrogate keeps the gradient only."""
        after = lives.learn(rule_PM, rows, 2)
        return lives.surrogate(after)[0] - after.get("penalty", torch.tensor(0.0))

    (gradient,) = torch.autograd.grad(climb(rule_PM).sum(), rule_PM)
    assert gradient.abs().max() > 1e-4
    for index in range(0, lives.num_parameters, max(1, lives.num_parameters // 25)):
        step = torch.zeros(lives.num_parameters, dtype=torch.float64)
        step[index] = 1e-6
        with torch.no_grad():
            difference = full_value(rule_PM + step) - full_value(rule_PM - step)
        assert torch.allclose(difference / 2e-6, gradient[:, index], rtol=1e-4, atol=1e-7)


def test_the_surrogate_climbs_the_true_return(corridor):
    """Averaged over many rollouts, with a critic that has learned, its gradient points where the
    exact gradient of the return does.
    """
    lives = lifetimes(A2CRuleConfig(), corridor, rollout_steps=40, max_updates=200)
    count = 256
    rows = lives.begin(keys(1).expand(count)) | {"key": keys(count, seed=8)}
    still_PM = torch.full((count, 2), -80.0)  # learns values alone
    rows = lives.learn(still_PM, rows | {"total": torch.full((count,), 99)}, 20)
    logits = rows["logits"].requires_grad_()
    surrogate_P, steps_P = lives.surrogate(rows)
    assert steps_P.tolist() == [40 * E] * count
    (found,) = torch.autograd.grad(surrogate_P.mean(), logits)
    exact = exact_gradient(corridor(), float(rows["task.prize"][0]))
    assert torch.cosine_similarity(found.sum(0).flatten().double(), exact.flatten(), 0) > 0.97


def test_the_critic_learns_the_true_values(corridor):
    """Public code never trained the one its meta-gradients needed. Uniform policies, whose values
    V = r + γ P V are solved for; the mean over agents within 0.02, where they began 0.6 away.
    """
    endless, config = corridor(limit=10_000), TabularConfig(rule=A2CRuleConfig(), copies=8)
    lives = TabularLifetimes(config, endless)
    rows = lives.begin(keys(1).expand(64)) | {"key": keys(64, seed=8)}
    still_PM = torch.full((64, 2), -80.0)  # learns values alone
    rows = lives.learn(still_PM, rows | {"total": torch.full((64,), 99)}, 60)
    policy_SA = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    move_SN, reward_S = chain(endless, float(rows["task.prize"][0]), policy_SA)
    true_S = torch.linalg.solve(torch.eye(4).double() - 0.99 * move_SN[:, :4], reward_S)
    assert float(true_S.max()) > 0.6
    assert torch.allclose(rows["value"].mean(0).double()[:4], true_S, atol=0.02)
    assert float(rows["value"][:, 4].abs().max()) == 0.0  # nobody acts there


# --- the corridor, exactly ----------------------------------------------------------------------


def chain(corridor, prize, policy_SA):
    """From each place but the end, 4: the chance of each next place, and the mean reward."""
    move_SN = torch.zeros(4, 5, dtype=torch.float64)
    reward = [0.0] * 4
    for place in range(4):
        for action in range(3):
            for sign, chance in ((1, 1.0 - corridor.slip), (-1, corridor.slip)):
                after = min(max(place + sign * (action - 1), 0), 4)
                weight = policy_SA[place, action] * chance
                move_SN = move_SN.index_put(
                    (torch.tensor(place), torch.tensor(after)), weight, accumulate=True
                )
                paid = (prize if after == 4 else 0.0) - 0.05 * (action == 0)
                reward[place] = reward[place] + weight * paid
    return move_SN, torch.stack(reward)


def first_values(corridor, prize, policy_SA, discount=0.99):
    """V(0, s) of an episode with its time limit, `(4,)`."""
    move_SN, reward_S = chain(corridor, prize, policy_SA)
    value_S = reward_S
    for _ in range(corridor.limit - 1):
        value_S = reward_S + discount * move_SN[:, :4] @ value_S
    return value_S


def exact_gradient(corridor, prize):
    """Of the discounted return of an episode with respect to the logits, at zero: `(5, 3)`."""
    logits = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    value_S = first_values(corridor, prize, logits.softmax(1)[:4])
    return torch.autograd.grad((value_S[0] + value_S[1]) / 2, logits)[0]
