"""Properties of every registered memory: add a line to `MODELS` and it is tested here.

Shape legend: T time, B worlds, D features.
"""

import ast
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from quickstudy.agents import models
from quickstudy.agents.models import MODELS, GRUConfig, ModelConfig
from quickstudy.agents.sequence_model import SequenceModel, State

# Long enough for models that work in blocks of steps (of 16, say) to begin a third one.
T, B, D = 37, 5, 3
PAST = 3
"""Inputs that a random memory has read."""
HORIZON = 100
"""Steps of the trials the models are built for; longer than any here."""
# In float64 fast scan and reference differ by the order of summation alone (measured: 1e-15).
EXACT = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=list(MODELS))
def model(request) -> SequenceModel:
    """Each registered memory at its default size, in float64."""
    generator = torch.Generator().manual_seed(0)
    return MODELS[request.param]().build(D, generator, HORIZON).double()


def blank_state(model: SequenceModel, batch: int = B) -> State:
    return double(model.initial_state(batch))


def double(state: State) -> State:
    """In float64, where a memory does not count or point."""
    return tuple(rows.double() if rows.is_floating_point() else rows for rows in state)


def random_state(model: SequenceModel, seed: int = 1) -> State:
    """A memory that has read a few random inputs, leaves of the graph."""
    x_TBD = torch.randn(PAST, B, D, generator=_generator(seed), dtype=torch.float64)
    _, state = model.scan(x_TBD, torch.zeros(PAST, B, dtype=torch.bool), blank_state(model))
    return tuple(leaf(rows) for rows in state)


def leaf(rows: Tensor) -> Tensor:
    return rows.detach().clone().requires_grad_(rows.is_floating_point())


def differentiable(state: State) -> list[Tensor]:
    return [rows for rows in state if rows.is_floating_point()]


