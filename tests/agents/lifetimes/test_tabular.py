"""What the contract of lifetimes promises, kept by tabular ones."""

import math
from dataclasses import replace

import pytest
import torch

from quickstudy.agents.lifetimes.lifetimes import rows_of
from quickstudy.agents.lifetimes.tabular import (
    CriticConfig,
    SurrogateConfig,
    TabularConfig,
    TabularLifetimes,
)
from quickstudy.agents.lifetimes.tabular_rules import (
    A2CRuleConfig,
    LPGRuleConfig,
    ScheduleRule,
    ScheduleRuleConfig,
)
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.lpg import LPGConfig
from quickstudy.envs import rng

RULES = {
    "lpg": LPGRuleConfig(LPGConfig(width=4, prediction_size=3, embedding_width=5)),
    "a2c": A2CRuleConfig(),
    "schedule": ScheduleRuleConfig(sees_reward=True),
}
STILL = -80.0
"""The logarithm of no step at all."""


def keys(count, seed=1):
    return rng.fold_in(torch.tensor(seed), torch.arange(count))


def noisy_rules(lives, key_P, size=0.5):
    noise = rng.normal(rng.fold_in(key_P, 99), 2 * lives.num_parameters)[:, : lives.num_parameters]
    return (lives.first_rule(0) + size * noise).float()


def make(rule, tasks, **options):
    sizes = {"copies": 3, "rollout_steps": 6, "min_updates": 1, "max_updates": 9} | options
    return TabularLifetimes(TabularConfig(rule=rule, **sizes), tasks)


@pytest.fixture(name="lives", params=RULES)
def _lives(request, corridor):
    return make(RULES[request.param], corridor())


def same(some, others, tolerance=0.0):
    assert some.keys() == others.keys()
    for name, row in some.items():
        assert torch.allclose(row, others[name], rtol=0.0, atol=tolerance), name


# --- rows are functions of their own rule and key -------------------------------------------------


def test_a_population_lives_as_its_agents_do_one_by_one(lives):
    """To the same scores, whatever their lengths and whoever lives beside them. (Tables are equal
    to rounding only, see `test_rows_of_a_population_can_be_taken_apart`; actions hide that.)
    """
    key_P = keys(12)
    rule_PM = noisy_rules(lives, key_P)
    together = lives.live(rule_PM, key_P)
    assert len(set(lives.total(key_P).tolist())) > 3
    for p in range(12):
        alone = lives.live(rule_PM[p : p + 1], key_P[p : p + 1])
        assert together.score_P[p] == alone.score_P[0]
        assert together.steps_P[p] == alone.steps_P[0]


def test_the_dead_cost_nothing(lives):
    key_P = keys(12)
    steps_P = lives.live(noisy_rules(lives, key_P), key_P).steps_P
    learning_P = lives.total(key_P) * 3 * 6
    assert (steps_P > learning_P).all()
    assert (steps_P <= learning_P + 3 * 12).all()  # episodes end after 12 steps


def test_equal_keys_mean_equal_lives(lives):
    """Common random numbers: what two rules meet differs by what they do alone."""
    key_P = keys(1).expand(2).contiguous()
    rows = lives.begin(key_P) | {"total": torch.tensor([2, 2])}
    for row in rows.values():
        assert torch.equal(row[0], row[1])
    rule_PM = noisy_rules(lives, keys(2))
    after = lives.learn(rule_PM, rows, 1)
    assert torch.equal(after["visited"][0], after["visited"][1])  # the first rollout
    assert torch.equal(after["value"][0], after["value"][1])
    # At first the policies are uniform: a schedule of entropy moves them from the second update on.
    after = lives.learn(rule_PM, after, 1)
    assert not torch.equal(after["logits"][0], after["logits"][1])


def test_the_old_population_is_unharmed(lives):
    rows = lives.begin(keys(2))
    before = {name: row.clone() for name, row in rows.items()}
    after = lives.learn(noisy_rules(lives, keys(2)), rows, 1)
    lives.score(after)
    lives.surrogate(rows)
    lives.improve(rows)
    same(rows, before)
    assert after["updates"].tolist() == [1, 1]


def test_learning_in_two_parts_is_learning_at_once(lives):
    key_P = keys(2)
    rows, rule_PM = lives.begin(key_P) | {"total": torch.tensor([9, 9])}, noisy_rules(lives, key_P)
    same(lives.learn(rule_PM, lives.learn(rule_PM, rows, 2), 3), lives.learn(rule_PM, rows, 5))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_rule_harms_nobody_else(lives, bad):
    key_P = keys(5)
    rule_PM = noisy_rules(lives, key_P)
    healthy = lives.live(rule_PM, key_P)
    rule_PM[2] = bad
    found = lives.live(rule_PM, key_P)
    assert found.score_P[2].isnan()
    others = torch.tensor([0, 1, 3, 4])
    assert torch.equal(found.score_P[others], healthy.score_P[others])


