"""The Triton scan against the definition in float64: in Triton's interpreter, and where there is a
GPU on it.

Shape legend: T time, B worlds, P channels.
"""

import importlib
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from quickstudy.agents import scan
from quickstudy.agents.scan import diag_scan, scan_with, walk_chunks, walk_steps

pytest.importorskip("triton", reason="pip install triton")

HERE = Path(__file__).parent
KINDS = {
    f"{numbers}-{gate}-{given}": (numbers == "complex", gate == "fixed", given == "bf16")
    for numbers in ("real", "complex")
    for gate in ("fixed", "varying")
    for given in ("f32", "bf16")
}
WHOLE = (4, 1000, 1, 4)
"""Rows of a tile, steps of a chunk, chunks, lanes: one pass."""
B, P = 4, 3
SLOW = pytest.mark.slow


# --- two ways to run it -----------------------------------------------------------------------


def messages():
    """The worker's module, by its path: its functions that send and receive need no Triton."""
    text = (HERE / "interpreted_scan.py").read_text()
    start, end = text.index("def send("), text.index("def answer(")
    scope = {}
    exec("import io\nimport torch\n" + text[start:end], scope)
    return scope["send"], scope["receive"]


@pytest.fixture(scope="module")
def interpreter():
    """The scan in a process of its own, where Triton interprets kernels."""
    send, receive = messages()
    worker = subprocess.Popen(
        [sys.executable, str(HERE / "interpreted_scan.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )

    def run(inputs, arriving, plans=None):
        send(worker.stdin, (inputs, arriving, plans))
        answer = receive(worker.stdout)
        assert answer is not None, "the worker has died; its error stands above"
        return answer

    with worker:
        yield run
        worker.stdin.close()


def on_the_gpu(inputs, arriving, plans=None):
    """The same on the device, compiled."""
    triton_scan = importlib.import_module("quickstudy.agents.triton_scan")
    cut = tuple(triton_scan.Plan(*sizes) for sizes in plans) if plans else None
    there = [t.detach().cuda().requires_grad_(t.requires_grad) for t in inputs]
    x_TBP = triton_scan.triton_scan(*there, cut)
    sources = [tensor for tensor in there if tensor.requires_grad]
    gradients = torch.autograd.grad(x_TBP, sources, arriving.cuda())
    return x_TBP.detach().cpu(), [gradient.cpu() for gradient in gradients]


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=NEEDS_CUDA)])
def run(request):
    return on_the_gpu if request.param == "cuda" else request.getfixturevalue("interpreter")


# --- cases ------------------------------------------------------------------------------------


def random_case(kind, steps, worlds=B, channels=P, seed=0):
    """Gate (of modulus below 1.2), input, what the first step finds, and a gradient of x."""
    is_complex, fixed, half = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex64 if is_complex else torch.float32

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    gate = draw(channels) if fixed else draw(steps, worlds, channels)
    gate = 1.2 * gate / (1 + gate.abs())
    b_TBP = draw(steps, worlds, channels)
    if half:
        b_TBP = (torch.view_as_real(b_TBP) if is_complex else b_TBP).bfloat16()
    case = (gate, b_TBP, draw(worlds, channels))
    return [t.requires_grad_() for t in case], draw(steps, worlds, channels)


def no_reset(steps, worlds=B):
    return torch.zeros(steps, worlds, dtype=torch.bool)


