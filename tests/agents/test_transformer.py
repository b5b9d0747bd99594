"""The transformer: rotary positions, the ring of keys and values, windows shorter than the trial.

Shape legend: T time, B worlds, D input features, d features of a token, L layers, W slots, K keys.
"""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from quickstudy.agents.models import TransformerConfig
from quickstudy.agents.models import transformer as transformer_file
from quickstudy.agents.models.transformer import slot_times

D, B = 3, 4
SMALL = TransformerConfig(hidden_size=16, layers=2, heads=2, feedforward_size=24)
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def build(context=6, **sizes):
    """A small model in float64, with every parameter away from its special start."""
    config = TransformerConfig(**(vars(SMALL) | {"context": context} | sizes))
    model = config.build(D, generator(0), horizon=100).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator(1)).double()
    return model


def blank(model, batch=B):
    keys, values, count_B = model.initial_state(batch)
    return keys.double(), values.double(), count_B


def inputs(steps, batch=B, seed=2):
    return torch.randn(steps, batch, D, generator=generator(seed), dtype=torch.float64)


def never(steps, batch=B):
    return torch.zeros(steps, batch, dtype=torch.bool)


def staggered(steps):
    """World 0 never resets; the others at times of their own, world 3 often."""
    reset_TB = never(steps)
    reset_TB[0, 1] = reset_TB[steps // 2, 1] = reset_TB[5, 2] = True
    reset_TB[::4, 3] = True
    return reset_TB


def stepped(model, x_TBD, reset_TB, state):
    outputs = []
    for x_BD, reset_B in zip(x_TBD, reset_TB, strict=True):
        y_BD, state = model.step(x_BD, reset_B, state)
        outputs.append(y_BD)
    return torch.stack(outputs), state


def assert_same(state, expected, **tolerance):
    for rows, expected_rows in zip(state, expected, strict=True):
        torch.testing.assert_close(rows, expected_rows, **tolerance)


# --- the whole computed anew -------------------------------------------------------------------


def turned(x_Kd, heads):
    """Each pair of features turned by hand, with sines and cosines."""
    y_Kd, size = x_Kd.clone(), x_Kd.shape[1] // heads
    for position in range(len(x_Kd)):
        for head in range(heads):
            for pair in range(size // 2):
                angle = position * 10_000.0 ** (-2 * pair / size)
                i = head * size + 2 * pair
                a, b = x_Kd[position, i], x_Kd[position, i + 1]
                y_Kd[position, i] = a * math.cos(angle) - b * math.sin(angle)
                y_Kd[position, i + 1] = a * math.sin(angle) + b * math.cos(angle)
    return y_Kd


def naive(model, x_KD, context):
    """One world's trial from its start, `(K, d)`: full matrices and a band, no cache."""
    K, heads = len(x_KD), model.heads
    x_Kd = functional.linear(x_KD, model.embedding.weight, model.embedding.bias)
    distance_KK = torch.arange(K).unsqueeze(1) - torch.arange(K)
    hidden_KK = (distance_KK < 0) | (distance_KK >= context)
    for block in model.blocks:
        q, k, v = block.projection(block.attention_norm(x_Kd)).chunk(3, dim=1)
        q, k = turned(q, heads), turned(k, heads)
        size = q.shape[1] // heads
        parts = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            score_KK = q[:, part] @ k[:, part].T / math.sqrt(size)
            parts.append(score_KK.masked_fill(hidden_KK, -math.inf).softmax(dim=1) @ v[:, part])
        x_Kd = x_Kd + block.attention_output(torch.cat(parts, dim=1))
        up = functional.gelu(block.feedforward(block.feedforward_norm(x_Kd)))
        x_Kd = x_Kd + block.feedforward_output(up)
    return model.norm(x_Kd)


@pytest.mark.parametrize("run", ["step", "scan"])
@pytest.mark.parametrize("context", [1, 6, 50])
@torch.no_grad()
def test_outputs_are_those_of_the_trial_computed_anew(run, context):
    """With staggered starts; trials shorter than, as long as, and longer than the context."""
    model, steps = build(context), 20
    x_TBD, reset_TB = inputs(steps), staggered(steps)
    call = model.scan if run == "scan" else lambda *a: stepped(model, *a)
    y_TBd, _ = call(x_TBD, reset_TB, blank(model))
    for b in range(B):
        starts = [0, *(t for t in range(1, steps) if reset_TB[t, b]), steps]
        for start, stop in itertools.pairwise(starts):
            expected = naive(model, x_TBD[start:stop, b], context)
            torch.testing.assert_close(y_TBd[start:stop, b], expected, **CLOSE)


@torch.no_grad()
def test_one_layer_sees_the_last_inputs_alone():
    """With one layer the window is exact: the same as reading only the last W inputs."""
    model = build(context=6, layers=1)
    x_TBD = inputs(20)
    y_TBd, _ = stepped(model, x_TBD, never(20), blank(model))
    recent_TBd, _ = model.scan(x_TBD[-6:], never(6), blank(model))
    torch.testing.assert_close(y_TBd[-1], recent_TBd[-1], **CLOSE)


@pytest.mark.parametrize("layers", [1, 2])
def test_outputs_span_exactly_what_the_model_says(layers):
    """Two layers of six: 2 · (6 − 1) + 1 = 11 inputs."""
    model = build(context=6, layers=layers)
    x_TBD = inputs(20).requires_grad_()
    y_TBd, _ = model.scan(x_TBD, never(20), blank(model))
    (gradient_TBD,) = torch.autograd.grad(y_TBd[-1].square().sum(), x_TBD)
    assert model.span == {1: 6, 2: 11}[layers]
    reached_T = gradient_TBD.abs().amax(dim=(1, 2)) > 0
    assert reached_T.tolist() == [False] * (20 - model.span) + [True] * model.span


# --- scan and step -----------------------------------------------------------------------------


def gradients(run, model, x_TBD, reset_TB, state):
    leaves = [x_TBD.clone().requires_grad_(), *(r.clone().requires_grad_() for r in state[:2])]
    y_TBd, (keys, values, count_B) = run(leaves[0], reset_TB, (*leaves[1:], state[2]))
    weights = [torch.randn(r.shape, generator=generator(7)).double() for r in (y_TBd, keys, values)]
    loss = sum((w * r).sum() for w, r in zip(weights, (y_TBd, keys, values), strict=True))
    found = torch.autograd.grad(loss, [*leaves, *model.parameters()])
    return (y_TBd.detach(), keys.detach(), values.detach(), count_B), found


@pytest.mark.parametrize("past", [0, 4, 9])
@pytest.mark.parametrize("context", [1, 6, 100])
def test_scan_equals_steps_beyond_the_context(context, past, monkeypatch):
    """Values and gradients, from a ring that is blank, partly in use or already turned over.

    Queries are taken in pieces of 7, so that these begin before, in and after the window.
    """
    monkeypatch.setattr(transformer_file, "QUERIES", 7)
    model, steps = build(context), 25
    with torch.no_grad():
        # Worlds have read different numbers of inputs.
        reset_TB = never(past)
        reset_TB[past // 2 :, 0] = True
        state = (
            model.scan(inputs(past, seed=5), reset_TB, blank(model))[1] if past else blank(model)
        )
    x_TBD, reset_TB = inputs(steps), staggered(steps)
    values, found = gradients(model.scan, model, x_TBD, reset_TB, state)
    slow = gradients(lambda *a: stepped(model, *a), model, x_TBD, reset_TB, state)
    assert_same(values, slow[0], **CLOSE)
    assert_same(found, slow[1], rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_pieces_of_queries_do_not_show(monkeypatch):
    """Any cut gives the result of the whole."""
    model, x_TBD, reset_TB = build(), inputs(30), staggered(30)
    _, state = model.scan(inputs(8, seed=5), never(8), blank(model))
    whole, final = model.scan(x_TBD, reset_TB, state)
    for queries in (1, 4, 29):
        monkeypatch.setattr(transformer_file, "QUERIES", queries)
        y_TBd, pieced = model.scan(x_TBD, reset_TB, state)
        torch.testing.assert_close(y_TBd, whole, **CLOSE)
        assert_same(pieced, final, **CLOSE)


def test_stepping_in_place_equals_stepping_anew_and_copies_nothing():
    """Where gradients are off the very tensors given are written into, and only then."""
    model, x_TBD, reset_TB = build(), inputs(20), staggered(20)
    expected, final = stepped(model, x_TBD, reset_TB, blank(model))
    state = blank(model)
    with torch.no_grad():
        y_TBd, written = stepped(model, x_TBD, reset_TB, state)
    torch.testing.assert_close(y_TBd, expected.detach(), **CLOSE)
    assert_same(written, tuple(rows.detach() for rows in final), **CLOSE)
    assert written[0] is state[0]
    assert written[1] is state[1]
    kept = blank(model)
    model.step(x_TBD[0], reset_TB[0], kept)
    assert not any(rows.any() for rows in kept)


@torch.no_grad()
def test_a_scan_without_gradients_leaves_its_state_alone():
    model = build()
    _, state = model.scan(inputs(8), never(8), blank(model))
    before = [rows.clone() for rows in state]
    model.scan(inputs(20), staggered(20), state)
    assert all(torch.equal(rows, old) for rows, old in zip(state, before, strict=True))


@torch.no_grad()
def test_a_reset_at_every_step_leaves_one_input():
    """Each output is that of a trial of one step."""
    model, x_TBD = build(), inputs(9)
    everywhere = torch.ones(9, B, dtype=torch.bool)
    for run in (model.scan, lambda *a: stepped(model, *a)):
        y_TBd, (keys, _, count_B) = run(x_TBD, everywhere, blank(model))
        for t in range(9):
            alone_1Bd, _ = model.scan(x_TBD[t : t + 1], never(1), blank(model))
            torch.testing.assert_close(y_TBd[t], alone_1Bd[0], **CLOSE)
        assert count_B.tolist() == [1] * B
        assert keys[:, :, 0].any()
        assert not keys[:, :, 1:].any()


@pytest.mark.parametrize("run", ["step", "scan"])
@torch.no_grad()
def test_inputs_of_zeros_are_inputs(run):
    """They are counted and attended to: what they are is nothing special."""
    model = build()
    x_TBD = inputs(8)
    x_TBD[2:5] = 0.0
    call = model.scan if run == "scan" else lambda *a: stepped(model, *a)
    y_TBd, (_, _, count_B) = call(x_TBD, never(8), blank(model))
    for b in range(B):
        torch.testing.assert_close(y_TBd[:, b], naive(model, x_TBD[:, b], 6), **CLOSE)
    assert count_B.tolist() == [8] * B


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 5), (13, 1)])
@torch.no_grad()
def test_one_world_or_one_step(steps, batch):
    model, x_TBD = build(), inputs(steps, batch)
    y_TBd, final = model.scan(x_TBD, never(steps, batch), blank(model, batch))
    expected, slow = stepped(model, x_TBD, never(steps, batch), blank(model, batch))
    assert y_TBd.shape == (steps, batch, 16)
    torch.testing.assert_close(y_TBd, expected, **CLOSE)
    assert_same(final, slow, **CLOSE)


@pytest.mark.parametrize("cut", [3, 8, 15])
@torch.no_grad()
def test_a_state_saved_in_mid_trial_and_restored_goes_on(cut, tmp_path):
    """Before the ring is full, after, and after it has turned twice."""
    model, x_TBD, reset_TB = build(), inputs(20), staggered(20)
    expected, _ = stepped(model, x_TBD, reset_TB, blank(model))
    _, state = stepped(model, x_TBD[:cut], reset_TB[:cut], blank(model))
    torch.save(state, tmp_path / "state.pt")
    restored = torch.load(tmp_path / "state.pt", weights_only=True)
    y_TBd, _ = stepped(model, x_TBD[cut:], reset_TB[cut:], restored)
    assert torch.equal(y_TBd, expected[cut:])


@torch.no_grad()
def test_each_world_counts_and_fills_its_own_slots():
    """Staggered starts: 10 inputs in all, world b beginning anew at step 3b."""
    model, reset_TB = build(context=6), never(10)
    for b in range(1, B):
        reset_TB[3 * b, b] = True
    for run in (model.scan, lambda *a: stepped(model, *a)):
        _, (keys, values, count_B) = run(inputs(10), reset_TB, blank(model))
        assert count_B.tolist() == [10, 7, 4, 1]
        for rows in (keys, values):
            in_use_BW = rows.abs().amax(dim=(1, 3)) > 0
            assert in_use_BW.sum(dim=1).tolist() == [6, 6, 4, 1]
            assert in_use_BW[2].tolist() == [True] * 4 + [False] * 2


@torch.no_grad()
def test_a_world_is_as_if_alone_among_worlds_at_other_counts():
    """The bug of caches whose index is shared: every world must look at its own slots."""
    model, x_TBD, reset_TB = build(), inputs(20), staggered(20)
    y_TBd, _ = stepped(model, x_TBD, reset_TB, blank(model))
    for b in range(B):
        one = slice(b, b + 1)
        alone, _ = stepped(model, x_TBD[:, one], reset_TB[:, one], blank(model, 1))
        torch.testing.assert_close(y_TBd[:, one], alone, **CLOSE)


# --- parts -------------------------------------------------------------------------------------


@torch.no_grad()
def test_outputs_do_not_depend_on_where_in_a_long_trial_they_are():
    """Six inputs after 1000 or 1003 others, whose ring holds the same: the same output."""
    model = build(context=6, layers=1)
    x_TBD = inputs(6)
    outputs = [
        model.scan(torch.cat([inputs(n, seed=5), x_TBD]), never(n + 6), blank(model))[0][-1]
        for n in (1000, 1003)
    ]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-10)