def test_the_last_update_sees_that_it_is_the_last(corridor):
    """n = 0, 1, …, N − 1 of N, in lives of 3 and of 2."""
    lives = make(RULES["lpg"], corridor())
    told, targets = [], lives.rule.network.targets

    def noted(rule_PM, experience, lifetime):
        told.append((lifetime.updates.tolist(), lifetime.total.tolist()))
        return targets(rule_PM, experience, lifetime)

    lives.rule.network.targets = noted
    lives.total = lambda key_P: torch.tensor([3, 2])
    lives.live(noisy_rules(lives, keys(2)), keys(2))
    assert told == [([0, 0], [3, 2]), ([1, 1], [3, 2]), ([2], [3])]


def test_nobody_outlives_their_time(lives):
    rows = lives.begin(keys(2)) | {"total": torch.tensor([3, 2])}
    with pytest.raises(AssertionError):
        lives.learn(noisy_rules(lives, keys(2)), rows, 3)


# --- lengths and scores ---------------------------------------------------------------------------


def test_lives_are_log_uniform(corridor):
    """Of 10 to 50: P(N < 23) = ln(23/10) / ln(51/10) = 0.511; 4 standard errors of 4000 are 0.03.

    The mean, 41 / ln 5.1 = 25.2 before rounding down, is 24.7.
    """
    lives = make(A2CRuleConfig(), corridor(), min_updates=10, max_updates=50)
    total_P = lives.total(keys(4000))
    assert (int(total_P.min()), int(total_P.max())) == (10, 50)
    assert float((total_P < 23).double().mean()) == pytest.approx(0.511, abs=0.032)
    assert float(total_P.double().mean()) == pytest.approx(24.7, abs=0.8)
    assert make(A2CRuleConfig(), corridor(), max_updates=1).total(keys(9)).tolist() == [1] * 9


def test_a_sure_policy_earns_the_optimal_return(corridor):
    """Always right, without slips: 4 or 3 steps, the prize."""
    lives = make(A2CRuleConfig(), corridor(slip=0.0), normalise=True)
    rows = lives.begin(keys(4))
    rows["logits"] = torch.tensor([-99.0, -99.0, 99.0]).expand(4, 5, 3)
    score_P, steps_P = lives.score(rows)
    assert score_P.tolist() == pytest.approx([1.0] * 4)
    assert ((steps_P >= 9) & (steps_P <= 12)).all()
    plain = make(A2CRuleConfig(), corridor(slip=0.0)).score(rows)[0]
    assert torch.allclose(plain, rows["task.prize"])


@pytest.mark.parametrize("cap", [1, 7, 10, 11, 1000])
def test_evaluation_ends_at_its_cap(corridor, cap):
    """A policy that always goes left pays 0.05 a step for as long as it may, here 25 steps."""
    lives = make(A2CRuleConfig(), corridor(slip=0.0, limit=25), evaluation_steps=cap)
    rows = lives.begin(keys(2))
    rows["logits"] = torch.tensor([99.0, -99.0, -99.0]).expand(2, 5, 3)
    score_P, steps_P = lives.score(rows)
    assert score_P.tolist() == pytest.approx([-0.05 * min(cap, 25)] * 2)
    assert steps_P.tolist() == [3 * min(cap, 25)] * 2


