"""Learned lifetime rewards against one agent in loops, and the memory that must not be lost."""

import pytest
import torch

from quickstudy.agents.lifetimes.lifetimes import rows_of
from quickstudy.agents.lifetimes.rewards import RewardConfig, RewardLifetimes
from quickstudy.agents.lifetimes.rewards_learners import (
    ActorCritic,
    ActorCriticConfig,
    QLearningConfig,
    reinforce,
)
from quickstudy.agents.lifetimes.rewards_rule import RewardRule, RewardRuleConfig
from quickstudy.agents.lifetimes.tabular_rollout import TabularRollout
from quickstudy.envs import rng
from quickstudy.envs.tabular.hidden_goal import HiddenGoal, HiddenGoalConfig
from quickstudy.envs.tabular.permuted_actions import PermutedActions

TASKS = HiddenGoal(HiddenGoalConfig(size=4, horizon=7))
RULE = RewardRuleConfig(width=5)
T = 6
LEARN = 3
"""The branch of an agent's key."""
LEARNERS = {"a2c": ActorCriticConfig(), "reinforce": reinforce(), "q-learning": QLearningConfig()}


def lifetimes(tasks=TASKS, **options):
    sizes = {"num_updates": 5, "rollout_steps": T, "rule": RULE} | options
    return RewardLifetimes(RewardConfig(**sizes), tasks)


def keys(count, seed=1):
    return rng.world_keys(seed, rng.Stream.TASK, count)


def noisy_rules(lives, key_P, size=0.5):
    """First rules with noise on all their numbers."""
    noise = rng.normal(rng.fold_in(key_P, 99), lives.num_parameters + 1)
    return (lives.first_rule(0) + size * noise[:, : lives.num_parameters]).float()


def wide(rows):
    names = {"logits", "value", "q", "memory"} & rows.keys()
    return rows | {name: rows[name].double() for name in names}


class Slow:
    """The reward of one agent, step by step, with torch's own GRU cell."""

    def __init__(self, rule, rule_M):
        self.parts, self.config = rule.layout.parts(rule_M), rule.config
        width = self.config.width
        self.cell = torch.nn.GRUCell(self.parts["input"].shape[0], width, dtype=rule_M.dtype)
        hidden_bias = torch.cat([torch.zeros(2 * width), self.parts["recurrent_bias"]])
        with torch.no_grad():
            self.cell.weight_ih.copy_(self.parts["input"].T)
            self.cell.weight_hh.copy_(self.parts["recurrent"].T)
            self.cell.bias_ih.copy_(self.parts["input_bias"])
            self.cell.bias_hh.copy_(hidden_bias)
        self.memory = torch.zeros(1, width, dtype=rule_M.dtype)

    @torch.no_grad()
    def reward(self, features, action, reward, ended):
        known = [] if action is None else [float(a == action) for a in range(4)]
        x = torch.tensor([*features, *known, reward, float(ended)], dtype=self.memory.dtype)
        self.memory = self.cell(x.unsqueeze(0), self.memory)
        head = self.memory @ self.parts["head"] + self.parts["head_bias"]
        given = float(torch.tanh(head + self.parts["true_reward"] * reward))
        return given if self.config.mix == "alone" else reward + self.config.weight * given