def staggered(steps, worlds=B):
    """World 0 never resets, 1 at the first and last step, 2 twice in a row, 3 at every step."""
    reset_TB = no_reset(steps, worlds)
    reset_TB[0, 1 % worlds] = reset_TB[-1, 1 % worlds] = True
    reset_TB[steps // 2 : steps // 2 + 2, 2 % worlds] = True
    reset_TB[:, 3 % worlds] |= worlds > 3
    return reset_TB


def widened(tensor, like):
    """In double precision; pairs in bfloat16 as complex numbers."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
        tensor = torch.view_as_complex(tensor) if like.is_complex() else tensor
    return tensor.to(torch.complex128 if like.is_complex() else torch.float64)


def reference(case, arriving, reset_TB):
    """In double precision, by the walk that the other tests hold to the definition."""
    wide = [widened(t.detach(), case[0]).requires_grad_() for t in case]
    x_TBP = scan_with(walk_steps, *wide, reset_TB)
    return x_TBP.detach(), torch.autograd.grad(x_TBP, wide, widened(arriving, case[0]))


def assert_equal(answer, expected, case):
    """In single precision; what is handed back in bfloat16, as exactly as that can say it."""
    (x_TBP, gradients), (expected_x, expected_gradients) = answer, expected
    assert x_TBP.dtype == case[0].dtype
    torch.testing.assert_close(widened(x_TBP, case[0]), expected_x, rtol=2e-5, atol=2e-5)
    for source, gradient, wanted in zip(case, gradients, expected_gradients, strict=True):
        assert (gradient.dtype, gradient.shape) == (source.dtype, source.shape)
        # A unit in the last of bfloat16's 8 bits: Triton's interpreter cuts the others off.
        near = {"rtol": 2**-7 if source.dtype == torch.bfloat16 else 2e-5, "atol": 5e-5}
        torch.testing.assert_close(widened(gradient, case[0]), wanted, **near)


# --- tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_equals_the_definition_in_values_and_gradients(run, kind):
    """9 steps: two tiles of 4 and one of 1; 3 channels of 4 lanes."""
    case, arriving = random_case(kind, 9)
    reset_TB = staggered(9)
    answer = run([*case, reset_TB], arriving, (WHOLE, WHOLE))
    assert_equal(answer, reference(case, arriving, reset_TB), case)


@pytest.mark.parametrize(
    "kind", ["real-fixed-f32", "real-varying-bf16", "complex-fixed-bf16", "complex-varying-f32"]
)
def test_chunks_equal_the_definition_in_values_and_gradients(run, kind):
    """11 steps in chunks of 4, of tiles of 2; the last has 3 steps. One world resets mid-chunk."""
    case, arriving = random_case(kind, 11, worlds=3)
    reset_TB = staggered(11, worlds=3)
    cut = (2, 4, 3, 4)
    answer = run([*case, reset_TB], arriving, (cut, cut))
    assert_equal(answer, reference(case, arriving, reset_TB), case)


def test_chunks_join_across_several_tiles_of_what_is_known_of_them(run):
    """10 chunks of one step each, joined two at a time on the way."""
    case, arriving = random_case("real-fixed-f32", 10, worlds=1)
    reset_TB = no_reset(10, 1)
    reset_TB[4] = True
    cut = (8, 1, 10, 4)
    answer = run([*case, reset_TB], arriving, (cut, cut))
    assert_equal(answer, reference(case, arriving, reset_TB), case)


@pytest.mark.parametrize("kind", ["real-varying-f32", "complex-fixed-f32"])
@pytest.mark.parametrize(("steps", "worlds"), [(1, 3), (2, 1)])
def test_short_sequences_and_single_worlds(run, kind, steps, worlds):
    case, arriving = random_case(kind, steps, worlds)
    reset_TB = staggered(steps, worlds)
    answer = run([*case, reset_TB], arriving, (WHOLE, WHOLE))
    assert_equal(answer, reference(case, arriving, reset_TB), case)


@pytest.mark.parametrize("kind", ["real-fixed-f32", "complex-varying-f32"])
def test_at_the_sizes_it_chooses_itself(run, kind):
    """37 channels: a full warp and five lanes of another."""
    case, arriving = random_case(kind, 70, worlds=1, channels=37)
    reset_TB = no_reset(70, 1)
    reset_TB[[0, 33, 69]] = True
    assert_equal(run([*case, reset_TB], arriving), reference(case, arriving, reset_TB), case)


@pytest.mark.parametrize("cut", [pytest.param(1, marks=SLOW), 5, pytest.param(8, marks=SLOW)])
def test_may_be_cut_anywhere_and_carried(run, cut):
    (gate, b_TBP, x0_BP), arriving = random_case("complex-fixed-f32", 9)
    reset_TB, plans = staggered(9), (WHOLE, WHOLE)
    whole, _ = run([gate, b_TBP, x0_BP, reset_TB], arriving, plans)
    first, _ = run([gate, b_TBP[:cut].detach(), x0_BP, reset_TB[:cut]], arriving[:cut], plans)
    second, _ = run([gate, b_TBP[cut:].detach(), first[-1], reset_TB[cut:]], arriving[cut:], plans)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunks", [WHOLE, (2, 2, 5, 4)], ids=["one pass", "chunks"])
def test_a_reset_ends_even_what_is_not_finite(run, chunks):
    """Nothing infinite is left in x, nor in the gradients of what came after."""
    (gate, b_TBP, x0_BP), arriving = random_case("complex-fixed-f32", 9)
    reset_TB = no_reset(9)
    reset_TB[5] = True
    spoilt = torch.full_like(x0_BP, math.inf).detach().requires_grad_()
    x_TBP, (_, db_TBP, _) = run([gate, b_TBP, spoilt, reset_TB], arriving, (chunks, chunks))
    case = [gate, b_TBP, torch.zeros_like(x0_BP).requires_grad_()]
    expected, (_, expected_db, _) = reference(case, arriving, reset_TB)
    assert not x_TBP[:5].isfinite().any()
    torch.testing.assert_close(x_TBP[5:], expected[5:].to(x_TBP.dtype), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(db_TBP, expected_db.to(db_TBP.dtype), rtol=1e-5, atol=1e-5)


def test_strides_and_lazy_conjugates_are_resolved(run):
    """Channels in the second place, a gradient that is a view of one number, a conjugated gate."""
    (gate, b_TBP, x0_BP), _ = random_case("complex-fixed-f32", 5)
    inputs = [gate.detach().conj(), b_TBP.detach().permute(2, 0, 1), x0_BP.detach()]
    strided = [inputs[0], inputs[1].contiguous().permute(1, 2, 0), inputs[2]]
    case = [tensor.requires_grad_() for tensor in strided]
    arriving = torch.ones((), dtype=torch.complex64).expand(5, B, P)
    answer = run([*case, staggered(5)], arriving, (WHOLE, WHOLE))
    assert_equal(answer, reference(case, arriving, staggered(5)), case)


def test_a_case_by_hand(run):
    """Gate ½, input 1, 2, 4, 8, found 6; a reset before the third step (see test_scan.py).

    x = 4, 4, 4, 10; with the gradient 1 at each, of the input 1.5, 1, 1.5, 1, of the found 0.75 and
    of the gate 17.
    """
    gate = torch.tensor([0.5], requires_grad=True)
    b_TBP = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(4, 1, 1).requires_grad_()
    x0_BP = torch.tensor([[6.0]], requires_grad=True)
    reset_TB = torch.tensor([[False], [False], [True], [False]])
    x_TBP, (dgate, db_TBP, dx0_BP) = run([gate, b_TBP, x0_BP, reset_TB], torch.ones(4, 1, 1))
    assert x_TBP.flatten().tolist() == [4.0, 4.0, 4.0, 10.0]
    assert db_TBP.flatten().tolist() == [1.5, 1.0, 1.5, 1.0]
    assert (dx0_BP.item(), dgate.item()) == (0.75, 17.0)


# --- how time is cut --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("T", "worlds", "channels", "words", "expected"),
    [
        # 8192 channels: one pass. A complex number is two words: 32 rows on their way.
        (1024, 64, 128, 2, (32, 1024, 1)),
        # 32 warps: 1024 / 32 = 32 chunks would be of one tile; two at least make 16 of 64 steps.
        (1024, 8, 128, 2, (32, 64, 16)),
        # 8192 steps in 32 chunks of 256.
        (8192, 8, 128, 2, (32, 256, 32)),
        # Too short for two chunks of two tiles.
        (100, 8, 128, 2, (32, 128, 1)),
        # 16 worlds of 40 channels are 32 warps; 400 steps hold 6 times 64: chunks of 96, so 5.
        (400, 16, 40, 2, (32, 96, 5)),
        # Three complex arrays are 6 words: 64 / 6 → 10 → 8 rows.
        (64, 64, 128, 6, (8, 64, 1)),
    ],
)
def test_the_plan_by_hand(T, worlds, channels, words, expected):
    chosen = importlib.import_module("quickstudy.agents.triton_scan").plan(
        T, worlds, channels, words
    )
    assert (chosen.rows, chosen.length, chosen.chunks) == expected
    assert chosen.length * (chosen.chunks - 1) < T <= chosen.length * chosen.chunks


# --- it compiles, without a GPU at hand ---------------------------------------------------------


KERNELS = ["walk", pytest.param("walk_back", marks=SLOW)]


@pytest.mark.parametrize("name", [*KERNELS, pytest.param("summarise", marks=SLOW)])
@pytest.mark.parametrize("kind", ["complex-fixed-f32", *[
    pytest.param(kind, marks=SLOW) for kind in KINDS if kind != "complex-fixed-f32"
]])  # fmt: skip
def test_it_compiles_for_hopper_with_time_in_each_threads_registers(name, kind):
    """What only the compiler can say: the language is legal, a tile's rows lie in one thread (the
    layout that makes the scan a plain recurrence), and nothing is spilled from the registers."""
    compiled = compile_for_hopper(name, *KINDS[kind])
    layout = "sizePerThread = [1, 1], threadsPerWarp = [1, 32], warpsPerCTA = [1, 1]"
    assert layout in compiled.asm["ttgir"]
    assert "threadsPerWarp = [2, 16]" not in compiled.asm["ttgir"]
    assert "tt.scan" in compiled.asm["ttgir"]
    assert ".local" not in compiled.asm["ptx"]


def compile_for_hopper(name, is_complex, fixed, half):
    """As it is launched at (B, P) = (64, 128), in chunks."""
    compiler = importlib.import_module("triton.compiler")
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", 90, 32)
    triton_scan = importlib.import_module("quickstudy.agents.triton_scan")
    kernel = getattr(importlib.import_module("quickstudy.agents.scan_kernels"), name)
    arrays = (2 if name == "walk_back" else 1) + (not fixed)
    rows = triton_scan.plan(1024, 64, 128, arrays * (1 + is_complex)).rows
    constants = {
        "B": 64,
        "P": 128,
        "VARYING": not fixed,
        "COMPLEX": is_complex,
        "HALF": half,
        "CHUNKED": True,
        "BACKWARD": False,
        "K": rows,
        "J": rows // 4,
        "L": triton_scan.LANES,
    }
    word = "*i64" if is_complex else "*fp32"
    half_word = ("*i32" if is_complex else "*bf16") if half else word
    signature, places, aligned = {}, {}, {}
    for place, argument in enumerate(kernel.arg_names):
        if argument in constants:
            signature[argument], places[place,] = "constexpr", constants[argument]
        elif argument in ("T", "length"):
            signature[argument] = "i32"
        else:
            kinds = {"reset": "*u8", "b": half_word, "db": half_word}
            signature[argument] = kinds.get(argument, word)
            aligned[place,] = [["tt.divisibility", 16]]
    source = compiler.ASTSource(kernel, signature, places, aligned)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Triton's own
        return compiler.compile(source, target, {"num_warps": 1, "num_stages": 1})


# --- who takes it -----------------------------------------------------------------------------


class OnCUDA:
    """A tensor as `diag_scan` sees it, but that it seems to be on a GPU."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __getattr__(self, name):
        return torch.device("cuda") if name == "device" else getattr(self.tensor, name)


