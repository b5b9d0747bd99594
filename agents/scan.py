"""The diagonal linear recurrence with resets, and its gradients.

    x_t = gate_t ⊙ (0 where reset_t, else x_{t−1}) + b_t,    x_{−1} = x0

It is all that S5, S4D, LRU or minGRU do over time. Let g be the gradient that arrives at x; that of
the loss is G_t = g_t + keep_{t+1} conj(gate_{t+1}) G_{t+1}: the same recurrence, backwards in time.
From it, db = G, dx0 = keep_0 conj(gate_0) G_0, dgate_t = keep_t G_t conj(x_{t−1}).

Numbers are real or complex. One complex multiply-add per step is less than half as slow on the CPU
as its planar form, and a real matrix product with interleaved rows yields complex numbers for free.
The input alone may come in bfloat16, from a matrix product; gates and states never do.

Shape legend: T time, B worlds, P channels (one dimension or several), C chunks of K steps,
L steps of a block.
"""

import importlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Walk = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, bool], None]
"""Runs the recurrence: (gate, b, x0, reset, out, backwards)."""


Scan = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""`diag_scan`, unchecked, as one differentiable function."""


def diag_scan(gate: Tensor, b_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor) -> Tensor:
    """Run the recurrence: by a Triton kernel on CUDA, else step by step or in chunks.

    Args:
        gate: `(P,)`, the same at each step, or `(T, B, P)`.
        b_TBP: the input; of the gate's type, or bfloat16 beside a gate of single precision, where
            complex numbers are pairs `(T, B, P, 2)`.
        x0_BP: what the first step finds.
        reset_TB: bool; where True a step finds zeros instead of what came before.

    Returns:
        x: what each step leaves, of the gate's type.

    Raises:
        ValueError: naming the tensor whose shape or type does not fit.
    """
    _check(gate, b_TBP, x0_BP, reset_TB)
    kernel = _kernel() if b_TBP.device.type == "cuda" and gate.dtype in _SINGLE else None
    if kernel is not None:
        return kernel(gate, b_TBP, x0_BP, reset_TB)
    return scan_with(_faster_walk(b_TBP), gate, _widened(b_TBP, gate), x0_BP, reset_TB)


_SINGLE = (torch.float32, torch.complex64)


@cache
def _kernel() -> Scan | None:
    """The scan in Triton; without Triton None, and (at the first call) a warning."""
    try:
        triton_scan: Scan = importlib.import_module("quickstudy.agents.triton_scan").triton_scan
    except ImportError:
        warnings.warn(
            "Triton is not installed: scans on CUDA take the path of some 8 √T operations, several "
            "times slower than the kernel. pip install triton",
            stacklevel=3,
        )
        return None
    return triton_scan


def _faster_walk(b_TBP: Tensor) -> Walk:
    """On the CPU chunks pay while a step is less work than the call that does it."""
    T, B, *P = b_TBP.shape
    small = T >= 128 and B * math.prod(P) <= 2048  # measured, on two cores, for every kind of gate
    return walk_chunks if small or b_TBP.device.type != "cpu" else walk_steps


def _widened(b_TBP: Tensor, gate: Tensor) -> Tensor:
    """The input in the gate's type."""
    if b_TBP.dtype != torch.bfloat16:
        return b_TBP
    wide = b_TBP.to(torch.float32)
    return torch.view_as_complex(wide) if gate.is_complex() else wide


def scan_with(walk: Walk, gate: Tensor, b_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor) -> Tensor:
    """`diag_scan` by a given walk, unchecked."""
    x_TBP: Tensor = _DiagonalScan.apply(  # type: ignore[no-untyped-call]  # torch has no types here
        walk, gate, b_TBP, x0_BP, reset_TB
    )
    return x_TBP