def slow_life(lives, rule_M, key):
    """One agent's life in loops: its tables after each update. What is tested is the reward and
    its memory; the learner has its own tests.
    """
    tasks, slow, config = lives.tasks, Slow(lives.rule, rule_M), lives.config
    rows = wide(lives.begin(key.view(1)))
    task = {"goal": rows["task.goal"]}
    worlds = {name: rows["world." + name] for name in ("cell", "time")}
    at = tasks.coordinates()
    for n in range(config.num_updates):
        luck = rng.fold_in(rng.fold_in(key, LEARN), n)
        states, actions, true, given, ends = [], [], [], [], []
        for t in range(T):
            draw = rng.uniform(rng.fold_in(luck, t).view(1), 2)[0]
            state = int(tasks.state(task, worlds))
            below = torch.softmax(rows["logits"][0, state], dim=0).cumsum(dim=0)
            action = int((below[:-1] <= draw[0]).sum())
            step = tasks.step(task, worlds, torch.tensor([[action]]), draw[1].view(1, 1, 1))
            worlds = step.worlds
            told = action if config.rule.reads_actions else None
            true.append(float(step.reward_PE))
            ends.append(bool(step.ended_PE))
            given.append(slow.reward(at[state].tolist(), told, true[-1], ends[-1]))
            states.append(state)
            actions.append(action)
        states.append(int(tasks.state(task, worlds)))
        rollout = TabularRollout(
            torch.tensor(states).view(1, -1, 1),
            torch.tensor(actions).view(1, -1, 1),
            torch.tensor(given, dtype=torch.float64).view(1, -1, 1),
            torch.tensor(ends).view(1, -1, 1),
        )
        rows = rows | lives.learner.learn(rows, rollout)
        rows["earned"] = rows["earned"] + sum(true)
    return rows, slow.memory