def test_scores_are_divided_by_large_enough_returns_only(corridor):
    """Where nothing good can be earned, a score stays as it is."""
    tasks = corridor(slip=0.0)
    tasks.optimal_return = lambda rows: torch.tensor([2.0, 0.0, -1.0, 0.01], dtype=torch.float64)
    plain, scaled = (make(A2CRuleConfig(), tasks, normalise=on) for on in (False, True))
    score_P = plain.score(plain.begin(keys(4)))[0]
    expected = score_P / torch.tensor([2.0, 1.0, 1.0, 1.0])
    assert torch.equal(scaled.score(scaled.begin(keys(4)))[0], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 0}, "copies must be"),
        ({"min_updates": 5, "max_updates": 4}, r"max_updates must be at least min_updates \(5\)"),
        ({"tasks": "grid-smal"}, "grid-small"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TabularLifetimes(TabularConfig(**options))


@pytest.mark.parametrize("config", [LPGConfig, ScheduleRuleConfig])
def test_a_network_without_width_is_refused(config):
    with pytest.raises(ValueError, match="width must be"):
        config(width=0)


# --- for gradients --------------------------------------------------------------------------------


def test_improving_costs_a_rollout_and_no_update(corridor):
    lives = make(RULES["lpg"], corridor())
    rows = lives.learn(noisy_rules(lives, keys(2)), lives.begin(keys(2)), 1)
    better = lives.improve(rows)
    assert (better["steps"] - rows["steps"]).tolist() == [18, 18]
    assert torch.equal(better["updates"], rows["updates"])
    assert torch.equal(better["prediction"], rows["prediction"])
    assert not torch.equal(better["logits"], rows["logits"])


def test_improving_follows_the_true_return_alone(corridor):
    """Without rewards no action is better than another: only an entropy bonus moves."""
    tasks = corridor()
    tasks.step = without_rewards(tasks.step)
    lives = make(RULES["a2c"], tasks)
    rows = lives.begin(keys(2))
    rows["logits"] = torch.tensor([1.0, 0.0, -1.0]).expand(2, 5, 3)
    assert torch.equal(lives.improve(rows)["logits"], rows["logits"])
    assert not torch.equal(lives.learn(torch.zeros(2, 2), rows, 1)["logits"], rows["logits"])


def without_rewards(step):
    def stepped(*arguments):
        taken = step(*arguments)
        return replace(taken, reward_PE=torch.zeros_like(taken.reward_PE))

    return stepped


def test_improvements_alone_solve_the_corridor(corridor):
    lives = make(RULES["lpg"], corridor(), copies=16, rollout_steps=20)
    rows = before = lives.begin(keys(8))
    for n in range(30):
        rows = lives.improve(rows | {"updates": torch.full((8,), n)})
    assert (lives.score(rows)[0] > lives.score(before)[0] + 0.2).all()


def test_divergence_by_hand(corridor):
    """Of policies (1/2, 1/4, 1/4) and uniform where the last rollout was (place 0), the same
    elsewhere (place 1): KL = ½ ln 3/2 + ½ ln 3/4 = ½ ln 9/8 in half of the visits.
    """
    lives = make(A2CRuleConfig(), corridor())
    rows = lives.begin(keys(1))
    rows["visited"] = torch.tensor([0, 1]).repeat(9).view(1, 6, 3)
    rows["logits"] = torch.zeros(1, 5, 3, requires_grad=True)
    target = rows | {"logits": torch.zeros(1, 5, 3, requires_grad=True)}
    assert lives.divergence(target, rows).tolist() == [0.0]
    with torch.no_grad():
        target["logits"][0, 0, 0] = math.log(2.0)
    apart_P = lives.divergence(target, rows)
    assert apart_P.tolist() == pytest.approx([0.25 * math.log(9.0 / 8.0)])
    apart_P.sum().backward()
    assert target["logits"].grad is None
    # π − π_target at place 0, by half of the visits.
    expected = [(1 / 3 - 1 / 2) / 2, (1 / 3 - 1 / 4) / 2, (1 / 3 - 1 / 4) / 2]
    assert rows["logits"].grad[0, 0].tolist() == pytest.approx(expected)


def test_a_new_born_has_visited_its_start(corridor):
    rows = make(A2CRuleConfig(), corridor()).begin(keys(1))
    assert (rows["visited"] == rows["world.place"].unsqueeze(1)).all()


def test_the_critics_gradient_is_no_part_of_it(corridor):
    lives = make(RULES["lpg"], corridor())
    rule_PM = noisy_rules(lives, keys(2)).requires_grad_()
    rows = lives.learn(rule_PM, lives.begin(keys(2)), 1)
    assert rows["logits"].requires_grad
    assert not rows["value"].requires_grad
    assert not lives.improve(rows)["value"].requires_grad


def test_regularisers_by_hand(corridor):
    """Uniform policy over 3 and prediction over 3: entropies ln 3. The penalty's value is left out,
    its gradient is there.
    """
    surrogate = SurrogateConfig(policy_entropy=0.1, prediction_entropy=0.2)
    plain, lives = (
        make(RULES["lpg"], corridor()),
        make(RULES["lpg"], corridor(), surrogate=surrogate),
    )
    rows = lives.begin(keys(1))
    rows["penalty"] = torch.tensor([7.0], requires_grad=True)
    value_P = lives.surrogate(rows)[0]
    assert (value_P - plain.surrogate(rows)[0]).tolist() == pytest.approx([0.3 * math.log(3.0)])
    value_P.sum().backward()
    assert rows["penalty"].grad.tolist() == [-1.0]


def test_what_targets_cost_by_hand(corridor):
    """A rule of zeros but for its last biases, π̂ = 2 and ŷ uniform over 3: 0.1 · 4 + 0.3 / 3."""
    rule = LPGRuleConfig(
        RULES["lpg"].network, policy_target_penalty=0.1, prediction_target_penalty=0.3
    )
    lives = make(rule, corridor())
    rule_M = torch.zeros(lives.num_parameters)
    lives.rule.network.layout.parts(rule_M)["head_bias"][0] = 2.0
    rows = lives.learn(rule_M.unsqueeze(0), lives.begin(keys(1)), 1)
    assert rows["penalty"].tolist() == pytest.approx([0.5])


# --- A2C and its schedule -------------------------------------------------------------------------


def test_a_schedule_begins_as_a2c(corridor):
    schedule, a2c = make(RULES["schedule"], corridor()), make(RULES["a2c"], corridor())
    rows = schedule.begin(keys(3)) | {"total": torch.full((3,), 9)}
    first = schedule.first_rule(0).expand(3, -1)
    found = schedule.learn(first, rows, 3)["logits"]
    plain = a2c.begin(keys(3)) | {"total": torch.full((3,), 9)}
    assert torch.equal(found, a2c.learn(torch.zeros(3, 2), plain, 3)["logits"])


def test_a_scheduled_entropy_by_hand():
    """F = 1 (n/N = 1/2), H = 1, W = 2, b = 0, v = 3, c = 1: 0.01 · exp(3 tanh 1 + 1)."""
    rule = ScheduleRule(ScheduleRuleConfig(time="fraction", width=1))
    life = Lifetime(torch.tensor([2]), torch.tensor([4]))
    found = rule.entropy(torch.tensor([[2.0, 0.0, 3.0, 1.0]]), life, torch.zeros(1))
    assert found.tolist() == pytest.approx([0.01 * math.exp(3.0 * math.tanh(1.0) + 1.0)])


def test_a_schedule_can_see_reward():
    rule = ScheduleRule(ScheduleRuleConfig(time="none", sees_reward=True, width=1))
    life = Lifetime(torch.tensor([2]), torch.tensor([4]))
    found = rule.entropy(torch.tensor([[2.0, 0.0, 3.0, 0.0]]), life, torch.tensor([0.5]))
    assert found.tolist() == pytest.approx([0.01 * math.exp(3.0 * math.tanh(1.0))])


def test_recent_reward_is_remembered(corridor):
    """Always left: every reward is −0.05; 0.9 · 0 + 0.1 · (−0.05)."""
    lives = make(RULES["schedule"], corridor(slip=0.0))
    rows = lives.begin(keys(1))
    rows["logits"] = torch.tensor([99.0, -99.0, -99.0]).expand(1, 5, 3)
    after = lives.learn(lives.first_rule(0).unsqueeze(0), rows, 1)
    assert after["recent_reward"].tolist() == pytest.approx([-0.005])


def test_an_a2c_rule_sets_its_step_size(corridor):
    """ln 3 more is a step three times as long."""
    lives = make(RULES["a2c"], corridor())
    rows = lives.begin(keys(1).expand(2).contiguous())
    after = lives.learn(torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]]), rows, 1)["logits"]
    assert float(after[0].abs().max()) > 0.1
    assert torch.allclose(3.0 * after[0], after[1])


