"""The plain head on joined features, the generated one against each row's own little network.

Shape legend: T time, B worlds, M memory features, G given features, H hidden units, A outputs.
"""

import math
from dataclasses import replace

import pytest
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from quickstudy.agents import heads
from quickstudy.agents.agent import Agent, AgentConfig
from quickstudy.agents.heads import Head, HyperHead
from quickstudy.agents.models import FeedforwardConfig, GRUConfig
from quickstudy.envs.trials import TimeStep

M, G, H, A = 5, 3, 7, 2
BOX, DISCRETE = spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(4)
SMALL = AgentConfig(GRUConfig(6), embedding_size=6, head_size=6)
HYPER = replace(SMALL, head="hypernetwork")


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shake(module: nn.Module) -> None:
    """So that everything depends on everything (at its start a hypernetwork does not)."""
    draws = generator(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draws)


def hyper_head() -> HyperHead:
    head = HyperHead(M, G, H, A, generator(), gain=1.0).double()
    shake(head)
    return head


def features(*shape: int):
    memory = torch.randn(*shape, M, generator=generator(2), dtype=torch.float64)
    return memory.requires_grad_(), torch.randn(
        *shape, G, generator=generator(3), dtype=torch.float64
    )


def own_network(head: HyperHead, memory_M, given_G):
    """One row, the long way: its parameters, then a small MLP of them."""
    hidden = head.hidden.weight @ memory_M + head.hidden.bias
    output = head.output.weight @ memory_M + head.output.bias
    h = torch.tanh(functional.linear(given_G, hidden[: H * G].view(H, G), hidden[H * G :]))
    return functional.linear(h, output[: A * H].view(A, H), output[A * H :])


def test_a_head_reads_learned_and_given_features_as_if_they_were_joined():
    """Values and gradients; only the given features get none."""
    head = Head(5, 3, 7, 2, torch.Generator().manual_seed(0), gain=1.0)
    learned, given = torch.randn(2, 4, 5, requires_grad=True), torch.randn(2, 4, 3)
    y = head(learned, given)
    y.square().sum().backward()
    gradients = [learned.grad, *(p.grad for p in head.parameters())]
    joined = torch.cat([learned.detach(), given], dim=-1).requires_grad_()
    head.zero_grad()
    expected = head.output(torch.tanh(head.hidden(joined)))
    expected.square().sum().backward()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    assert joined.grad is not None
    references = [joined.grad[..., :5], *(p.grad for p in head.parameters())]
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-5)


def test_a_generated_head_is_each_rows_own_network_in_values_and_gradients(monkeypatch):
    """Whatever the rows are cut into: here 12 rows by 5."""
    monkeypatch.setattr(heads, "ROWS", 5)
    head, (memory, given) = hyper_head(), features(3, 4)
    weighting = torch.randn(3, 4, A, generator=generator(4), dtype=torch.float64)
    sources = [memory, *head.parameters()]
    y = head(memory, given)
    slow = torch.stack(
        [own_network(head, memory[t, b], given[t, b]) for t in range(3) for b in range(4)]
    ).view(3, 4, A)
    torch.testing.assert_close(y, slow, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad((weighting * y).sum(), sources)
    references = torch.autograd.grad((weighting * slow).sum(), sources)
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-12, atol=1e-12)
        assert reference.abs().max() > 0


def test_a_generated_head_worked_by_hand():
    """Memory m = (2, 3), given x = 0.5, one hidden unit, one output.

    Hidden layer: weight 0.1·2 + 0.2·3 + 1 = 1.8, bias 0.3·2 + 0·3 − 0.4 = 0.2;
    h = tanh(1.8·0.5 + 0.2) = tanh 1.1. Output layer: weight 0·2 + 1·3 − 1 = 2, bias 0.5·2 = 1.
    """
    head = HyperHead(2, 1, 1, 1, generator(), gain=1.0)
    with torch.no_grad():
        head.hidden.weight.copy_(torch.tensor([[0.1, 0.2], [0.3, 0.0]]))
        head.hidden.bias.copy_(torch.tensor([1.0, -0.4]))
        head.output.weight.copy_(torch.tensor([[0.0, 1.0], [0.5, 0.0]]))
        head.output.bias.copy_(torch.tensor([-1.0, 0.0]))
    y = head(torch.tensor([[2.0, 3.0]]), torch.tensor([[0.5]]))
    assert y.shape == (1, 1)
    assert y.item() == pytest.approx(2 * math.tanh(1.1) + 1, abs=1e-6)


def test_at_first_a_generated_head_is_a_plain_one_that_does_not_read_the_memory():
    """The same draws of the generator, and then no memory features at all."""
    head = HyperHead(M, G, H, A, generator(), gain=0.5)
    plain = Head(0, G, H, A, generator(), gain=0.5)
    memory, given = (
        torch.randn(9, M, generator=generator(2)),
        torch.randn(9, G, generator=generator(3)),
    )
    y = head(memory, given)
    torch.testing.assert_close(y, plain(memory[:, :0], given), rtol=1e-5, atol=1e-6)
    assert torch.equal(y, head(-100.0 * memory, given))
    assert y.std() > 0.05


def test_gradients_reach_the_generating_layer_at_once_and_the_memory_after_it_moved():
    head = HyperHead(M, G, H, A, generator(), gain=1.0).double()
    memory, given = features(6)
    first = torch.autograd.grad(head(memory, given).square().sum(), [memory, *head.parameters()])
    assert not first[0].any()
    assert all(gradient.abs().max() > 0 for gradient in first[1:])
    shake(head)
    (later,) = torch.autograd.grad(head(memory, given).square().sum(), [memory])
    assert later.abs().amax(dim=-1).min() > 0


