"""The diagonal recurrence of `agents/scan.py` on CUDA: kernels in Triton, forwards and backwards.

Bytes that must be moved per element (a step of a channel of a world), the reset's one byte per step
and world aside:

    gate                   forward                 backward
    fixed                  b, x         2 words    g, x, db               3 words
    one at each step       gate, b, x   3 words    gate, g, x, db, dgate  5 words

where a word is 4 bytes real and 8 complex, and that of b and db half of it in bfloat16. The states
are kept, since to form them again would take b, the gate and another pass; they are always float32.
The gradient of a fixed gate is summed over time in registers and leaves them once per warp; torch
adds up what the warps found, in one order, so it repeats to the bit.

One pass over time needs some 8,000 channels over all worlds to have enough bytes on their way. With
fewer, time is cut into chunks (see `plan`): a first kernel finds what each chunk adds and how much
of what it finds lasts; a second one walks all chunks at once, each after joining what those before
it left. That reads b (or g) and varying gates twice, the second time mostly from the cache.

Under `TRITON_INTERPRET=1`, set before Triton is first imported, it runs on tensors of the CPU.

Shape legend: T time, B worlds, P channels (one dimension or several), C chunks.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickstudy.agents import scan_kernels

LANES = 32
"""Channels of a program: one to each thread of its one warp."""
TILE_WORDS = 64
"""Registers of a thread for what is on its way: a quarter of what it has."""
ENOUGH_CHANNELS = 8192
"""Channels over all worlds from which on one pass over time is the faster way."""
WARPS = 1024
"""Warps to make by cutting time where there are fewer channels: some eight per multiprocessor."""


@dataclass(frozen=True)
class Plan:
    """How a walk over time is cut."""

    rows: int
    """Steps of a tile, a power of two: on their way at once."""
    length: int
    """Steps of a chunk, a multiple of `rows`."""
    chunks: int
    """Chunks that cover all steps."""
    lanes: int = LANES
    """Channels of a program."""


def plan(T: int, B: int, P: int, words: int) -> Plan:
    """One pass where B·P ≥ 8192, or where T has not two chunks of two tiles; else some 1024 warps.

    Args:
        T: steps.
        B: worlds.
        P: channels of each.
        words: of 4 bytes that are read per element.
    """
    rows = 1 << ((TILE_WORDS // words).bit_length() - 1)
    chunks = 1
    if B * P < ENOUGH_CHANNELS:
        warps = B * -(-P // LANES)
        chunks = max(1, min(-(-WARPS // warps), T // (2 * rows)))
    length = -(-T // (chunks * rows)) * rows
    return Plan(rows, length, -(-T // length))


def triton_scan(
    gate: Tensor,
    b_TBP: Tensor,
    x0_BP: Tensor,
    reset_TB: Tensor,
    plans: tuple[Plan, Plan] | None = None,
) -> Tensor:
    """`diag_scan`, unchecked.

    Args:
        gate: float32 or complex64.
        b_TBP: of the gate's type or bfloat16; complex numbers in bfloat16 as pairs `(T, B, P, 2)`.
        x0_BP: of the gate's type.
        reset_TB: bool.
        plans: forwards and backwards; None chooses them (`plan`).
    """
    x_TBP: Tensor = _TritonScan.apply(  # type: ignore[no-untyped-call]  # torch has no types here
        plans, gate, b_TBP, x0_BP, reset_TB
    )
    return x_TBP


class _TritonScan(torch.autograd.Function):
    """The kernels as one differentiable function."""

    @staticmethod
    def forward(
        ctx: Any,
        plans: tuple[Plan, Plan] | None,
        gate: Tensor,
        b_TBP: Tensor,
        x0_BP: Tensor,
        reset_TB: Tensor,
    ) -> Tensor:
        x_TBP = x0_BP.new_empty(len(b_TBP), *x0_BP.shape)
        ctx.like = b_TBP.shape, b_TBP.dtype
        ctx.plans = plans
        ctx.save_for_backward(gate, x_TBP, x0_BP, reset_TB)
        walk = _Walk(gate, b_TBP, x0_BP, reset_TB, x_TBP, half=b_TBP.dtype == torch.bfloat16)
        walk.forwards(plans[0] if plans else walk.plan(arrays=1))
        return x_TBP

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_TBP: Tensor) -> tuple[None, Tensor, Tensor, Tensor, None]:
        gate, x_TBP, x0_BP, reset_TB = ctx.saved_tensors
        shape, dtype = ctx.like
        walk = _Walk(gate, g_TBP, x0_BP, reset_TB, x_TBP, half=dtype == torch.bfloat16)
        db_TBP = g_TBP.new_empty(shape, dtype=dtype)
        dgate, dx0_BP = walk.backwards(db_TBP, ctx.plans[1] if ctx.plans else walk.plan(arrays=2))
        return None, dgate, db_TBP, dx0_BP, None


class _Walk:
    """The tensors of a walk as the kernels read them: contiguous, complex numbers as words."""

    def __init__(
        self,
        gate: Tensor,
        input_TBP: Tensor,
        x0_BP: Tensor,
        reset_TB: Tensor,
        x_TBP: Tensor,
        *,
        half: bool,
    ) -> None:
        self.gate, self.x0 = gate, x0_BP
        self.T, self.B = reset_TB.shape
        self.P = x0_BP[0].numel()
        self.varying = gate.ndim > x0_BP.ndim
        self.kinds = {"VARYING": self.varying, "COMPLEX": gate.is_complex(), "HALF": half}
        self.reset = reset_TB.contiguous().view(torch.uint8)
        self.words = tuple(map(self._word, (gate, input_TBP, x0_BP)))
        self.x = self._word(x_TBP)

    def plan(self, arrays: int) -> Plan:
        """For a walk that reads so many arrays, and gates if they vary."""
        words = (arrays + self.varying) * (2 if self.kinds["COMPLEX"] else 1)
        return plan(self.T, self.B, self.P, words)

    def forwards(self, plan: Plan) -> None:
        """Fill x."""
        gate, b, x0 = self.words
        with _device_of(self.x):
            summaries = self._summarise(plan, backward=False)
            scan_kernels.walk[self._grid(plan)](
                gate, b, x0, self.reset, *summaries, self.x, *self._sizes(plan), **self._how(plan)
            )

    def backwards(self, db_TBP: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
        """Fill db; returns the gradients of the gate and of x0."""
        gate, g, x0 = self.words
        shares = self.gate if self.varying else self.x0.expand(plan.chunks, *self.x0.shape)
        # Of contiguous strides whatever those of the tensors are: the kernels know no others.
        dgate = shares.new_empty(shares.shape)
        dx0_BP = self.x0.new_empty(self.x0.shape)
        with _device_of(self.x):
            summaries = self._summarise(plan, backward=True)
            scan_kernels.walk_back[self._grid(plan)](
                *(gate, g, x0, self.reset, *summaries, self.x),
                *map(self._word, (db_TBP, dgate, dx0_BP)),
                *self._sizes(plan),
                **self._how(plan),
            )
        return (dgate if self.varying else dgate.sum(dim=(0, 1))), dx0_BP

    def _summarise(self, plan: Plan, *, backward: bool) -> tuple[Tensor, Tensor]:
        """What lasts of what each chunk but the last one finds, and what it adds: `(C − 1, B, P)`.

        Without chunks, two tensors that are not read.
        """
        gate, rows, _ = self.words
        if plan.chunks == 1:
            return self.x, self.x
        shape = (plan.chunks - 1, *self.x0.shape)
        lasts, adds = (self._word(self.x0.new_empty(shape)) for _ in range(2))
        kinds = self.kinds | {"HALF": self.kinds["HALF"] and not backward}
        grid = (self._grid(plan)[0], plan.chunks - 1)
        scan_kernels.summarise[grid](
            *(gate, rows, self.reset, lasts, adds, *self._sizes(plan)),
            **(kinds | _TILE | {"BACKWARD": backward, "K": plan.rows, "L": plan.lanes}),
        )
        return lasts, adds

    def _word(self, x: Tensor) -> Tensor:
        """Contiguous, a complex number as one integer: a view, unless x is not yet contiguous."""
        x = x.resolve_conj().resolve_neg().contiguous()
        if x.is_complex():
            return torch.view_as_real(x).view(torch.int64)
        pairs = self.kinds["COMPLEX"] and x.dtype == torch.bfloat16
        return x.view(torch.int32) if pairs else x

    def _grid(self, plan: Plan) -> tuple[int, int]:
        return self.B * -(-self.P // plan.lanes), plan.chunks

    def _sizes(self, plan: Plan) -> tuple[int, int, int, int]:
        return self.T, plan.length, self.B, self.P

    def _how(self, plan: Plan) -> dict[str, Any]:
        """The kernel's constants. Of summaries, twice as many words, a tile holds fewer rows."""
        tile = {"K": plan.rows, "J": max(1, plan.rows // 4), "L": plan.lanes}
        return self.kinds | tile | _TILE | {"CHUNKED": plan.chunks > 1}


def _device_of(x: Tensor) -> AbstractContextManager[None]:
    """Triton launches on the present device."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


_TILE = {"num_warps": 1, "num_stages": 1}