@pytest.mark.parametrize("name", ["corridor", "grid-small"])
def test_a2c_learns_within_fifty_updates(corridor, name):
    """From a policy at random; on the corridor, near the best."""
    tasks = corridor() if name == "corridor" else None
    sizes = {"copies": 16, "rollout_steps": 20, "min_updates": 50, "max_updates": 50}
    lives = make(A2CRuleConfig(), tasks, **sizes)
    key_P = keys(16)
    still = lives.live(torch.full((16, 2), STILL), key_P).score_P
    learned = lives.live(torch.zeros(16, 2), key_P).score_P
    gain_P = learned - still
    assert float(gain_P.mean()) > 4.0 * float(gain_P.std()) / math.sqrt(16)
    if name == "corridor":
        prize_P = lives.begin(key_P)["task.prize"]
        assert float((learned / prize_P).mean()) > 0.9


def test_a_critic_can_stand_still(corridor):
    """Its rate is 0: the values stay those of birth."""
    lives = make(RULES["a2c"], corridor(), critic=CriticConfig(rate=0.0))
    rows = lives.learn(torch.zeros(2, 2), lives.begin(keys(2)), 1)
    assert float(rows["value"].abs().max()) == 0.0


def test_rows_of_a_population_can_be_taken_apart(lives):
    """Whoever is left learns on as before: to rounding, as the vector units of a processor do not
    round as its scalar ones, and where an element stands decides which computes it.
    """
    key_P = keys(3)
    rows, rule_PM = lives.begin(key_P) | {"total": torch.full((3,), 9)}, noisy_rules(lives, key_P)
    whole = lives.learn(rule_PM, rows, 2)
    part = lives.learn(rule_PM[1:], rows_of(rows, slice(1, None)), 2)
    same(part, rows_of(whole, slice(1, None)), tolerance=1e-5)