class _DiagonalScan(torch.autograd.Function):
    """The recurrence and its hand-written gradient, whatever the walk."""

    @staticmethod
    def forward(
        ctx: Any, walk: Walk, gate: Tensor, b_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor
    ) -> Tensor:
        x_TBP = b_TBP.new_empty(b_TBP.shape)
        walk(gate, b_TBP, x0_BP, reset_TB, x_TBP, False)
        ctx.walk = walk
        ctx.save_for_backward(gate, x_TBP, x0_BP, reset_TB)
        return x_TBP

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_TBP: Tensor) -> tuple[None, Tensor | None, Tensor, Tensor, None]:
        gate, x_TBP, x0_BP, reset_TB = ctx.saved_tensors
        fixed = gate.ndim < x_TBP.ndim
        # Fixed gates are conjugated once; others lazily, step by step, where they are used.
        adjoint = gate.conj().resolve_conj() if fixed else gate.conj()
        later = adjoint if fixed else adjoint[1:]
        db_TBP = g_TBP.new_empty(g_TBP.shape)
        db_TBP[-1] = g_TBP[-1]
        ctx.walk(later, g_TBP[:-1], db_TBP[-1], reset_TB[1:], db_TBP[:-1], True)
        dx0_BP = _blank(db_TBP[0] * (adjoint if fixed else adjoint[0]), reset_TB[0])
        gradient_of_gate = _gradient_of_fixed_gate if fixed else _gradient_of_gate
        dgate = (
            gradient_of_gate(db_TBP, x_TBP, x0_BP, reset_TB) if ctx.needs_input_grad[1] else None
        )
        return None, dgate, db_TBP, dx0_BP, None


def walk_steps(
    gate: Tensor, b_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor, out_TBP: Tensor, backwards: bool
) -> None:
    """One step at a time: an operation each, and another one where a world resets."""
    T = len(b_TBP)
    # Unbound once: to index a tensor costs more than the step itself.
    gates = [gate] * T if gate.ndim < b_TBP.ndim else gate.unbind()
    inputs, outputs, some_reset_T = b_TBP.unbind(), out_TBP.unbind(), reset_TB.any(dim=1).tolist()
    x_BP = x0_BP
    for t in _order(T, backwards):
        if some_reset_T[t]:
            x_BP = _blank(x_BP, reset_TB[t])
        x_BP = torch.addcmul(inputs[t], gates[t], x_BP, out=outputs[t])


def walk_chunks(
    gate: Tensor, b_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor, out_TBP: Tensor, backwards: bool
) -> None:
    """Some 8√T larger operations instead of T, and no wait for the device.

    The chunks walk side by side from zero to find what each adds; then it is known, one after the
    other, what each finds; from there they walk again. What fills no chunk is one more, on its own.
    """
    x_BP = x0_BP
    for part, C, K in _parts(len(b_TBP), backwards):
        inputs, resets, outputs = (_columns(row[part], C, K) for row in (b_TBP, reset_TB, out_TBP))
        gates = [gate] * K if gate.ndim < b_TBP.ndim else _columns(gate[part], C, K)
        columns = zip(gates, inputs, _where_some(resets), outputs, strict=True)
        steps = list(columns)[:: -1 if backwards else 1]
        some_reset_CB = reset_TB[part].view(C, K, -1).any(dim=1)
        ends_CBP = _walk_together(steps, _found(steps, some_reset_CB, x_BP, backwards))
        x_BP = ends_CBP[0 if backwards else -1]


_Step = tuple[Tensor, Tensor, Tensor | None, Tensor]
"""Of all chunks: gate `(P,)` or `(C, B, P)`, input, reset `(C, B)` or None for none, output."""