def random_input(seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x_TBD = torch.randn(T, B, D, generator=generator, dtype=torch.float64)
    return x_TBD.requires_grad_()


def staggered_resets() -> Tensor:
    """World 0 never resets, 1 at the start, 2 at the end, 3 twice in a row, 4 often."""
    reset_TB = torch.zeros(T, B, dtype=torch.bool)
    reset_TB[0, 1] = True
    reset_TB[T - 1, 2] = True
    reset_TB[15:17, 3] = True
    reset_TB[::3, 4] = True
    return reset_TB


def never() -> Tensor:
    return torch.zeros(T, B, dtype=torch.bool)


def steps(model: SequenceModel, x_TBD: Tensor, reset_TB: Tensor, state: State):
    """T calls of `step`, written out once more so that the base class's loop is checked too."""
    outputs = []
    for t in range(len(x_TBD)):
        y_BD, state = model.step(x_TBD[t], reset_TB[t], state)
        outputs.append(y_BD)
    return torch.stack(outputs), state


def reference(model: SequenceModel, x_TBD: Tensor, reset_TB: Tensor, state: State):
    return SequenceModel._scan(model, x_TBD, reset_TB, state)


def fast(model: SequenceModel, x_TBD: Tensor, reset_TB: Tensor, state: State):
    return model.scan(x_TBD, reset_TB, state)


def evaluate(run, model: SequenceModel, reset_TB: Tensor):
    """Outputs and final memory, and the gradients of a random weighting of both."""
    x_TBD, state = random_input(), random_state(model)
    y_TBD, final = run(model, x_TBD, reset_TB, state)
    generator = torch.Generator().manual_seed(3)
    loss = torch.zeros((), dtype=torch.float64)
    for tensor in (y_TBD, *differentiable(final)):
        loss = loss + (torch.randn(tensor.shape, generator=generator).double() * tensor).sum()
    sources = {"input": x_TBD, **dict(model.named_parameters())}
    sources |= {f"state {i}": rows for i, rows in enumerate(differentiable(state))}
    gradients = torch.autograd.grad(loss, list(sources.values()))
    values = {"output": y_TBD} | {f"final {i}": rows for i, rows in enumerate(final)}
    return values, dict(zip(sources, gradients, strict=True))


@pytest.mark.parametrize("slow", [steps, reference], ids=["steps", "base class"])
def test_scan_equals_steps_in_values_and_gradients_with_staggered_resets(model, slow):
    reset_TB = staggered_resets()
    values, gradients = evaluate(fast, model, reset_TB)
    slow_values, slow_gradients = evaluate(slow, model, reset_TB)
    for name, expected in slow_values.items():
        torch.testing.assert_close(
            values[name], expected, **EXACT, msg=lambda m, n=name: f"{n}: {m}"
        )
    for name, expected in slow_gradients.items():
        torch.testing.assert_close(
            gradients[name], expected, **EXACT, msg=lambda m, n=name: f"gradient of {n}: {m}"
        )
        assert expected.abs().max() > 0, f"the loss does not depend on {name}: nothing was tested"


def test_gradients_do_not_cross_a_reset(model):
    """What a world learns after its reset says nothing about its input before."""
    x_TBD, state, reset_TB = random_input(), random_state(model), never()
    reset_TB[4, 1] = True
    y_TBD, _ = model.scan(x_TBD, reset_TB, state)
    (gradient_TBD,) = torch.autograd.grad(y_TBD[4:, 1].sum(), x_TBD)
    assert gradient_TBD[:4].abs().max() == 0
    assert gradient_TBD[4, 1].abs().max() > 0


@pytest.mark.parametrize("cut", [1, 5, 16, 17, T - 1])
def test_scan_may_be_split_anywhere_and_carried(model, cut):
    x_TBD, state, reset_TB = random_input(), random_state(model), staggered_resets()
    whole_TBD, whole_final = model.scan(x_TBD, reset_TB, state)
    first_TBD, carried = model.scan(x_TBD[:cut], reset_TB[:cut], state)
    second_TBD, final = model.scan(x_TBD[cut:], reset_TB[cut:], carried)
    torch.testing.assert_close(torch.cat([first_TBD, second_TBD]), whole_TBD, **EXACT)
    for rows, whole_rows in zip(final, whole_final, strict=True):
        torch.testing.assert_close(rows, whole_rows, **EXACT)


def test_a_reset_is_a_fresh_start(model):
    """The outputs from a reset on are those of a blank memory that starts there."""
    x_TBD, reset_TB = random_input(), never()
    reset_TB[4] = True
    y_TBD, final = model.scan(x_TBD, reset_TB, random_state(model))
    fresh_TBD, fresh_final = model.scan(x_TBD[4:], never()[4:], blank_state(model))
    torch.testing.assert_close(y_TBD[4:], fresh_TBD, **EXACT)
    for rows, fresh_rows in zip(final, fresh_final, strict=True):
        torch.testing.assert_close(rows, fresh_rows, **EXACT)


def test_without_a_reset_a_memory_remembers(model):
    """The first input and the incoming state reach the last output, unless there is no state.

    Where a model says that its outputs span fewer inputs, they reach the last output that they can,
    and no later one.
    """
    x_TBD, state = random_input(), random_state(model)
    if not state:
        pytest.skip("no state: nothing to remember")
    y_TBD, _ = model.scan(x_TBD, never(), state)
    span = T + PAST if model.span is None else min(model.span, T + PAST)
    last = min(T, span - 1) - 1  # spans every input from the first on, and some of the state
    sources = torch.autograd.grad(
        y_TBD[last].square().sum(), [x_TBD, *differentiable(state)], retain_graph=True
    )
    assert sources[0][0].abs().amax(dim=-1).min() > 0
    assert all(rows.abs().amax() > 0 for rows in sources[1:])
    (gradient_TBD,) = torch.autograd.grad(y_TBD[-1].square().sum(), x_TBD)
    assert gradient_TBD[: max(0, T - span)].abs().sum() == 0


@pytest.mark.parametrize("run", [steps, fast], ids=["step", "scan"])
def test_a_reset_at_the_first_step_ignores_the_incoming_state(model, run):
    x_TBD, reset_TB = random_input(), never()
    reset_TB[0] = True
    huge = tuple(1e6 * rows if rows.is_floating_point() else rows for rows in random_state(model))
    y_TBD, _ = run(model, x_TBD, reset_TB, huge)
    fresh_TBD, _ = run(model, x_TBD, never(), blank_state(model))
    assert torch.equal(y_TBD, fresh_TBD)


def test_outputs_are_causal(model):
    """Nothing before step 5 knows of step 5."""
    x_TBD, state = random_input(), random_state(model)
    y_TBD, _ = model.scan(x_TBD, staggered_resets(), state)
    changed_TBD = x_TBD.detach().clone()
    changed_TBD[5:] += 1.0
    z_TBD, _ = model.scan(changed_TBD, staggered_resets(), state)
    assert torch.equal(y_TBD[:5], z_TBD[:5])
    assert not torch.equal(y_TBD[5], z_TBD[5])


def test_worlds_do_not_mix(model):
    """Another world's input, reset or memory changes nothing here, and gets no gradient."""
    x_TBD, state = random_input(), random_state(model)
    y_TBD, _ = model.scan(x_TBD, never(), state)
    (gradient_TBD, *gradients) = torch.autograd.grad(
        y_TBD[:, 1].sum(), [x_TBD, *differentiable(state)]
    )
    others = [b for b in range(B) if b != 1]
    assert gradient_TBD[:, others].abs().max() == 0
    assert all(rows[others].abs().max() == 0 for rows in gradients)
    changed_TBD, reset_TB = x_TBD.detach().clone(), never()
    changed_TBD[:, others] *= -2.0
    reset_TB[3, others] = True
    z_TBD, _ = model.scan(changed_TBD, reset_TB, state)
    torch.testing.assert_close(z_TBD[:, 1], y_TBD[:, 1], **EXACT)


def test_a_blank_state_is_zeros_with_the_batch_first(model):
    for batch in (1, 7):
        state = model.initial_state(batch)
        assert isinstance(state, tuple)
        for rows in state:
            assert rows.shape[0] == batch
            assert not rows.any()
    _, final = model.scan(random_input(), staggered_resets(), random_state(model))
    assert [rows.shape for rows in final] == [rows.shape for rows in model.initial_state(B)]


def test_a_scan_of_one_step_is_a_step(model):
    x_TBD, state, reset_TB = random_input()[:1], random_state(model), staggered_resets()[:1]
    y_TBD, final = model.scan(x_TBD, reset_TB, state)
    y_BD, stepped = model.step(x_TBD[0], reset_TB[0], state)
    assert y_TBD.shape == (1, B, model.output_size)
    torch.testing.assert_close(y_TBD[0], y_BD, **EXACT)
    for rows, stepped_rows in zip(final, stepped, strict=True):
        torch.testing.assert_close(rows, stepped_rows, **EXACT)


def test_a_reset_at_every_step_leaves_no_memory(model):
    """Each output is that of a blank memory which reads this one input."""
    x_TBD = random_input()
    y_TBD, _ = model.scan(x_TBD, torch.ones(T, B, dtype=torch.bool), random_state(model))
    for t in (0, 1, 16, T - 1):
        alone_BD, _ = model.step(x_TBD[t], never()[0], blank_state(model))
        torch.testing.assert_close(y_TBD[t], alone_BD, **EXACT)


def test_a_batch_of_one_is_a_row_of_a_larger_one(model):
    x_TBD, state = random_input(), random_state(model)
    whole_TBD, _ = model.scan(x_TBD, staggered_resets(), state)
    one = tuple(rows[3:4] for rows in state)
    alone_TBD, _ = model.scan(x_TBD[:, 3:4], staggered_resets()[:, 3:4], one)
    torch.testing.assert_close(alone_TBD, whole_TBD[:, 3:4], **EXACT)


def test_inputs_of_zeros_are_inputs_like_any_other(model):
    """No value marks padding: zeros are read, and counted, as everything else is."""
    zeros_TBD = torch.zeros(T, B, D, dtype=torch.float64)
    y_TBD, final = model.scan(zeros_TBD, staggered_resets(), random_state(model))
    z_TBD, stepped = steps(model, zeros_TBD, staggered_resets(), random_state(model))
    assert y_TBD.isfinite().all()
    torch.testing.assert_close(y_TBD, z_TBD, **EXACT)
    for rows, stepped_rows in zip(final, stepped, strict=True):
        torch.testing.assert_close(rows, stepped_rows, **EXACT)


def test_a_memory_saved_within_a_trial_goes_on_where_it_was(model, tmp_path):
    x_TBD, reset_TB = random_input().detach(), staggered_resets()
    with torch.no_grad():
        whole_TBD, _ = steps(model, x_TBD, reset_TB, blank_state(model))
        _, state = steps(model, x_TBD[:20], reset_TB[:20], blank_state(model))
        torch.save(list(state), tmp_path / "state.pt")
        restored = tuple(torch.load(tmp_path / "state.pt", weights_only=True))
        rest_TBD, _ = steps(model, x_TBD[20:], reset_TB[20:], restored)
    assert torch.equal(rest_TBD, whole_TBD[20:])


def test_a_call_leaves_the_incoming_state_as_it_was(model):
    """State is an argument: a rollout keeps the one it began with (see `SequenceModel`)."""
    state = tuple(rows.detach() for rows in random_state(model))
    before = [rows.clone() for rows in state]
    model.step(random_input()[0], staggered_resets()[0], state)
    model.scan(random_input(), staggered_resets(), state)
    with torch.no_grad():
        model.scan(random_input(), staggered_resets(), state)
    assert all(torch.equal(rows, old) for rows, old in zip(state, before, strict=True))


def test_steps_without_gradients_equal_steps_with_them(model):
    """Where gradients are off, a memory may be written into, and discretisation kept."""
    x_TBD, reset_TB = random_input(), staggered_resets()
    expected, expected_final = steps(model, x_TBD, reset_TB, random_state(model))
    with torch.no_grad():
        y_TBD, final = steps(model, x_TBD, reset_TB, random_state(model))
    torch.testing.assert_close(y_TBD, expected.detach(), **EXACT)
    for rows, expected_rows in zip(final, expected_final, strict=True):
        torch.testing.assert_close(rows, expected_rows.detach(), **EXACT)


def test_what_was_learned_is_used_at_once(model):
    """Nothing computed from the parameters outlives them."""
    x_TBD = random_input().detach()
    with torch.no_grad():
        before, _ = steps(model, x_TBD, never(), random_state(model))
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=_generator(4)))
        after, _ = steps(model, x_TBD, never(), random_state(model))
        scanned, _ = model.scan(x_TBD, never(), random_state(model))
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, scanned, **EXACT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, r, s: (x[..., :-1], r, s), rf"x_TBD must be float of shape \({T}, {B}, {D}\)"),
        (lambda x, r, s: (x.long(), r, s), r"x_TBD must be float .* got torch\.int64"),
        (lambda x, r, s: (x, r[:, :-1], s), rf"reset_TB must be bool of shape \({T}, {B}\)"),
        (lambda x, r, s: (x, r.float(), s), r"reset_TB must be bool .* got torch\.float32"),
    ],
)
def test_wrong_shapes_and_types_name_the_tensor(model, change, message):
    arguments = change(random_input().detach(), never(), blank_state(model))
    with pytest.raises(ValueError, match=message):
        model.scan(*arguments)


