"""Counter-based random numbers: every draw is a pure function of its key.

A key is a 64-bit integer held in an int64 tensor. Keys are derived by folding counters
(seed, world, stream, trial, episode, step, …) into each other, so a draw never depends on how many
worlds there are, in what order they reset, or on any global generator. The mixing function is the
SplitMix64 finaliser (Steele, Lea & Flood 2014, with Stafford's variant-13 constants); int64
multiplication wraps identically on CPU and CUDA.

Shape legend: N worlds, K draws per world.
"""

import math
from enum import IntEnum
from functools import cache

import numpy as np
import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_UNIT = torch.tensor(2.0**-53, dtype=torch.float64)
"""The step between 53-bit numbers in [0, 1)."""


class Stream(IntEnum):
    """Independent streams below one seed; a number, once released, keeps its meaning."""

    TASK = 1
    EPISODE = 2
    ACTION = 3
    MINIBATCH = 4
    WEIGHTS = 5
    EVALUATION = 6
    SPLIT = 7
    BOOTSTRAP = 8
    TEACHER = 9
    STUDENT = 10
    LEVEL = 11
    DISCOVERY = 12


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift (int64's own `>>` copies the sign bit)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of the 64-bit integers that scatters them."""
    if x.device.type == "cpu":
        # A third of the time: NumPy has unsigned shifts, and less to do per call.
        return torch.from_numpy(_mix_array(x.numpy().view(np.uint64)).view(np.int64))
    return mix_tensor(x)


def mix_tensor(x: Tensor) -> Tensor:
    """`mix` on any device."""
    x = (x ^ _shift_right(x, 30)) * _wrap(_MIX_1)
    x = (x ^ _shift_right(x, 27)) * _wrap(_MIX_2)
    return x ^ _shift_right(x, 31)


def _mix_array(x: np.ndarray) -> np.ndarray:
    """`mix` of a uint64 array, into a new one."""
    mixed = np.empty_like(x)
    shifted = np.empty_like(x)
    np.bitwise_xor(x, np.right_shift(x, 30, out=shifted), out=mixed)
    mixed *= _MIX_1
    mixed ^= np.right_shift(mixed, 27, out=shifted)
    mixed *= _MIX_2
    mixed ^= np.right_shift(mixed, 31, out=shifted)
    return mixed


def fold_in(key: Tensor, counter: Tensor | int) -> Tensor:
    """The key of branch `counter` below `key`; shapes broadcast."""
    return mix(
        key + (counter + 1) * _GOLDEN
        if isinstance(counter, Tensor)
        else key + _wrap((counter + 1) * _GOLDEN)
    )


def root_key(seed: int, stream: Stream, device: torch.device | str = "cpu") -> Tensor:
    """The scalar key of a stream below a seed."""
    seed_key = mix(torch.tensor(_wrap(seed), dtype=torch.int64, device=device))
    return fold_in(seed_key, int(stream))


def world_keys(
    seed: int, stream: Stream, num_worlds: int, device: torch.device | str = "cpu"
) -> Tensor:
    """One key per world, `(num_worlds,)`; world i's key does not depend on `num_worlds`."""
    return fold_in(root_key(seed, stream, device), torch.arange(num_worlds, device=device))


def uniform(key_N: Tensor, size: int) -> Tensor:
    """Float64 draws in [0, 1), shape `(N, size)`."""
    bits_NK = mix(key_N.unsqueeze(-1) + _counters(size, key_N.device))
    return _shift_right(bits_NK, 11) * _UNIT


def normal(key_N: Tensor, size: int) -> Tensor:
    """Standard normal float64 draws, shape `(N, size)` (Box & Muller 1958)."""
    return box_muller(uniform(key_N, 2 * ((size + 1) // 2)))[..., :size]


def box_muller(u: Tensor) -> Tensor:
    """As many standard normal draws as there are uniform ones, an even number (in pairs)."""
    radius, angle = u.chunk(2, dim=-1)
    radius = torch.sqrt(-2.0 * torch.log1p(-radius))
    angle = 2.0 * math.pi * angle
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)


def permutation(key: Tensor, size: int) -> Tensor:
    """A random order of `range(size)` from one scalar key."""
    return torch.argsort(fold_in(key, torch.arange(size, device=key.device)))


def generator(seed: int, stream: Stream) -> torch.Generator:
    """A private CPU generator for code that needs one (weight initialisation)."""
    return torch.Generator().manual_seed(int(root_key(seed, stream)) & (2**63 - 1))


@cache
def _counters(size: int, device: torch.device) -> Tensor:
    """What `fold_in` adds to a key for each of the counters 0 … size − 1."""
    return (torch.arange(size, device=device) + 1) * _GOLDEN


def _wrap(x: int) -> int:
    """Python integers into the signed 64-bit range."""
    return (x + 2**63) % 2**64 - 2**63
