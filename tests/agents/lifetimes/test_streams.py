"""Actor-critics on streams: against a plain module, by hand, and against finite differences."""

from math import exp, log

import pytest
import torch
from torch import nn
from torch.nn import functional

from quickstudy.agents.lifetimes.entropy_rules import CONTEXTS, EntropyRule, constant_rule
from quickstudy.agents.lifetimes.lifetimes import detached, rows_of
from quickstudy.agents.lifetimes.relu_networks import forward, gradient, new_networks
from quickstudy.agents.lifetimes.stream_rollout import Experience, judged, play
from quickstudy.agents.lifetimes.streams import StreamConfig, StreamLifetimes, network_of
from quickstudy.envs import rng
from quickstudy.envs.tabular.tabular_tasks import TabularStep
from quickstudy.envs.tabular.two_colours import TwoColours

SMALL = StreamConfig(width=8, rollout=5, updates=6)
KEYS = rng.world_keys(3, rng.Stream.TASK, 4)


class Switching:
    """A bandit: action 0 pays 1 for `period` steps, then action 1, and so on; else 0 is paid.

    With `shown` 0 its only feature is 0, so that nothing but the last bias of a network can learn.
    """

    num_actions = 2
    num_draws = 1

    def __init__(self, period=10**9, shown=1.0):
        self.period, self.shown = period, shown

    def sample(self, key_P):
        return {"period": torch.full_like(key_P, self.period)}

    def begin(self, tasks, draw_PEU):
        return {"time": torch.zeros_like(tasks["period"]).unsqueeze(1)}

    def features(self, worlds):
        return torch.full((*worlds["time"].shape, 1), self.shown)

    def step(self, tasks, worlds, action_PE, draw_PEU):
        best_PE = worlds["time"] // tasks["period"].unsqueeze(1) % 2
        reward_PE = (action_PE == best_PE).float()
        ended_PE = torch.zeros_like(action_PE, dtype=torch.bool)
        return TabularStep({"time": worlds["time"] + 1}, reward_PE, ended_PE)


def lifetimes(**changes):
    return StreamLifetimes(TwoColours(period=40), StreamConfig(**(vars(SMALL) | changes)))


def doubled(rows):
    return {name: row.double() if row.is_floating_point() else row for name, row in rows.items()}


def assert_rows_equal(rows, others, **tolerance):
    assert rows.keys() == others.keys()
    for name, row in rows.items():
        if tolerance and row.is_floating_point():
            torch.testing.assert_close(row, others[name], **tolerance, msg=name)
        else:
            assert torch.equal(row, others[name]), name


def random_rule(lives, keys, seed=0):
    """Rules whose last layers are not zero."""
    key = rng.fold_in(torch.arange(len(keys)), seed)
    return 0.3 * rng.normal(key, lives.num_parameters).float()


def plain(network, row):
    """The same network as a plain module, in float64."""
    sizes = [network[0].shape[1], network[0].shape[2], network[4].shape[2]]
    layers = [nn.Linear(sizes[0], sizes[1]), nn.Linear(sizes[1], sizes[1])]
    layers.append(nn.Linear(sizes[1], sizes[2]))
    for layer, weight, bias in zip(layers, network[::2], network[1::2], strict=True):
        layer.weight.data = weight[row].double().T.clone()
        layer.bias.data = bias[row, 0].double().clone()
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).double()


# --- the networks -----------------------------------------------------------------------------


def test_the_written_gradient_is_autograds():
    network = tuple(w.double().requires_grad_() for w in new_networks(KEYS, 6, 7, 3))
    x_PTF = rng.normal(KEYS, 30).view(4, 5, 6)
    d_PTO = rng.normal(KEYS + 1, 15).view(4, 5, 3)
    activations = forward(network, x_PTF)
    expected = torch.autograd.grad(activations.outputs, network, d_PTO)
    for found, wanted in zip(gradient(network, activations, d_PTO), expected, strict=True):
        torch.testing.assert_close(found, wanted)