def test_a_generated_hidden_layer_is_not_kept_for_the_backward_pass():
    """Of the H (G + 1) numbers a row, the largest part of its network, nothing is."""
    head = HyperHead(2, 50, 10, 1, generator(), gain=1.0)
    memory, given = torch.randn(8, 2).requires_grad_(), torch.randn(8, 50)
    kept: dict[int, int] = {}

    def remember(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        y = head(memory, given)
    owned = {p.untyped_storage().data_ptr() for p in (*head.parameters(), given, memory)}
    numbers = sum(size for pointer, size in kept.items() if pointer not in owned)
    assert y.requires_grad
    assert 0 < numbers <= 8 * 5 * 11  # a few times H + 1 per row; the hidden layer has 510


def percept(space: spaces.Space, **changes) -> TimeStep:
    """Two worlds within a trial."""
    flags = torch.tensor([False, False])
    box = torch.tensor([[0.5, -0.5], [0.25, 0.75]])
    step = TimeStep(
        observation=torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]]),
        previous_action=box if space is BOX else torch.tensor([2, 0]),
        previous_reward=torch.tensor([4.0, 6.0]),
        episode_start=flags,
        trial_start=flags,
        clock=torch.tensor([[0.5, 0.75], [0.125, 0.25]]),
        reward=torch.zeros(2),
        terminated=flags,
        truncated=flags,
        final_observation=torch.zeros(2, 3),
    )
    return replace(step, **changes)


def make_agent(config: AgentConfig, space: spaces.Space = BOX) -> Agent:
    return Agent(config, 3, space, seed=0, horizon=20)


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "categorical"])
@torch.no_grad()
def test_a_fresh_hypernetwork_policy_follows_the_observation_and_not_the_memory(space):
    agent = make_agent(HYPER, space)
    step, (blank,) = percept(space), agent.memory.initial_state(2)
    full = torch.randn(blank.shape, generator=generator(5))
    base, _ = agent.step(step, (blank,))
    other, _ = agent.step(step, (full,))
    moved, _ = agent.step(percept(space, observation=torch.zeros(2, 3)), (blank,))
    assert torch.equal(parameters_of(base), parameters_of(other))
    assert (parameters_of(base) - parameters_of(moved)).abs().max() > 1e-4
    assert (base.value - other.value).abs().min() > 1e-4, "the value head is a plain one"
    shake(agent)
    base, other = agent.step(step, (blank,))[0], agent.step(step, (full,))[0]
    assert (parameters_of(base) - parameters_of(other)).abs().max() > 1e-3


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "categorical"])
@pytest.mark.parametrize(
    "config",
    [
        HYPER,
        replace(HYPER, memory=FeedforwardConfig(6)),
        replace(SMALL, head_sees_observation=False),
    ],
    ids=["hypernetwork", "hypernetwork without memory", "memory alone"],
)
@torch.no_grad()
def test_scan_equals_steps_with_every_head(space, config, monkeypatch):
    monkeypatch.setattr(heads, "ROWS", 3)
    agent = make_agent(config, space)
    shake(agent)
    T = 5
    observation = torch.randn(T, 2, 3, generator=generator(6))
    trial_start = torch.tensor([[0, 0], [0, 1], [0, 0], [1, 0], [0, 0]]).bool()
    rows = [
        percept(space, observation=observation[t], trial_start=trial_start[t]) for t in range(T)
    ]
    token = torch.stack([agent.token(row) for row in rows])
    state = agent.memory.initial_state(2)
    scanned = agent.scan(token, trial_start, state)
    for t, row in enumerate(rows):
        stepped, state = agent.step(row, state)
        torch.testing.assert_close(
            parameters_of(scanned.policy, t), parameters_of(stepped.policy), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(scanned.value[t], stepped.value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sees_clock", [True, False])
@torch.no_grad()
def test_heads_that_do_not_see_the_observation_follow_memory_and_clock_alone(sees_clock):
    agent = make_agent(replace(SMALL, head_sees_observation=False, sees_clock=sees_clock))
    shake(agent)
    for parameter in agent.memory.parameters():
        parameter.zero_()
    blank = agent.memory.initial_state(2)
    base, _ = agent.step(percept(BOX), blank)
    moved, _ = agent.step(percept(BOX, observation=torch.zeros(2, 3)), blank)
    later, _ = agent.step(percept(BOX, clock=torch.ones(2, 2)), blank)
    remembered, _ = agent.step(percept(BOX), tuple(rows + 1.0 for rows in blank))
    assert torch.equal(base.value, moved.value)
    assert torch.equal(base.policy.mode(), moved.policy.mode())
    assert torch.equal(base.value, later.value) == (not sees_clock)
    assert (base.value - remembered.value).abs().min() > 1e-4


def test_the_options_leave_an_agents_other_weights_as_they_were():
    """Memory and embedding are drawn first: two heads are compared on the same body."""
    plain, hyper = make_agent(SMALL).state_dict(), make_agent(HYPER).state_dict()
    for key, tensor in plain.items():
        if not key.startswith(("policy_head", "value_head")):
            assert torch.equal(tensor, hyper[key]), key


def test_a_mistyped_head_and_one_with_nothing_to_read_are_refused():
    with pytest.raises(ValueError, match=r"Unknown head 'hypernet'.*'hypernetwork'.*plain"):
        make_agent(replace(SMALL, head="hypernet"))
    with pytest.raises(ValueError, match="head_sees_observation=True"):
        make_agent(replace(HYPER, head_sees_observation=False))


def parameters_of(output, t=...):
    """Of a policy or of the output that holds it, in step t."""
    policy = getattr(output, "policy", output)
    return (policy.log_probs if hasattr(policy, "log_probs") else policy.mean)[t]