def test_a_memory_of_another_batch_is_refused(model):
    state = blank_state(model, B + 1)
    if not state:
        pytest.skip("no state")
    with pytest.raises(ValueError, match=rf"state\[0\] must be .*\({B}, …\)"):
        model.step(random_input()[0], never()[0], state)


def test_slow_parameters_are_some_of_the_models_own(model):
    own = {id(parameter) for parameter in model.parameters()}
    assert all(id(parameter) in own for parameter in model.slow_parameters())


def test_weights_are_a_function_of_the_generator(model):
    """Same seed, same weights; another seed, other weights; the global generator is not used."""
    (config,) = [
        c for c in MODELS.values() if type(c().build(D, _generator(0), HORIZON)) is type(model)
    ]
    before = torch.get_rng_state()
    first, again, other = (config().build(D, _generator(seed), HORIZON) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(p, q) for p, q, _ in pairs)
    assert any(not torch.equal(p, r) for p, _, r in pairs)


def test_the_gru_scan_passes_gradcheck():
    """Its hand-written backward agrees with finite differences."""
    gru = GRUConfig(hidden_size=3).build(2, _generator(0), HORIZON).double()
    reset_TB = torch.zeros(18, 2, dtype=torch.bool)
    reset_TB[0, 1] = reset_TB[7, 0] = reset_TB[16, 1] = True
    x_TBD = torch.randn(18, 2, 2, generator=_generator(1), dtype=torch.float64).requires_grad_()
    y_BH = torch.randn(2, 3, generator=_generator(2), dtype=torch.float64).requires_grad_()
    names, parameters = zip(*gru.named_parameters(), strict=True)

    def scan(x, y, *weights):
        arguments = (x, reset_TB, (y,))
        return torch.func.functional_call(_Scan(gru), _below("model", names, weights), arguments)

    assert torch.autograd.gradcheck(scan, (x_TBD, y_BH, *parameters))