# --- the rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_rule_starts_at_one_half_whatever_it_reads(context):
    rule = EntropyRule(context)
    context_PRC = rng.normal(KEYS, 30).view(4, 10, 3).float()
    rule_PM = rule.first_rule(5).expand(4, -1)
    assert torch.equal(rule.entropy_weight(rule_PM, context_PRC), torch.full((4,), 0.5))


def test_a_rule_reads_what_its_context_says_and_no_more():
    context_PRC = rng.normal(KEYS, 30).view(4, 10, 3).float()
    other_rewards, other_values = context_PRC.clone(), context_PRC.clone()
    other_rewards[..., 0] += 1.0
    other_values[..., 1:] += 1.0
    sees = {"constant": (0, 0), "none": (0, 0), "reward": (1, 0), "rich": (1, 1)}
    for context, expected in sees.items():
        rule = EntropyRule(context)
        rule_PM = rng.normal(KEYS, rule.layout.num_parameters).float()
        before_P = rule.entropy_weight(rule_PM, context_PRC)
        changed = [
            not torch.equal(rule.entropy_weight(rule_PM, x), before_P)
            for x in (other_rewards, other_values)
        ]
        assert changed == [bool(e) for e in expected], context


def test_constant_rules_are_exact_at_the_ends():
    rule_PM = torch.stack([constant_rule(e) for e in (0.0, 0.2, 1.0)])
    weights = EntropyRule("constant").entropy_weight(rule_PM, torch.zeros(3, 10, 3))
    assert weights[0] == 0.0
    assert weights[2] == 1.0
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.2, 1.0]))


def test_an_unknown_context_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'rewards'.*'reward'.*constant, none, reward, rich"):
        EntropyRule("rewards")


# --- rollouts ---------------------------------------------------------------------------------


def test_errors_worked_by_hand():
    """Rewards 1, 0, 2 and values 3, 2, 3, 4 under a discount of ½:

    1 + 2/2 − 3 = −1, 0 + 3/2 − 2 = −½, 2 + 4/2 − 3 = 1.
    """
    stream = Switching()
    critic = tuple(torch.zeros_like(w) for w in new_networks(KEYS[:1], 1, 2, 1))
    policy = new_networks(KEYS[:1], 1, 2, 2)
    tasks = stream.sample(KEYS[:1])
    worlds = stream.begin(tasks, torch.zeros(1, 1, 1))
    steps, _ = play(stream, tasks, worlds, policy, torch.full((1, 3, 2), 0.5, dtype=torch.float64))
    critic[0][:], critic[2][:], critic[4][:] = 1.0, 1.0, 1.0
    # Features x give values 1 · 2 · 2 x = 4 x with two hidden features.
    steps.features_PUF[0, :, 0] = torch.tensor([0.75, 0.5, 0.75, 1.0])
    steps.reward_PT[:] = torch.tensor([1.0, 0.0, 2.0])
    experience = judged(steps, critic, 0.5)
    assert experience.td_PT.tolist() == [[-1.0, -0.5, 1.0]]


def test_actions_are_drawn_from_the_policy():
    """A last bias of (0, ln 3) is a policy of (¼, ¾): action 1 from a draw of ¼ on."""
    stream = Switching(shown=0.0)
    policy = new_networks(KEYS[:1], 1, 2, 2)
    policy[5][0, 0] = torch.tensor([0.0, log(3.0)])
    policy[3].zero_()
    policy[1].zero_()
    draw_PTD = torch.zeros(1, 5, 2, dtype=torch.float64)
    draw_PTD[0, :, 1] = torch.tensor([0.0, 0.2499, 0.2501, 0.7, 0.9999])
    tasks = stream.sample(KEYS[:1])
    steps, _ = play(stream, tasks, stream.begin(tasks, draw_PTD[:, :1]), policy, draw_PTD)
    assert steps.action_PT.tolist() == [[0, 0, 1, 1, 1]]