def _parts(T: int, backwards: bool) -> Iterator[tuple[slice, int, int]]:
    """The steps that fill C chunks of K, then the rest as one chunk; in the order they are met."""
    K = math.isqrt(T // 2) + 1
    C, rest = divmod(T, K)
    if C:
        yield slice(rest if backwards else 0, T if backwards else T - rest), C, K
    if rest:
        yield slice(0, rest) if backwards else slice(T - rest, T), 1, rest


def _columns(rows: Tensor, C: int, K: int) -> Sequence[Tensor]:
    """`(C·K, …)` as K tensors `(C, …)`: the k-th step of every chunk."""
    return rows.view(C, K, *rows.shape[1:]).unbind(1)


def _where_some(resets: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The resets, None where all are False: so much is known on the CPU without a wait."""
    if resets[0].device.type != "cpu":
        return resets
    some = torch.stack(list(resets)).flatten(1).any(dim=1).tolist()
    return [reset if any_ else None for reset, any_ in zip(resets, some, strict=True)]


def _found(steps: list[_Step], some_reset_CB: Tensor, x_BP: Tensor, backwards: bool) -> Tensor:
    """What each chunk finds `(C, B, P)`, where the first one met finds x."""
    C = len(some_reset_CB)
    ends_CBP = _walk_together(steps, x_BP.new_zeros(C, *x_BP.shape), write=False)
    through = reduce(torch.mul, [gate for gate, *_ in steps]).expand_as(ends_CBP).unbind()
    found_CBP = torch.empty_like(ends_CBP)
    ends, found = ends_CBP.unbind(), found_CBP.unbind()
    resets = _where_some(some_reset_CB.unbind())
    for c in _order(C, backwards):
        found[c].copy_(x_BP)
        x_BP = torch.addcmul(ends[c], through[c], _blank(x_BP, resets[c]))
    return found_CBP


def _walk_together(steps: list[_Step], x_CBP: Tensor, write: bool = True) -> Tensor:
    """All chunks, given what each finds; writes the outputs and returns the last ones."""
    for gate, b_CBP, reset_CB, out_CBP in steps:
        out = out_CBP if write else None
        x_CBP = torch.addcmul(b_CBP, gate, _blank(x_CBP, reset_CB), out=out)
    return x_CBP


def _order(steps: int, backwards: bool) -> range:
    return range(steps - 1, -1, -1) if backwards else range(steps)


def _blank(x: Tensor, reset: Tensor | None) -> Tensor:
    """Zeros where reset, else x; reset has x's first dimensions. Even what is not finite ends."""
    if reset is None:
        return x
    return x.masked_fill(reset[(..., *[None] * (x.ndim - reset.ndim))], 0)


def _gradient_of_gate(db_TBP: Tensor, x_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor) -> Tensor:
    """At each step: `(T, B, P)`."""
    dgate_TBP = torch.empty_like(db_TBP)
    torch.mul(db_TBP[0], x0_BP.conj(), out=dgate_TBP[0])
    torch.mul(db_TBP[1:], x_TBP[:-1].conj(), out=dgate_TBP[1:])
    return _blank(dgate_TBP, reset_TB)


def _gradient_of_fixed_gate(
    db_TBP: Tensor, x_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor
) -> Tensor:
    """Summed over time and worlds, a block of √T steps at a time: small enough for a cache."""
    dgate_P = _blank(db_TBP[0] * x0_BP.conj(), reset_TB[0]).sum(dim=0)
    T = len(x_TBP)
    length = math.isqrt(T) + 1
    for start in range(1, T, length):
        block = slice(start, min(start + length, T))
        previous_LBP = x_TBP[start - 1 : block.stop - 1]
        product_LBP = db_TBP[block] * previous_LBP.conj()
        dgate_P += _blank(product_LBP, reset_TB[block]).sum(dim=(0, 1))
    return dgate_P


def _check(gate: Tensor, b_TBP: Tensor, x0_BP: Tensor, reset_TB: Tensor) -> None:
    T, B, *P = b_TBP.shape
    dtype = b_TBP.dtype
    if dtype == torch.bfloat16:
        dtype = torch.complex64 if gate.is_complex() else torch.float32
        P = P[:-1] if gate.is_complex() and P[-1:] == [2] else P
    _expect("gate", gate, [(*P,), (T, B, *P)], dtype)
    _expect("x0_BP", x0_BP, [(B, *P)], dtype)
    _expect("reset_TB", reset_TB, [(T, B)], torch.bool)


def _expect(name: str, given: Tensor, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    if given.shape not in shapes or given.dtype != dtype:
        expected = " or ".join(map(str, shapes))
        found = f"{given.dtype} of {tuple(given.shape)}"
        raise ValueError(f"{name} must be {dtype} of shape {expected}, got {found}.")
