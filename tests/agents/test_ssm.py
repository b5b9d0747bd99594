"""State spaces: spectra, discretisation, what is kept while acting, and both layers.

Shape legend: T time, B worlds, H width, P channels.
"""

import copy
import math

import pytest
import torch

from quickstudy.agents.models.s4d import S4DConfig, S4DLayer
from quickstudy.agents.models.s5 import S5Config, S5Layer
from quickstudy.agents.ssm import (
    discretise,
    eigenvalues,
    hippo_normal,
    random_log_step,
    s4d_spectrum,
)

T, B, H = 37, 4, 6
HORIZON = 100
EXACT = {"rtol": 1e-11, "atol": 1e-12}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def complex_like(pairs):
    return torch.view_as_complex(pairs)


# --- spectra ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fastest"), [(8, 19.86), (16, 80.97), (64, 1303.27), (256, 20860.23)]
)
def test_hippos_normal_part_is_diagonalised(size, fastest):
    """From the definition, entry by entry; its fastest frequency is near size²/π."""
    S = torch.empty(size, size, dtype=torch.float64)
    for n in range(size):
        for k in range(size):
            below = -math.sqrt((2 * n + 1) * (2 * k + 1)) if n > k else 0.0
            S[n, k] = (-(n + 1) if n == k else below) + math.sqrt((n + 0.5) * (k + 0.5))
    value, V = hippo_normal(size)
    torch.testing.assert_close(V @ torch.diag(value) @ V.mH, S + 0j, rtol=0, atol=1e-13 * size**2)
    torch.testing.assert_close(V.mH @ V, torch.eye(size) + torch.zeros_like(V), rtol=0, atol=1e-13)
    assert value.imag.max().item() == pytest.approx(fastest, abs=0.01)
    assert fastest == pytest.approx(size**2 / math.pi, rel=0.03)
    assert (value.real == -0.5).all()
    torch.testing.assert_close(
        value[: size // 2], value[size // 2 :].flip(0).conj(), rtol=1e-9, atol=1e-9
    )


def test_hippo_of_size_two_by_hand():
    """A = [−1 0; −√3 −2], p pᵀ = [½ √¾; √¾ 1½]; S = [−½ √¾; −√¾ −½]: −½ ± i √¾."""
    value, _ = hippo_normal(2)
    expected = torch.tensor([-0.5 - 1j * math.sqrt(0.75), -0.5 + 1j * math.sqrt(0.75)])
    torch.testing.assert_close(value, expected.to(value.dtype), rtol=0, atol=1e-7)


def test_spectra_of_s4d_by_hand():
    """N = 4, n = 0, 1. Lin: 0, π. Inv: 4/π · (4/1 − 1) = 12/π and 4/π · (4/3 − 1) = 4/(3π)."""
    assert s4d_spectrum("lin", 4).imag.tolist() == pytest.approx([0, math.pi])
    assert s4d_spectrum("inv", 4).imag.tolist() == pytest.approx([12 / math.pi, 4 / (3 * math.pi)])
    legs = s4d_spectrum("legs", 4)
    torch.testing.assert_close(legs, hippo_normal(4)[0][2:])
    assert (legs.imag > 0).all()
    assert (
        torch.stack([s4d_spectrum(kind, 4).real for kind in ("lin", "inv", "legs")]) == -0.5
    ).all()


@pytest.mark.parametrize(("horizon", "shortest"), [(100, 1e-3), (5000, 1 / 5000)])
def test_steps_are_uniform_in_their_logarithm_up_to_the_length_of_a_trial(horizon, shortest):
    low, high = math.log(shortest), math.log(0.1)
    share = (random_log_step(4000, horizon, generator()) - low) / (high - low)
    assert share.min() >= 0
    assert share.max() <= 1
    # Deciles of 4000 uniform draws: 400 each, give or take five deviations of 19.
    assert share.histc(10, 0, 1).sub(400).abs().max() < 95


# --- discretisation ---------------------------------------------------------------------------


def test_discretisation_by_hand():
    """λ = −1. Hold, Δ = ln 2: ā = ½, s = (½ − 1)/(−1) = ½. Bilinear, Δ = 1: ā = ½/1½, s = 1/1½."""
    eigenvalue = eigenvalues(torch.zeros(1), torch.zeros(1))
    assert eigenvalue.item() == -1
    gate, scale = discretise(eigenvalue, torch.tensor([math.log(math.log(2))]), "zoh")
    assert (gate.item(), scale.item()) == (pytest.approx(0.5), pytest.approx(0.5))
    gate, scale = discretise(eigenvalue, torch.zeros(1), "bilinear")
    assert (gate.item(), scale.item()) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def random_channels(count=200, dtype=torch.float64):
    """Decays from 0.007 to 150, frequencies to some hundred, steps from 1e-4 to 1."""
    log_decay, frequency, share = torch.randn(3, count, generator=generator(), dtype=dtype)
    return 2 * log_decay, 100 * frequency, math.log(1e-2) + share.tanh() * math.log(1e2)


def test_to_hold_for_a_step_is_to_hold_for_two_halves():
    """ā(Δ) = ā(Δ/2)² and s(Δ) = (ā(Δ/2) + 1) s(Δ/2): what an exact solution must satisfy."""
    log_decay, frequency, log_step = random_channels()
    value = eigenvalues(log_decay, frequency)
    gate, scale = discretise(value, log_step, "zoh")
    half_gate, half_scale = discretise(value, log_step - math.log(2), "zoh")
    torch.testing.assert_close(gate, half_gate.square(), **EXACT)
    torch.testing.assert_close(scale, (half_gate + 1) * half_scale, **EXACT)


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
def test_slow_channels_are_exact_in_single_precision(rule):
    """λΔ = 5e-5: the difference exp − 1 would be wrong in its fourth digit."""
    log_decay, frequency = torch.tensor([math.log(0.5)]), torch.tensor([0.1])
    log_step = torch.tensor([math.log(1e-4)])
    _, scale = discretise(eigenvalues(log_decay, frequency), log_step, rule)
    doubles = (each.double() for each in (log_decay, frequency))
    _, expected = discretise(eigenvalues(*doubles), log_step.double(), rule)
    torch.testing.assert_close(scale.to(expected.dtype), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
def test_every_channel_is_stable_and_its_gradients_right(rule):
    channels = [each.requires_grad_() for each in random_channels()]
    gate, _ = discretise(eigenvalues(*channels[:2]), channels[2], rule)
    assert gate.abs().max() < 1
    few = [each[:5].detach().requires_grad_() for each in channels]
    assert torch.autograd.gradcheck(lambda d, f, s: discretise(eigenvalues(d, f), s, rule), few)


# --- what is kept while acting ----------------------------------------------------------------


@pytest.fixture(params=["s5", "s4d"], name="layer")
def _layer(request):
    return make_layer(request.param)


def make_layer(name, seed=0, **options):
    if name == "s5":
        config = S5Config(hidden_size=H, state_size=8, blocks=2, **options)
        return S5Layer(config, HORIZON, generator(seed)).double()
    config = S4DConfig(hidden_size=H, state_size=8, **options)
    return S4DLayer(config, HORIZON, generator(seed)).double()


def test_operators_are_kept_without_gradients_only(layer):
    with torch.no_grad():
        first = layer.operators()
        assert layer.operators() is first
    assert layer.operators() is not first
    assert all(rows.requires_grad for rows in layer.operators())


def rewrite(layer):
    layer.log_step.add_(1.0)


def load(layer):
    layer.load_state_dict(type_of(layer).state_dict())


def assign(layer):
    layer.load_state_dict(type_of(layer).state_dict(), assign=True)


def optimise(layer):
    with torch.enable_grad():
        layer.operators()[0].abs().sum().backward()
    torch.optim.Adam(layer.parameters(), lr=0.1).step()


def replace_data(layer):
    layer.log_step.data = layer.log_step.data + 1.0


def type_of(layer):
    return make_layer("s5" if isinstance(layer, S5Layer) else "s4d", seed=1)


@pytest.mark.parametrize("change", [rewrite, load, assign, optimise, replace_data])
def test_changed_parameters_are_used_at_once(layer, change):
    with torch.no_grad():
        before = [rows.clone() for rows in layer.operators()]
        change(layer)
        after, expected = layer.operators(), layer._operators()
    assert not torch.allclose(before[0], after[0])
    for rows, expected_rows in zip(after, expected, strict=True):
        assert torch.equal(rows, expected_rows)


def test_new_values_at_an_old_address_are_noticed():
    """Assigning to `.data` counts no version, and freed memory (16 KB here) is soon used again."""
    layer = S5Layer(
        S5Config(hidden_size=32, state_size=64, blocks=1), HORIZON, generator()
    ).double()
    first = layer.C_HP2.data_ptr()
    with torch.no_grad():
        layer.operators()
        for _ in range(20):
            layer.C_HP2.data = layer.C_HP2.data + 1.0
            if layer.C_HP2.data_ptr() == first:
                break
        assert torch.equal(layer.operators()[2], layer._operators()[2])


def test_a_change_of_type_is_noticed(layer):
    with torch.no_grad():
        layer.operators()
        assert layer.float().operators()[0].dtype == torch.complex64


def test_a_copy_keeps_its_own(layer):
    with torch.no_grad():
        before = layer.operators()
        other = copy.deepcopy(layer)
        other.log_step.add_(1.0)
        assert not torch.equal(other.operators()[0], before[0])
        assert layer.operators() is before


# --- layers -----------------------------------------------------------------------------------


def random_input(layer):
    x0 = torch.randn(B, *layer.state_shape, generator=generator(1), dtype=torch.complex128)
    u_TBH = torch.randn(T, B, H, generator=generator(2), dtype=torch.float64)
    reset_TB = torch.zeros(T, B, dtype=torch.bool)
    reset_TB[0, 1] = reset_TB[T - 1, 1] = True
    reset_TB[12:14, 2] = True
    reset_TB[5::7, 3] = True
    return u_TBH.requires_grad_(), reset_TB, x0.requires_grad_()


def s5_by_definition(layer, u_TBH, reset_TB, x):
    """In complex numbers, with every channel's conjugate beside it and no factor 2."""
    value = eigenvalues(layer.log_decay, layer.frequency)
    gate, scale = discretise(value, layer.log_step, layer.rule)
    B_bar, C = scale.unsqueeze(1) * complex_like(layer.B_PH2), complex_like(layer.C_HP2)
    gate, B_bar = torch.cat([gate, gate.conj()]), torch.cat([B_bar, B_bar.conj()])
    C, x, outputs = torch.cat([C, C.conj()], dim=1), torch.cat([x, x.conj()], dim=1), []
    for u_BH, reset_B in zip(u_TBH, reset_TB, strict=True):
        x = gate * x * ~reset_B.unsqueeze(1) + (u_BH + 0j) @ B_bar.T
        y = x @ C.T
        assert y.imag.abs().max() < 1e-12
        outputs.append(y.real + layer.D_H * u_BH)
    return torch.stack(outputs), x[:, : layer.state_shape[0]]


def s4d_by_definition(layer, u_TBH, reset_TB, x):
    value = eigenvalues(layer.log_decay, layer.frequency)
    gate, scale = discretise(value, layer.log_step.unsqueeze(1), layer.rule)
    C, outputs = complex_like(layer.C_HN2), []
    for u_BH, reset_B in zip(u_TBH, reset_TB, strict=True):
        x = gate * x * ~reset_B.view(-1, 1, 1) + u_BH.unsqueeze(2)
        outputs.append(2 * (C * scale * x).sum(dim=2).real + layer.D_H * u_BH)
    return torch.stack(outputs), x


VARIANTS = {
    "s5": ("s5", {}),
    "s5 bilinear": ("s5", {"discretisation": "bilinear"}),
    "s4d lin": ("s4d", {}),
    "s4d bilinear": ("s4d", {"discretisation": "bilinear", "mode": "convolution"}),
    "s4d inv": ("s4d", {"init": "inv"}),
    "s4d lin convolution": ("s4d", {"mode": "convolution"}),
    "s4d legs convolution": ("s4d", {"init": "legs", "mode": "convolution"}),
}


def gradients(y_TBH, x, sources):
    """Of a random weighting of the outputs and the final memory."""
    weight = torch.randn(y_TBH.shape, generator=generator(3), dtype=torch.float64)
    end = torch.randn(x.shape, generator=generator(4), dtype=torch.complex128)
    return torch.autograd.grad((y_TBH * weight).sum() + (x * end).sum().real, sources)


@pytest.mark.parametrize(("name", "options"), VARIANTS.values(), ids=VARIANTS.keys())
def test_a_layer_equals_its_definition_in_values_and_gradients(name, options):
    layer = make_layer(name, **options)
    u_TBH, reset_TB, x0 = random_input(layer)
    y_TBH, x = layer.scan(u_TBH, reset_TB, x0)
    definition = s5_by_definition if name == "s5" else s4d_by_definition
    expected, expected_x = definition(layer, u_TBH, reset_TB, x0)
    torch.testing.assert_close(y_TBH, expected, **EXACT)
    torch.testing.assert_close(x, expected_x, **EXACT)
    sources = [u_TBH, x0, *layer.parameters()]
    pairs = zip(gradients(y_TBH, x, sources), gradients(expected, expected_x, sources), strict=True)
    for gradient, expected_gradient in pairs:
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("mode", ["scan", "convolution"])
@pytest.mark.parametrize("cut", [1, 31, 32, T - 1])
def test_s4d_may_be_cut_anywhere_and_carried(mode, cut):
    layer = make_layer("s4d", mode=mode)
    u_TBH, reset_TB, x0 = random_input(layer)
    whole, final = layer.scan(u_TBH, reset_TB, x0)
    first, carried = layer.scan(u_TBH[:cut], reset_TB[:cut], x0)
    second, end = layer.scan(u_TBH[cut:], reset_TB[cut:], carried)
    torch.testing.assert_close(torch.cat([first, second]), whole, **EXACT)
    torch.testing.assert_close(end, final, **EXACT)


def test_no_gradient_crosses_a_reset_in_a_convolution():
    """Exactly none: each stretch is transformed on its own, other worlds' resets included."""
    layer = make_layer("s4d", mode="convolution")
    u_TBH, reset_TB, x0 = random_input(layer)
    reset_TB[:] = False
    reset_TB[9, 1] = True
    y_TBH, _ = layer.scan(u_TBH, reset_TB, x0)
    du_TBH, dx0 = torch.autograd.grad(y_TBH[9:, 1].sum(), (u_TBH, x0))
    assert not du_TBH[:9].any()
    assert not dx0.any()
    assert du_TBH[9, 1].all()


def test_an_s5_layer_by_hand():
    """λ = −1, Δ = ln 2: ā = s = ½. B = 2, C = 1 + 5i, D = 3, and u = 1, 1, from x = 0.

    x = ½·2·1 = 1, then ½·1 + 1 = 1.5. y = 2 Re((1 + 5i) x) + 3u = 5, then 6.
    """
    layer = S5Layer(S5Config(hidden_size=1, state_size=2, blocks=1), HORIZON, generator())
    values = {
        "log_decay": [0.0],
        "frequency": [0.0],
        "log_step": [math.log(math.log(2))],
        "B_PH2": [[[2.0, 0.0]]],
        "C_HP2": [[[1.0, 5.0]]],
        "D_H": [3.0],
    }
    layer.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    blank = torch.zeros(1, 1, dtype=torch.complex64)
    y_TBH, x = layer.scan(torch.ones(2, 1, 1), torch.zeros(2, 1, dtype=torch.bool), blank)
    assert y_TBH.flatten().tolist() == pytest.approx([5.0, 6.0])
    assert x.item() == pytest.approx(1.5)


@pytest.mark.parametrize("config", [S5Config(), S4DConfig()], ids=["s5", "s4d"])
def test_a_default_memory_has_the_common_number_of_parameters(config):
    """74,500 within a twentieth, at the embedding's size of 64."""
    model = config.build(64, generator(), HORIZON)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(74_500, rel=0.05)
    assert 96 <= model.output_size <= 128
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("config", [S5Config(), S4DConfig()], ids=["s5", "s4d"])
def test_the_spectrum_and_the_steps_learn_slowly(config):
    model = config.build(64, generator(), HORIZON)
    slow = {id(p) for p in model.slow_parameters()}
    names = {name.rpartition(".")[2] for name, p in model.named_parameters() if id(p) in slow}
    assert names - {"B_PH2"} == {"log_decay", "frequency", "log_step"}
    assert ("B_PH2" in names) == isinstance(config, S5Config)


def test_a_longer_trial_is_remembered_from_the_start():
    """The slowest channel of a memory built for 20,000 steps outlives that of one built for 100."""
    slowest = [
        S5Config().build(4, generator(), horizon).blocks[0].layer.log_step.min().item()
        for horizon in (100, 20_000)
    ]
    assert slowest[0] >= math.log(1e-3)
    assert math.log(1 / 20_000) <= slowest[1] < math.log(1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S5Config(state_size=30, blocks=4), r"multiple of 2 · blocks = 8, got 30"),
        (lambda: S5Config(discretisation="zho"), r"discretisation 'zho'\. Did you mean 'zoh'"),
        (lambda: S4DConfig(state_size=31), r"state_size must be even, got 31"),
        (
            lambda: S4DConfig(init="leg"),
            r"init 'leg'\. Did you mean 'legs'\? Options: lin, inv, leg",
        ),
        (lambda: S4DConfig(mode="fft"), r"mode 'fft'\. Options: scan, convolution"),
        (lambda: S4DConfig(discretisation="x"), r"discretisation 'x'"),
    ],
)
def test_wrong_choices_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
