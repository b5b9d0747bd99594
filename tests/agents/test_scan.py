"""The diagonal recurrence: equal to a loop written out, in values and gradients, on both walks.

Shape legend: T time, B worlds, P channels.
"""

import math

import pytest
import torch

from quickstudy.agents.scan import diag_scan, scan_with, walk_chunks, walk_steps

WALKS = {"steps": walk_steps, "chunks": walk_chunks}
DTYPES = {"real": torch.float64, "complex": torch.complex128}
T, B, P = 23, 4, 3
# In float64 the walks differ by the order of operations alone.
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(params=WALKS.values(), ids=WALKS.keys())
def walk(request):
    return request.param


@pytest.fixture(params=DTYPES.values(), ids=DTYPES.keys())
def dtype(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["fixed", "varying"])
def fixed(request):
    return request.param


def reference(gate, b_TBP, x_BP, reset_TB):
    """The definition, one step after the other, under plain autograd."""
    outputs = []
    for t in range(len(b_TBP)):
        keep_B1 = (~reset_TB[t]).to(b_TBP.dtype).unsqueeze(1)
        x_BP = (gate if gate.ndim == 1 else gate[t]) * keep_B1 * x_BP + b_TBP[t]
        outputs.append(x_BP)
    return torch.stack(outputs)