# --- one agent in loops -----------------------------------------------------------------------


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(
    "rule",
    [RULE, RewardRuleConfig(width=5, reads_actions=False, mix="added", weight=0.3)],
    ids=["alone", "added"],
)
def test_a_life_is_what_loops_make_of_it(learner, rule):
    """Five updates of six steps, over several ends of episodes: only one memory, never blanked,
    gives these tables.
    """
    lives = lifetimes(learner=LEARNERS[learner], rule=rule)
    key_P = keys(3)
    rule_PM = noisy_rules(lives, key_P).double()
    rows = lives.learn(rule_PM, wide(lives.begin(key_P)), 5)
    for p in range(3):
        slow, memory = slow_life(lives, rule_PM[p], key_P[p])
        torch.testing.assert_close(rows["logits"][p], slow["logits"][0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(rows["memory"][p], memory)
        assert float(rows["earned"][p]) == pytest.approx(float(slow["earned"][0]))


def test_the_memory_outlives_episodes_and_updates():
    """A blank memory before the last update changes what is learned in it."""
    lives = lifetimes()
    key_P = keys(4)
    rule_PM = noisy_rules(lives, key_P)
    rows = lives.learn(rule_PM, lives.begin(key_P), 4)
    blank = rows | {"memory": torch.zeros_like(rows["memory"])}
    kept, lost = (lives.learn(rule_PM, each, 1)["value"] for each in (rows, blank))
    assert bool((kept != lost).flatten(1).any(dim=1).all())


def test_a_reward_remembers_what_happened_before_the_last_end():
    """Two lives that differ in their first step alone, episodes ago, are rewarded differently."""
    rule = RewardRule(RULE, TASKS)
    rule_PM = noisy_rules(lifetimes(), keys(1)).expand(2, -1)
    steps = torch.zeros(2, 9, 1)
    state = steps.long().clone()
    state[1, 0] = 3
    ended = torch.zeros(2, 8, 1, dtype=torch.bool)
    ended[:, 2] = ended[:, 5] = True
    rollout = TabularRollout(state, steps[:, 1:].long(), steps[:, 1:], ended)
    reward_PTE, _ = rule.read(rule_PM, rule.memory(2, 1), rollout)
    assert float((reward_PTE[0, -1] - reward_PTE[1, -1]).abs()) > 1e-6


# --- the rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", ["alone", "added"])
def test_discovery_begins_with_the_true_reward(mix):
    """tanh(r) alone, and r + λ tanh(0) = r where it is added."""
    lives = lifetimes(rule=RewardRuleConfig(width=5, mix=mix, weight=2.0))
    rows = lives.begin(keys(1))
    reward = torch.tensor([0.0, 1.0, -0.5, 2.0]).view(1, 4, 1)
    nothing = torch.zeros(1, 5, 1, dtype=torch.int64)
    rollout = TabularRollout(nothing, nothing[:, 1:], reward, nothing[:, 1:].bool())
    found, _ = lives.rule.read(lives.first_rule(0).unsqueeze(0), rows["memory"], rollout)
    assert torch.equal(found, reward if mix == "added" else reward.tanh())


def test_new_memories_are_long_and_short():
    """Update gates with nothing to read: σ(0) = 1/2 at one end, σ(log 999) = 0.999 at the other."""
    rule = RewardRule(RULE, TASKS)
    gates = rule.layout.parts(rule.first_rule(0))["input_bias"].view(3, 5)
    assert gates[1].sigmoid()[[0, -1]].tolist() == pytest.approx([0.5, 0.999])
    assert float(gates[[0, 2]].abs().max()) == 0.0


def test_parameters_are_counted_by_hand():
    """x, y, four actions, r, ended = 8 inputs: 8 · 15 + 15 + 5 · 15 + 5 + 5 + 1 + 1 = 222; without
    actions 4 inputs, 162; without coordinates 5 · 4 learned features and 4 + 3 + 2 inputs.
    """
    assert lifetimes().num_parameters == 222
    assert RewardRule(RewardRuleConfig(width=5, reads_actions=False), TASKS).num_parameters == 162


def test_states_without_coordinates_are_embedded(corridor):
    """Five states by four features: 20; inputs 4 + 3 actions + 2 = 9: 135 + 15 + 75 + 5 + 5 + 2."""
    lives = lifetimes(corridor())
    assert lives.num_parameters == 20 + 135 + 15 + 75 + 5 + 5 + 2
    key_P = keys(3)
    rule_PM = noisy_rules(lives, key_P)
    rows = lives.learn(rule_PM, lives.begin(key_P), 5)
    rule_PM[:, :20] += 1.0
    other = lives.learn(rule_PM, lives.begin(key_P), 5)
    assert not torch.equal(rows["logits"], other["logits"])


def test_what_actions_are_called_does_not_matter_to_a_reward_that_does_not_read_them():
    """Under permuted actions, with a policy that is permuted too, the same rewards come."""
    rule = RewardRule(RewardRuleConfig(width=5, reads_actions=False), TASKS)
    rule_PM = rule.first_rule(0).unsqueeze(0) + 0.5
    state = torch.tensor([0, 1, 1, 2, 0]).view(1, 5, 1)
    reward = torch.tensor([0.0, 0.0, 0.0, 1.0]).view(1, 4, 1)
    found = [
        rule.read(
            rule_PM,
            rule.memory(1, 1),
            TabularRollout(state, torch.tensor(actions).view(1, 4, 1), reward, reward.bool()),
        )[0]
        for actions in ([0, 1, 2, 3], [3, 0, 1, 2])
    ]
    assert torch.equal(*found)


# --- populations ------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", LEARNERS)
def test_neighbours_do_not_matter_and_keys_decide_all(learner):
    """To 1e-6: matrix products over more agents may round differently."""
    lives = lifetimes(learner=LEARNERS[learner], copies=2)
    key_P = keys(6)
    rule_PM = noisy_rules(lives, key_P)
    together, again = lives.live(rule_PM, key_P), lives.live(rule_PM, key_P)
    assert torch.equal(together.score_P, again.score_P)
    for p in range(6):
        rows = lives.learn(rule_PM[p : p + 1], lives.begin(key_P[p : p + 1]), 5)
        others = lives.learn(rule_PM, lives.begin(key_P), 5)
        torch.testing.assert_close(rows_of(others, slice(p, p + 1)), rows, rtol=1e-5, atol=1e-6)
    assert len(set(lives.live(rule_PM, keys(6, seed=2)).score_P.tolist())) > 1


def test_a_life_in_parts_is_the_whole_life():
    lives = lifetimes()
    key_P = keys(3)
    rule_PM = noisy_rules(lives, key_P)
    whole = lives.learn(rule_PM, lives.begin(key_P), 5)
    parts = lives.learn(rule_PM, lives.learn(rule_PM, lives.begin(key_P), 2), 3)
    for name, row in whole.items():
        assert torch.equal(parts[name], row), name


def test_agents_with_the_same_key_meet_the_same_luck():
    lives = lifetimes()
    key_P = keys(1).expand(4)
    rows = lives.learn(noisy_rules(lives, keys(4)), lives.begin(key_P), 1)
    assert len(set(rows["earned"].tolist())) == 1, "the first rollout is by even policies"
    assert len(set(rows["task.goal"].tolist())) == 1


def test_broken_rules_stay_in_their_row_and_score_nan():
    lives = lifetimes()
    key_P = keys(3)
    rule_PM = noisy_rules(lives, key_P)
    whole = lives.live(rule_PM, key_P).score_P
    rule_PM[1] = torch.nan
    broken = lives.live(rule_PM, key_P).score_P
    assert bool(broken[1].isnan())
    assert broken[[0, 2]].tolist() == pytest.approx(whole[[0, 2]].tolist())


def test_scores_and_steps_by_hand():
    """Five updates of 6 steps and 2 copies: 60 steps; a lifetime score is what was earned / 60."""
    lives = lifetimes(copies=2)
    key_P = keys(4)
    rows = lives.learn(noisy_rules(lives, key_P), lives.begin(key_P), 5)
    score_P, cost_P = lives.score(rows)
    assert rows["steps"].tolist() == [60] * 4
    assert score_P.tolist() == pytest.approx((rows["earned"] / 60).tolist())
    assert cost_P.tolist() == [0] * 4
    assert float(rows["earned"].sum()) > 0


def test_a_final_score_is_the_last_policys():
    """Goal 1: who goes right at the start earns 1 in a step; who goes up and left never does."""
    lives = lifetimes(score="final", evaluation_copies=3)
    rows = lives.begin(keys(2))
    rows["task.goal"] = torch.tensor([1, 1])
    rows["logits"][0, 0, 3] = 100.0
    rows["logits"][1, 0, 0] = rows["logits"][1, :, 1] = 100.0
    score_P, cost_P = lives.score(rows)
    assert score_P.tolist() == [1.0, 0.0]
    assert cost_P.tolist() == [3, 3 * 7]


# --- transfer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", LEARNERS)
def test_one_reward_serves_all_learners_and_permuted_actions(learner):
    rule_PM = noisy_rules(lifetimes(), keys(3))
    turned = PermutedActions(TASKS, [3, 2, 1, 0])
    for tasks in (TASKS, turned):
        lived = lifetimes(tasks, learner=LEARNERS[learner]).live(rule_PM, keys(3))
        assert bool(lived.score_P.isfinite().all())


@pytest.mark.parametrize("learner", LEARNERS)
def test_agents_learn_from_the_true_reward(learner):
    """As discovery begins: the last policies find the goal far more often than the first."""
    config = {"learner": LEARNERS[learner], "num_updates": 120, "score": "final", "copies": 2}
    lives = lifetimes(HiddenGoal(HiddenGoalConfig(size=4, horizon=12)), **config)
    key_P = keys(12)
    first, _ = lives.score(lives.begin(key_P))
    last = lives.live(lives.first_rule(0).expand(12, -1), key_P).score_P
    assert float(last.mean()) > float(first.mean()) + 0.25


# --- mistakes ---------------------------------------------------------------------------------


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"'life'\. Did you mean 'lifetime'"):
        RewardConfig(score="life")
    with pytest.raises(ValueError, match="num_updates must be an integer of at least 1"):
        RewardConfig(num_updates=0)
    with pytest.raises(ValueError, match=r"Unknown mix 'ad'\. Did you mean 'added'"):
        lifetimes(rule=RewardRuleConfig(mix="ad"))
    with pytest.raises(ValueError, match="width must be an integer of at least 1"):
        lifetimes(rule=RewardRuleConfig(width=0))


def test_the_defaults_build():
    lives = RewardLifetimes(RewardConfig(num_updates=1), HiddenGoal(HiddenGoalConfig()))
    assert isinstance(lives.learner, ActorCritic)
    lived = lives.live(lives.first_rule(0).unsqueeze(0), keys(1))
    assert lived.steps_P.tolist() == [20]