def test_slot_times_by_hand():
    """Rings of 4 after 0, 2 and 5 inputs.

    After 2, slots 0 and 1 hold the last but one and the last. After 5, the fifth stands in slot 0
    over the first. A slot not in use has a time before −count.
    """
    times = slot_times(torch.tensor([0, 2, 5]), 4)
    assert times.tolist() == [[-4, -3, -2, -1], [-2, -1, -4, -3], [-1, -4, -3, -2]]


# --- size and options --------------------------------------------------------------------------


def test_its_size_is_that_of_the_other_memories():
    model = TransformerConfig().build(64, generator(0), horizon=400)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 0.95 * 74_500 < count < 1.05 * 74_500
    assert 64 <= model.output_size <= 128


def test_the_context_is_the_horizon_unless_given():
    for config, expected in ((TransformerConfig(), 300), (TransformerConfig(context=32), 32)):
        keys, values, _ = config.build(D, generator(0), horizon=300).initial_state(2)
        assert keys.shape == values.shape == (2, 2, expected, 64)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"context": 0}, "context must be at least 1, got 0"),
        ({"hidden_size": 20, "heads": 4}, "multiple of 2 · heads = 8, got 20"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**sizes).build(D, generator(0), horizon=10)


@pytest.mark.slow
@pytest.mark.parametrize("resets", [False, True])
def test_a_scan_of_8192_steps_runs(resets):
    """In pieces, so that no mask is 8192 by 8192 for each world and head."""
    model = TransformerConfig().build(D, generator(0), horizon=8192)
    x_TBD, reset_TB = inputs(8192, 2).float(), never(8192, 2)
    reset_TB[5000, 1] = resets
    y_TBd, _ = model.scan(x_TBD, reset_TB, model.initial_state(2))
    y_TBd.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
