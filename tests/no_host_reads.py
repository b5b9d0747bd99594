"""Fails where code looks at a tensor's value, or hands one over from the host.

On a GPU each of these waits for the device, and none of them can be part of a captured graph. On
the CPU they cost nothing and go unseen, so tests of code that must run on both use

    with no_host_reads():
        family.step(action)
"""

from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from quickstudy.envs import rng

aten = torch.ops.aten

READS = {
    *(aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal),
    *(aten.nonzero, aten.nonzero_static, aten.masked_select, aten.argwhere, aten.bincount),
    *(aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.histc),
}
"""What needs a value on the host, or a shape that depends on values."""

FROM_HOST = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
"""Copies from memory, which a captured graph would read again when it has changed."""

INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}

PYTHON_READS = ("numpy", "tolist", "cpu", "__array__", "__index__", "__int__", "__float__")


class HostReadError(AssertionError):
    """Code looked at a tensor, or moved one between host and device."""


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        packet = func.overloadpacket
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if packet in READS:
            raise HostReadError(str(func))
        if packet in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1]):
            raise HostReadError(f"{func} by a mask")
        if packet is aten.repeat_interleave and isinstance(args[-1], Tensor):
            raise HostReadError(f"{func} by a tensor")
        if len({x.device.type for x in tensors if x.ndim}) > 1:
            raise HostReadError(f"{func} between devices")
        result = func(*args, **(kwargs or {}))
        if packet is aten._to_copy and result.device.type != args[0].device.type:
            raise HostReadError(f"{func} from {args[0].device} to {result.device}")
        return result


class _Methods(TorchFunctionMode):
    """What never becomes an operation."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if getattr(Tensor, name, None) is func and name in PYTHON_READS:
            raise HostReadError(f"Tensor.{name}")
        if func in FROM_HOST:
            raise HostReadError(name)
        if name == "__getitem__" and _names_rows(args[1]):
            raise HostReadError("an index of Python numbers")
        return func(*args, **(kwargs or {}))


def _names_rows(index):
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, (list, tuple)) for part in parts)


def _from_numpy(array):
    raise HostReadError("from_numpy")


@contextmanager
def no_host_reads():
    """Raises `HostReadError` inside. Random numbers take the GPU's way (on the CPU: NumPy's)."""
    with (
        mock.patch.object(rng, "mix", rng.mix_tensor),
        mock.patch.object(torch, "from_numpy", _from_numpy),
        _Methods(),
        _Operations(),
    ):
        yield