def random_case(dtype, fixed, steps=T, worlds=B, channels=P, seed=0):
    """Gate (of modulus below 1.2), input and what the first step finds: leaves of a graph."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    gate = draw(channels) if fixed else draw(steps, worlds, channels)
    gate = 1.2 * gate / (1 + gate.abs())
    case = (gate, draw(steps, worlds, channels), draw(worlds, channels))
    return tuple(tensor.requires_grad_() for tensor in case)


def no_reset(steps=T, worlds=B):
    return torch.zeros(steps, worlds, dtype=torch.bool)


def staggered(steps=T, worlds=B):
    """World 0 never resets, 1 at the first and last step, 2 twice in a row, 3 every third step."""
    reset_TB = no_reset(steps, worlds)
    reset_TB[0, 1 % worlds] = reset_TB[-1, 1 % worlds] = True
    reset_TB[steps // 2 : steps // 2 + 2, 2 % worlds] = True
    reset_TB[1::3, 3 % worlds] = True
    return reset_TB


RESETS = {
    "never": no_reset,
    "staggered": staggered,
    "always": lambda steps=T, worlds=B: ~no_reset(steps, worlds),
}


def gradients(x_TBP, sources, seed=5):
    weight = torch.randn(
        x_TBP.shape, generator=torch.Generator().manual_seed(seed), dtype=x_TBP.dtype
    )
    return torch.autograd.grad((x_TBP * weight).sum().real, sources)


@pytest.mark.parametrize("resets", RESETS.values(), ids=RESETS.keys())
@pytest.mark.parametrize(("steps", "worlds"), [(T, B), (1, B), (2, B), (T, 1), (50, 4)])
def test_equals_the_definition_in_values_and_gradients(walk, dtype, fixed, resets, steps, worlds):
    case, reset_TB = random_case(dtype, fixed, steps, worlds), resets(steps, worlds)
    expected = reference(*case, reset_TB)
    x_TBP = scan_with(walk, *case, reset_TB)
    torch.testing.assert_close(x_TBP, expected, **EXACT)
    pairs = zip(gradients(x_TBP, case), gradients(expected, case), strict=True)
    for gradient, expected_gradient in pairs:
        torch.testing.assert_close(gradient, expected_gradient, **EXACT)


def test_passes_gradcheck(walk, dtype, fixed):
    """Against finite differences; 7 steps are three chunks of two and a rest."""
    case, reset_TB = random_case(dtype, fixed, 7, 2, 2), staggered(7, 2)
    assert torch.autograd.gradcheck(lambda *case: scan_with(walk, *case, reset_TB), case)


def test_a_case_by_hand(walk):
    """Gate ½, input 1, 2, 4, 8, found 6; a reset before the third step.

    x = ½·6+1 = 4; ½·4+2 = 4; 0+4 = 4; ½·4+8 = 10. With the gradient 1 at each: G₃ = 1,
    G₂ = 1+½·1 = 1.5, G₁ = 1+0 = 1 (the reset lies between), G₀ = 1+½·1 = 1.5; of the found ½·1.5 =
    0.75; of the gate G₀·6 + G₁·4 + 0 + G₃·4 = 9+4+4 = 17.
    """
    gate = torch.tensor([0.5], requires_grad=True)
    b_TBP = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(4, 1, 1).requires_grad_()
    x0_BP = torch.tensor([[6.0]], requires_grad=True)
    reset_TB = torch.tensor([[False], [False], [True], [False]])
    x_TBP = scan_with(walk, gate, b_TBP, x0_BP, reset_TB)
    assert x_TBP.flatten().tolist() == [4.0, 4.0, 4.0, 10.0]
    dgate, db_TBP, dx0_BP = torch.autograd.grad(x_TBP.sum(), (gate, b_TBP, x0_BP))
    assert db_TBP.flatten().tolist() == [1.5, 1.0, 1.5, 1.0]
    assert (dx0_BP.item(), dgate.item()) == (0.75, 17.0)


def test_a_quarter_turn_by_hand(walk):
    """Gate i turns by 90°: 1 → i → −1, and its gradient comes back through −i."""
    gate = torch.tensor([1j], requires_grad=True)
    b_TBP = torch.tensor([1.0 + 0j, 0.0, 0.0]).view(3, 1, 1).requires_grad_()
    x0_BP = torch.zeros(1, 1, dtype=torch.complex64)
    x_TBP = scan_with(walk, gate, b_TBP, x0_BP, no_reset(3, 1))
    assert x_TBP.flatten().tolist() == [1 + 0j, 1j, -1 + 0j]
    (db_TBP,) = torch.autograd.grad(x_TBP[2].real.sum(), b_TBP)
    assert db_TBP.flatten().tolist() == [-1 + 0j, -1j, 1 + 0j]


@pytest.mark.parametrize("cut", [1, 7, 16, T - 1])
def test_may_be_cut_anywhere_and_carried(walk, dtype, fixed, cut):
    (gate, b_TBP, x0_BP), reset_TB = random_case(dtype, fixed), staggered()
    whole = scan_with(walk, gate, b_TBP, x0_BP, reset_TB)
    gates = (gate, gate) if fixed else (gate[:cut], gate[cut:])
    first = scan_with(walk, gates[0], b_TBP[:cut], x0_BP, reset_TB[:cut])
    second = scan_with(walk, gates[1], b_TBP[cut:], first[-1], reset_TB[cut:])
    torch.testing.assert_close(torch.cat([first, second]), whole, **EXACT)


@pytest.mark.parametrize("start", [0, 9, T - 1])
def test_a_reset_is_a_fresh_start_even_from_what_is_not_finite(walk, dtype, fixed, start):
    (gate, b_TBP, x0_BP), reset_TB = random_case(dtype, fixed), no_reset()
    reset_TB[start] = True
    x_TBP = scan_with(walk, gate, b_TBP, torch.full_like(x0_BP, math.inf), reset_TB)
    later = gate if fixed else gate[start:]
    blank = torch.zeros_like(x0_BP)
    fresh = scan_with(walk, later, b_TBP[start:], blank, reset_TB[start:])
    torch.testing.assert_close(x_TBP[start:], fresh, **EXACT)


def test_no_gradient_crosses_a_reset(walk, dtype, fixed):
    case, reset_TB = random_case(dtype, fixed), no_reset()
    reset_TB[9, 1] = True
    x_TBP = scan_with(walk, *case, reset_TB)
    _, db_TBP, dx0_BP = torch.autograd.grad(x_TBP[9:, 1].abs().sum(), case)
    assert not db_TBP[:9].any()
    assert not dx0_BP[1].any()
    assert db_TBP[9, 1].all()


def test_without_resets_the_rest_can_be_mended(dtype):
    """x_t = x̃_t − gate^(t−s+1) x̃_(s−1), where x̃ never resets and s is the last reset."""
    (gate, b_TBP, x0_BP), s = random_case(dtype, True), 9
    reset_TB = no_reset()
    reset_TB[s] = True
    free = diag_scan(gate, b_TBP, x0_BP, no_reset())
    ages = torch.arange(1, T - s + 1).view(-1, 1, 1)
    mended = free[s:] - gate**ages * free[s - 1]
    torch.testing.assert_close(mended, diag_scan(gate, b_TBP, x0_BP, reset_TB)[s:], **EXACT)


@pytest.mark.parametrize("expanded", [True, False], ids=["expanded", "own"])
def test_the_gradient_that_arrives_is_left_as_it_was(walk, dtype, fixed, expanded):
    """Other consumers of x read the same buffer; `sum` hands over one number for all."""
    case, reset_TB = random_case(dtype, fixed), staggered()
    x_TBP = scan_with(walk, *case, reset_TB)
    arriving = torch.ones((), dtype=dtype).expand_as(x_TBP)
    arriving = arriving if expanded else arriving.clone()
    before = arriving.clone()
    first = torch.autograd.grad(x_TBP, case, arriving, retain_graph=True)
    assert torch.equal(arriving, before)
    for gradient, again in zip(first, torch.autograd.grad(x_TBP, case, before), strict=True):
        torch.testing.assert_close(gradient, again, rtol=0, atol=0)


def test_channels_may_have_several_dimensions_and_inputs_be_expanded(walk, dtype):
    """S4D's: each feature's input goes to all its states."""
    gate, b_TBP, x0_BP = random_case(dtype, True, channels=6)
    u_TBD1 = b_TBP[..., :2].unsqueeze(-1)
    wide = scan_with(
        walk, gate.view(2, 3), u_TBD1.expand(-1, -1, 2, 3), x0_BP.view(B, 2, 3), staggered()
    )
    flat = scan_with(walk, gate, u_TBD1.expand(-1, -1, 2, 3).flatten(2), x0_BP, staggered())
    torch.testing.assert_close(wide.flatten(2), flat, **EXACT)
    for gradient, expected in zip(
        gradients(wide.flatten(2), (gate, b_TBP, x0_BP)),
        gradients(flat, (gate, b_TBP, x0_BP)),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected, **EXACT)


@pytest.mark.parametrize(
    ("T", "B", "P", "walk"),
    [(127, 2, 3, walk_steps), (128, 2, 3, walk_chunks), (128, 256, 9, walk_steps)],
)
def test_on_the_cpu_long_narrow_inputs_walk_in_chunks_others_step_by_step(
    T, B, P, walk, dtype, fixed
):
    case, reset_TB = random_case(dtype, fixed, T, B, P), no_reset(T, B)
    reset_TB[T // 2, 0] = True
    assert torch.equal(diag_scan(*case, reset_TB), scan_with(walk, *case, reset_TB))


def test_chunks_take_far_fewer_operations_than_steps():
    """Counted, not timed: at 1024 steps each way costs less than a fifth."""
    counts = []
    for walk in (walk_steps, walk_chunks):
        case = random_case(torch.float64, True, 1024, 1, 1)
        with torch.profiler.profile() as profile:
            scan_with(walk, *case, no_reset(1024, 1))
        counts.append(sum(event.name == "aten::addcmul" for event in profile.events()))
    assert counts[0] == 1024
    assert counts[1] < 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g, b, x, r: (g[:-1], b, x, r), r"gate must be .* \(3,\) or \(23, 4, 3\)"),
        (lambda g, b, x, r: (g.float(), b, x, r), r"gate must be torch\.float64 .* torch\.float32"),
        (lambda g, b, x, r: (g, b, x[:-1], r), r"x0_BP must be .* \(4, 3\), got .* \(3, 3\)"),
        (lambda g, b, x, r: (g, b, x, r.double()), r"reset_TB must be torch\.bool"),
    ],
)
def test_wrong_shapes_and_types_name_the_tensor(change, message):
    with pytest.raises(ValueError, match=message):
        diag_scan(*change(*random_case(torch.float64, True), no_reset()))