# --- lives ------------------------------------------------------------------------------------


def reference_update(lives, policy, critic, experience, entropy_weight, row):
    """A plain module, torch's autograd and torch.optim.SGD."""
    x_UF = experience.value.inputs[row].double()
    reward_T, action_T = experience.reward_PT[row].double(), experience.action_PT[row]
    policy, critic = plain(policy, row), plain(critic, row)
    optimiser = torch.optim.SGD([*policy.parameters(), *critic.parameters()], lives.config.lr)
    value_U = critic(x_UF)[:, 0]
    advantage_T = reward_T + lives.config.discount * value_U[1:].detach() - value_U[:-1]
    distribution = functional.log_softmax(policy(x_UF[:-1]), dim=-1)
    chosen_T = distribution[torch.arange(len(action_T)), action_T]
    entropy_T = -(distribution.exp() * distribution).sum(-1)
    loss = -(advantage_T.detach() * chosen_T) - entropy_weight * entropy_T + 0.5 * advantage_T**2
    loss.mean().backward()
    optimiser.step()
    return policy, critic


def assert_network_is(rows, name, row, module):
    network = network_of(rows, name)
    for layer, weight, bias in zip(module[::2], network[::2], network[1::2], strict=True):
        torch.testing.assert_close(weight[row].double(), layer.weight.T, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(bias[row, 0].double(), layer.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_an_update_is_that_of_a_plain_module_under_sgd(weight):
    """Without entropy it is the plain actor-critic; the reference's loss then has no such term."""
    lives = lifetimes(context="constant")
    rule_PM = constant_rule(weight).expand(4, -1)
    rows = lives.learn(rule_PM, lives.begin(KEYS), 2)
    experience, _ = lives.observe(rows)
    after = lives.learn(rule_PM, rows, 1)
    assert torch.equal(after["entropy_weight"], rule_PM[:, 0].sigmoid())
    for row in range(4):
        policy, critic = network_of(rows, "policy"), network_of(rows, "critic")
        modules = reference_update(lives, policy, critic, experience, weight, row)
        assert_network_is(after, "policy", row, modules[0])
        assert_network_is(after, "critic", row, modules[1])


@pytest.mark.parametrize("context", CONTEXTS)
def test_side_by_side_is_one_by_one(context):
    lives = lifetimes(context=context)
    rule_PM = random_rule(lives, KEYS)
    together = lives.learn(rule_PM, lives.begin(KEYS), 6)
    for row in range(4):
        one = slice(row, row + 1)
        alone = lives.learn(rule_PM[one], lives.begin(KEYS[one]), 6)
        assert_rows_equal(rows_of(together, one), alone, rtol=1e-5, atol=1e-6)


def test_the_same_key_is_the_same_luck_and_a_life_can_be_cut_anywhere():
    lives = lifetimes()
    rule_PM = random_rule(lives, KEYS[:2])
    rule_PM[1] = rule_PM[0]
    rows = lives.learn(rule_PM, lives.begin(KEYS[[2, 2]]), 5)
    assert_rows_equal(rows_of(rows, slice(0, 1)), rows_of(rows, slice(1, 2)))
    parts = lives.learn(rule_PM, lives.learn(rule_PM, lives.begin(KEYS[[2, 2]]), 2), 3)
    assert_rows_equal(rows, parts)
    assert not torch.equal(lives.begin(KEYS)["policy.0"][0], lives.begin(KEYS)["policy.0"][1])


def test_what_is_counted():
    lives = lifetimes()
    rows = lives.begin(KEYS)
    assert lives.score(rows)[0].tolist() == [0.0] * 4
    rows = lives.improve(lives.learn(random_rule(lives, KEYS), rows, 3))
    assert rows["updates"].tolist() == [3] * 4
    assert rows["rollouts"].tolist() == [4] * 4
    assert rows["steps"].tolist() == [20] * 4
    assert rows["world.time"].tolist() == [[20]] * 4
    torch.testing.assert_close(lives.score(rows)[0], rows["earned"] / 20)
    # The last four of ten rollouts are known, and their mean rewards make up what was earned.
    assert (rows["context"][:, :6] == 0).all()
    earned_P = 5 * rows["context"][:, 6:, 0].double().sum(1)
    torch.testing.assert_close(rows["earned"], earned_P)
    lived = lives.live(random_rule(lives, KEYS), KEYS)
    assert lived.steps_P.tolist() == [30] * 4


def test_a_broken_rule_stays_in_its_row():
    lives = lifetimes()
    rule_PM = random_rule(lives, KEYS)
    broken_PM = rule_PM.clone()
    broken_PM[1] = torch.nan
    rows = lives.learn(broken_PM, lives.begin(KEYS), 4)
    others = torch.tensor([0, 2, 3])
    expected = lives.learn(rule_PM, lives.begin(KEYS), 4)
    assert_rows_equal(rows_of(rows, others), rows_of(expected, others))
    assert rows["policy.0"][1].isnan().any()
    assert rows["earned"].isfinite().all()


# --- gradients --------------------------------------------------------------------------------


def outer(lives, rule_PM, rows, kind):
    reached = lives.learn(rule_PM, rows, 2)
    if kind == "surrogate":
        return lives.surrogate(reached)[0]
    with torch.no_grad():
        target = lives.improve(lives.learn(rule_PM.detach(), detached(reached), 2))
    fixed = {name: row + 0.05 if name == "policy.5" else row for name, row in target.items()}
    return lives.divergence(kept(fixed, kind), reached)


_TARGETS = {}


def kept(target, kind):
    """The first target of a test: what is matched stays while the rule is varied."""
    return _TARGETS.setdefault(kind, target)


@pytest.mark.parametrize("kind", ["surrogate", "divergence"])
@pytest.mark.parametrize("context", ["constant", "reward", "rich"])
def test_gradients_through_two_updates_are_finite_differences(kind, context):
    """Actions depend on the rule only in jumps, which these small changes do not meet."""
    _TARGETS.clear()
    lives = lifetimes(context=context, width=32)
    rule_PM = random_rule(lives, KEYS).double()
    start = lives.learn(rule_PM, doubled(lives.begin(KEYS)), 2)
    rule_PM.requires_grad_()
    loss_P = outer(lives, rule_PM, start, kind)
    (found_PM,) = torch.autograd.grad(loss_P.sum(), rule_PM)
    assert loss_P.dtype == torch.float64
    assert (found_PM.abs().amax(dim=1) > 1e-6).all()
    for column in range(0, lives.num_parameters, max(1, lives.num_parameters // 7)):
        step = torch.zeros_like(rule_PM)
        step[:, column] = 1e-5
        high, low = (outer(lives, (rule_PM + s * step).detach(), start, kind) for s in (1, -1))
        torch.testing.assert_close(found_PM[:, column], (high - low) / 2e-5, rtol=1e-4, atol=1e-9)


def test_a_gradient_reaches_the_policy_at_the_start():
    """Rows, too, can be differentiated: here by the bias that a finite difference moves."""
    lives = lifetimes()
    rule_PM, start = random_rule(lives, KEYS).double(), doubled(lives.begin(KEYS))

    def outcome(bias):
        rows = lives.learn(rule_PM, start | {"policy.5": bias}, 2)
        return lives.surrogate(rows)[0].sum()

    bias = start["policy.5"].clone().requires_grad_()
    (found,) = torch.autograd.grad(outcome(bias), bias)
    step = torch.zeros_like(bias)
    step[2, 0, 1] = 1e-5
    difference = (outcome((bias + step).detach()) - outcome((bias - step).detach())) / 2e-5
    torch.testing.assert_close(found[2, 0, 1], difference, rtol=1e-4, atol=1e-9)


def test_the_surrogate_by_hand():
    """Two steps in a state with π = (¼, ¾), advantages 2 and −1 of actions 1 and 0, weight 0.12:

    (2 ln ¾ − ln ¼)/2 + 0.12 H, H = −(¼ ln ¼ + ¾ ln ¾).
    """
    lives = StreamLifetimes(Switching(shown=0.0), StreamConfig(width=2, rollout=2))
    rows = lives.begin(KEYS[:1])
    zero_but_last_bias(rows, torch.tensor([0.0, log(3.0)]))
    x_PTF, action_PT = torch.zeros(1, 2, 1), torch.tensor([[1, 0]])
    td_PT = torch.tensor([[2.0, -1.0]])
    value = forward(network_of(rows, "critic"), torch.zeros(1, 3, 1))
    found = lives.objective(rows, Experience(x_PTF, action_PT, torch.zeros(1, 2), value, td_PT))
    entropy = -(0.25 * log(0.25) + 0.75 * log(0.75))
    expected = (2 * log(0.75) - log(0.25)) / 2 + 0.12 * entropy
    assert found.item() == pytest.approx(expected, abs=1e-6)


def zero_but_last_bias(rows, logits):
    for name in [name for name in rows if name.startswith(("policy", "critic"))]:
        rows[name] = torch.zeros_like(rows[name])
    rows["policy.5"][:] = logits


def test_divergence_by_hand():
    """KL((½, ½) ‖ (¼, ¾)) = ½ ln 2 + ½ ln ⅔ = ½ ln 4⁄3, the same in each of three states."""
    lives = StreamLifetimes(Switching(shown=0.0), StreamConfig(width=2, rollout=3))
    rows, target = lives.begin(KEYS), lives.begin(KEYS)
    zero_but_last_bias(rows, torch.tensor([0.0, log(3.0)]))
    zero_but_last_bias(target, torch.tensor([0.0, 0.0]))
    rows["policy.5"].requires_grad_()
    target["policy.5"].requires_grad_()
    found_P = lives.divergence(target, rows)
    torch.testing.assert_close(found_P.detach(), torch.full((4,), 1.5 * log(4 / 3)))
    found_P.sum().backward()
    # d KL / d z = π − π_target
    expected_PE = 3 * torch.tensor([[0.25 - 0.5, 0.75 - 0.5]]).expand(4, -1)
    torch.testing.assert_close(rows["policy.5"].grad[:, 0], expected_PE)
    assert target["policy.5"].grad is None


def test_divergence_looks_at_the_targets_states():
    lives = lifetimes()
    rule_PM = random_rule(lives, KEYS)
    rows = lives.learn(rule_PM, lives.begin(KEYS), 2)
    target = lives.improve(lives.learn(rule_PM, rows, 2))
    found_P = lives.divergence(target, rows)
    elsewhere = rows["visited"].roll(1, dims=0)
    assert torch.equal(lives.divergence(target, rows | {"visited": elsewhere}), found_P)
    assert not torch.equal(lives.divergence(target | {"visited": elsewhere}, rows), found_P)


# --- learning ---------------------------------------------------------------------------------


def test_an_agent_learns_a_bandit_and_entropy_keeps_it_from_it():
    """Greedy agents earn nearly all there is; at ε = 1 the best policy is σ(1) = 0.73 sure."""
    lives = StreamLifetimes(Switching(), StreamConfig(context="constant", width=8))
    rule_PM = torch.cat([constant_rule(e).expand(4, -1) for e in (0.0, 1.0)])
    rows = lives.learn(rule_PM, lives.begin(KEYS.repeat(2)), 80)
    before_P = rows["earned"]
    rows = lives.learn(rule_PM, rows, 30)
    rate_P = (rows["earned"] - before_P) / (30 * 16)
    assert (rate_P[:4] > 0.95).all(), rate_P
    sure = 1 / (1 + exp(-1.0))
    assert rate_P[4:].mean().item() == pytest.approx(sure, abs=0.06)
