"""Where worlds live: the device their tensors are on, and what computes their physics."""

from dataclasses import dataclass
from typing import Literal

import torch

from quickstudy.envs.errors import unknown
from quickstudy.envs.registry import DEVICES


@dataclass(frozen=True)
class Device:
    """One of the names that a user may give as a device."""

    name: str
    torch_device: torch.device
    physics: Literal["batch", "warp"]
    """The engine of MuJoCo families: C MuJoCo on all cores, or MuJoCo Warp."""
    peeks: bool
    """True where looking at a tensor's value costs nothing, so that work may be skipped after a
    look. Elsewhere the step path reads no tensor back: each look would wait for the device."""


_DEVICES = (
    Device("cpu", torch.device("cpu"), "batch", peeks=True),
    Device("cuda", torch.device("cuda"), "warp", peeks=False),
    # What runs on the GPU, on the CPU instead: slow, and there for tests.
    Device("warp-cpu", torch.device("cpu"), "warp", peeks=False),
)
_BY_NAME = {device.name: device for device in _DEVICES}
assert tuple(_BY_NAME) == DEVICES


def find_device(name: str | torch.device) -> Device:
    """The device of that name.

    Raises:
        ValueError: for an unknown name, or for `cuda` where torch sees no GPU.
    """
    if str(name) not in _BY_NAME:
        raise unknown("device", str(name), DEVICES)
    device = _BY_NAME[str(name)]
    if device.torch_device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Device 'cuda' is not there: {_why_no_cuda()}. Use device 'cpu'.")
    return device


def _why_no_cuda() -> str:
    build = torch.version.cuda
    if build is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} (built for CUDA {build}) sees no GPU that it can use"
