"""Runs the Triton scan in Triton's interpreter, for tests, which are in another process.

The interpreter is chosen when Triton is first imported, for good and for all kernels. Requests come
in and answers go out through the standard streams, each a length of 8 bytes and a torch file.
"""

import io
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
from triton.runtime import interpreter

from quickstudy.agents import scan_kernels
from quickstudy.agents.triton_scan import Plan, triton_scan

patched = {scan_kernels.__name__}


def call(self, *args, **kwargs):
    """A helper of a kernel. To patch the language at each call takes longest: once a module will do
    (of Triton's own; for a kernel's the launch has just done it)."""
    if self.fn.__module__ not in patched:
        patched.add(self.fn.__module__)
        interpreter._patch_lang(self.fn)
    return self.rewrite()(*args, **kwargs)


def scan_by_rows(self, inputs):
    """As the interpreter's own, which goes number by number, over a tile's first axis."""
    assert self.axis == 0
    planes = [tensor.handle.data for tensor in inputs]
    done, scanned = None, []
    for row in zip(*planes, strict=True):
        step = [self.to_tensor(np.array(r), t.dtype) for r, t in zip(row, inputs, strict=True)]
        done = step if done is None else self.combine_fn.fn(*done, *step)
        scanned.append([tensor.handle.data for tensor in done])
    columns = zip(*scanned, strict=True)
    return [
        self.to_tensor(np.stack(column).astype(plane.dtype), tensor.dtype)
        for column, plane, tensor in zip(columns, planes, inputs, strict=True)
    ]


interpreter.InterpretedFunction.__call__ = call
interpreter.ScanOps.generic_scan = scan_by_rows


def send(stream, message):
    file = io.BytesIO()
    torch.save(message, file)
    stream.write(len(file.getbuffer()).to_bytes(8, "little"))
    stream.write(file.getbuffer())
    stream.flush()


def receive(stream):
    """The next message; None if there will be no more."""
    size = int.from_bytes(stream.read(8), "little")
    return torch.load(io.BytesIO(stream.read(size)), weights_only=True) if size else None


def answer(request):
    """x and the gradients of all that needs one, given the gradient that arrives at x."""
    inputs, arriving, plans = request
    plans = tuple(Plan(*sizes) for sizes in plans) if plans else None
    x_TBP = triton_scan(*inputs, plans)
    sources = [tensor for tensor in inputs if tensor.requires_grad]
    return x_TBP.detach(), torch.autograd.grad(x_TBP, sources, arriving)


if __name__ == "__main__":
    torch.set_num_threads(1)
    while (request := receive(sys.stdin.buffer)) is not None:
        send(sys.stdout.buffer, answer(request))