def test_every_memorys_width_can_be_chosen():
    """By `hidden_size`, which is its output's size: what `quickstudy train … --width` sets."""
    for config in MODELS.values():
        assert config(hidden_size=48).build(D, _generator(0), HORIZON).output_size == 48


def test_every_model_file_has_its_line_in_the_registry():
    missing = missing_lines(Path(models.__file__).parent, MODELS)
    assert not missing, "add to MODELS in agents/models/__init__.py:\n" + "\n".join(missing)


def test_an_unregistered_model_file_is_named_with_its_missing_line(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "gru.py").write_text("class GRUConfig: ...")
    (tmp_path / "elman.py").write_text("class ElmanConfig: ...\nclass Elman: ...")
    assert missing_lines(tmp_path, MODELS) == ['    "elman": ElmanConfig,']


def test_the_config_type_lists_exactly_the_registered_models():
    """`ModelConfig` is what the command line offers: a model missing there cannot be chosen."""
    assert set(get_args(ModelConfig)) == set(MODELS.values())


def missing_lines(folder: Path, registry: dict[str, type]) -> list[str]:
    """The lines of `MODELS` that the model files in `folder` lack."""
    registered = {config.__name__ for config in registry.values()}
    lines = []
    for file in sorted(folder.glob("[!_]*.py")):
        classes = [n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef)]
        configs = [name for name in classes if name.endswith("Config")]
        assert configs, f"{file.name} holds no class named …Config"
        lines += [f'    "{file.stem}": {name},' for name in configs if name not in registered]
    return lines


class _Scan(torch.nn.Module):
    """A model whose forward pass is its scan, for `functional_call`."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> Tensor:
        return self.model.scan(x_TBD, reset_TB, state)[0]


def _below(prefix: str, names, weights) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": weight for name, weight in zip(names, weights, strict=True)}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
