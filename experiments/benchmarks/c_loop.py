"""The denominator of the physics benchmarks: the same simulations with no Python between steps.

Where a C compiler is at hand this is `c_loop.c`, built when first needed; elsewhere it is MuJoCo's
own `Batch.rollout` over a long horizon, which runs at about 1.1 times the C loop's rate (it
balances the threads dynamically).

Shape legend: T steps, N worlds, A controls, S numbers of an integration state.
"""

import ctypes
import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

import mujoco
import numpy as np
from mujoco.batch import Batch

SOURCE = Path(__file__).with_name("c_loop.c")
STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class PhysicsLoop(Protocol):
    """N simulations of one model that step under given controls as fast as the machine can."""

    name: str

    def load(self, state_NS: np.ndarray) -> None:
        """Put the simulations into these states."""

    def play(self, ctrl_TNA: np.ndarray) -> None:
        """Step T times under float64 controls."""

    def state(self) -> np.ndarray:
        """A copy of the states, `(N, S)`."""


class CLoop:
    """POSIX threads looping `mj_step` over resident `MjData`, worlds split evenly."""

    name = "C loop"

    def __init__(
        self, model: mujoco.MjModel, num_worlds: int, substeps: int, num_threads: int
    ) -> None:
        """Build the C code if this process has not yet, and make the worlds.

        Raises:
            OSError: where there is no compiler, or its product cannot be loaded.
            subprocess.CalledProcessError: where the compiler fails.
        """
        self._play = _library().play_worlds
        self._model = model
        self._worlds = [mujoco.MjData(model) for _ in range(num_worlds)]
        self._addresses = (ctypes.c_void_p * num_worlds)(*[d._address for d in self._worlds])
        self._substeps = substeps
        self._num_threads = num_threads

    def load(self, state_NS: np.ndarray) -> None:
        for world, state_S in zip(self._worlds, state_NS, strict=True):
            mujoco.mj_setState(self._model, world, state_S, STATE)

    def play(self, ctrl_TNA: np.ndarray) -> None:
        expected = (len(self._worlds), self._model.nu)
        assert ctrl_TNA.shape[1:] == expected, f"controls {ctrl_TNA.shape}, not (T, *{expected})"
        assert ctrl_TNA.dtype == np.float64
        assert ctrl_TNA.flags.c_contiguous
        # ctypes releases the interpreter's lock during the call.
        failed = self._play(
            ctypes.c_void_p(self._model._address),
            self._addresses,
            len(self._worlds),
            len(ctrl_TNA),
            self._substeps,
            ctypes.c_void_p(ctrl_TNA.ctypes.data),
            self._num_threads,
        )
        if failed:
            raise OSError("The C loop could not start its threads.")

    def state(self) -> np.ndarray:
        size = mujoco.mj_stateSize(self._model, STATE)
        state_NS = np.empty((len(self._worlds), size))
        for world, state_S in zip(self._worlds, state_NS, strict=True):
            mujoco.mj_getState(self._model, world, state_S, STATE)
        return state_NS


class RolloutLoop:
    """MuJoCo's own batched rollout over a whole slice at once: the stand-in without a compiler."""

    name = "Batch.rollout"

    def __init__(
        self, model: mujoco.MjModel, num_worlds: int, substeps: int, num_threads: int
    ) -> None:
        self._batch = Batch(model, nsim=num_worlds, nthread=num_threads)
        self._substeps = substeps

    def load(self, state_NS: np.ndarray) -> None:
        self._batch.state[:] = state_NS

    def play(self, ctrl_TNA: np.ndarray) -> None:
        ctrl_NTA = np.repeat(ctrl_TNA.swapaxes(0, 1), self._substeps, axis=1)
        self._batch.rollout(ctrl_NTA.shape[1], control=ctrl_NTA, record=())

    def state(self) -> np.ndarray:
        state_NS: np.ndarray = self._batch.state.copy()
        return state_NS


def physics_loop(
    model: mujoco.MjModel, num_worlds: int, substeps: int, num_threads: int
) -> PhysicsLoop:
    """The C loop, or its stand-in where it cannot be built; `name` says which."""
    try:
        return CLoop(model, num_worlds, substeps, num_threads)
    except (OSError, subprocess.CalledProcessError):
        return RolloutLoop(model, num_worlds, substeps, num_threads)


@functools.cache
def _library() -> ctypes.CDLL:
    """Compile `c_loop.c` against the MuJoCo that Python has loaded, and load it."""
    package = Path(mujoco.__file__).parent
    (mujoco_library,) = package.glob("libmujoco.so.*")
    with tempfile.TemporaryDirectory() as folder:
        product = Path(folder) / "c_loop.so"
        flags = ["-O2", "-shared", "-fPIC", "-pthread", f"-I{package / 'include'}"]
        command = [*_compiler(), *flags, str(SOURCE), str(mujoco_library), "-o", str(product)]
        subprocess.run(command, check=True, capture_output=True)
        # Loaded code stays mapped when its file goes.
        return ctypes.CDLL(str(product))


def _compiler() -> list[str]:
    """The C compiler's command: `$CC`, or `cc`."""
    return os.environ.get("CC", "cc").split()