@pytest.fixture
def unasked():
    scan._kernel.cache_clear()
    yield
    scan._kernel.cache_clear()


def test_on_cuda_the_kernel_is_taken(unasked):
    assert scan._kernel() is importlib.import_module("quickstudy.agents.triton_scan").triton_scan


def test_without_triton_it_walks_in_chunks_and_says_so_once(unasked, monkeypatch):
    monkeypatch.setitem(sys.modules, "quickstudy.agents.triton_scan", None)
    (gate, b_TBP, x0_BP), _ = random_case("real-fixed-f32", 9)
    monkeypatch.setattr(scan, "_widened", lambda b_TBP, gate: b_TBP.tensor)
    with pytest.warns(UserWarning, match="Triton is not installed.*pip install triton"):
        x_TBP = diag_scan(gate, OnCUDA(b_TBP), x0_BP, staggered(9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = diag_scan(gate, OnCUDA(b_TBP), x0_BP, staggered(9))
    expected = scan_with(walk_chunks, gate, b_TBP, x0_BP, staggered(9))
    assert torch.equal(x_TBP, expected)
    assert torch.equal(again, expected)


@pytest.mark.parametrize("kind", ["real-varying-bf16", "complex-fixed-bf16"])
def test_bfloat16_on_the_cpu_is_widened(kind):
    case, arriving = random_case(kind, 9)
    x_TBP = diag_scan(*case, staggered(9))
    gradients = torch.autograd.grad(x_TBP, case, arriving)
    assert_equal((x_TBP.detach(), gradients), reference(case, arriving, staggered(9)), case)


def test_bfloat16_must_come_beside_single_precision():
    (gate, b_TBP, x0_BP), _ = random_case("complex-fixed-bf16", 9)
    with pytest.raises(ValueError, match=r"gate must be torch\.complex64 of shape \(3,\)"):
        diag_scan(gate.to(torch.complex128), b_TBP, x0_BP, staggered(9))
    with pytest.raises(ValueError, match=r"gate must be torch\.float32"):
        diag_scan(gate.real.bfloat16(), b_TBP[..., 0], x0_BP.real, staggered(9))
