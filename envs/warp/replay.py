"""Kernels that are captured once as a graph and replayed at each call."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from quickstudy.envs.warp.package import wp


class Replay:
    """A fixed sequence of Warp's kernels over fixed arrays.

    It runs on torch's current stream, so that it takes its turn among torch's own kernels. Where
    that stream is being captured by somebody else (`torch.cuda.graph`, or Warp's `ScopedCapture`),
    the kernels themselves become part of that graph.

    Torch knows the tensors of its graph by the number of the capture, and that changes here: a
    loop within a graph is captured in a capture of its own. From then on `torch.cuda.graph` would
    take memory that others may be given, too. So capture inside `torch.cuda.use_mem_pool`, with a
    pool that lives as long as the graph.
    """

    def __init__(self, device: Any, kernels: Callable[[], None]) -> None:
        """Capture what `kernels` launches; it also runs once, which compiles what is missing."""
        self._device = device
        self._kernels = kernels
        with wp.ScopedDevice(device):
            kernels()
            with _no_garbage_collection(), wp.ScopedCapture(device) as capture:
                kernels()
        self._graph = capture.graph

    def __call__(self) -> None:
        if self._device.is_cpu:
            wp.capture_launch(self._graph)
        elif torch.cuda.is_current_stream_capturing():
            self._join()
        else:
            wp.capture_launch(self._graph, stream=_current_stream(self._device))

    def _join(self) -> None:
        """Launch into the capture that is under way."""
        stream = _current_stream(self._device)
        known = [s for s in self._device.captures if s.cuda_stream == stream.cuda_stream]
        with wp.ScopedStream(known[0] if known else stream, sync_enter=False):
            if known:
                self._kernels()
                return
            # Warp must know of it: the solver's loop becomes a conditional node of that graph.
            with wp.ScopedCapture(stream=stream, external=True, capture_mode=_TORCHS_MODE):
                self._kernels()


_TORCHS_MODE = wp.CaptureMode.GLOBAL
"""What `torch.cuda.graph` captures in unless it is told otherwise."""

_streams: dict[tuple[int, int], Any] = {}


def _current_stream(device: Any) -> Any:
    """Torch's current stream, as Warp's object (making one costs more than a launch)."""
    stream = torch.cuda.current_stream(torch.device("cuda", device.ordinal))
    if stream.cuda_stream == device.stream.cuda_stream:
        return device.stream
    key = (device.ordinal, stream.cuda_stream)
    if key not in _streams:
        _streams[key] = wp.stream_from_torch(stream)
    return _streams[key]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Freeing what others dropped is not allowed during a capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
