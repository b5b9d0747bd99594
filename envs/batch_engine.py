"""The CPU engine: MuJoCo's own batch of simulations on its own threads."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.headless import mujoco
from quickstudy.envs.live_fields import LiveFields

from mujoco.batch import Batch  # isort: skip  headless chooses the GL library first

ASSETS = Path(__file__).resolve().parent / "assets"

_BAD_STATE = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
]

# Diverged worlds are counted; MuJoCo would also log each in the working directory.
_log_config = mujoco.MjLogConfig.get()
_log_config.logto_file = False
_log_config.set()


def load_model(file: str | Path) -> mujoco.MjModel:
    """Compile an MJCF file; a bare name is one of the package's assets.

    Raises:
        ValueError: if the model would use the sparse Jacobian, whose Newton solver gives wrong
            accelerations in MuJoCo 4.0.0 (fixed in 4.0.1).
    """
    model = mujoco.MjModel.from_xml_path(str(ASSETS / file))
    if mujoco.mj_isSparse(model):
        raise ValueError(
            f'{file}: set <option jacobian="dense"/>; the sparse one is wrong in 4.0.0.'
        )
    return model


class BatchEngine:
    """`Engine` on `mujoco.batch.Batch`: float64, bit-identical at any number of threads."""

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        substeps: int,
        *,
        num_threads: int | None = None,
    ) -> None:
        """`num_threads` defaults to the processors this process may use."""
        # The batch asks for the machine's processors, which in a container are not all ours.
        num_threads = num_threads or len(os.sched_getaffinity(0))
        self._batch = Batch(model, nsim=num_worlds, nthread=min(num_threads, num_worlds))
        self.mjmodel = model
        self.num_worlds = num_worlds
        self.substeps = substeps
        self.dt = float(model.opt.timestep) * substeps
        self.device = torch.device("cpu")
        self.dtype = torch.float64
        self.any_diverged = False
        self.diverged = torch.zeros(num_worlds, dtype=torch.bool)
        self._blank_row = self._batch.state[0].copy()
        self.data = LiveFields(_as_tensor(self._batch.bind))
        self.model = LiveFields(_as_tensor(self._batch.expand))

    def step(self, mask: Tensor | None = None) -> None:
        self._batch.step(None if mask is None else mask.numpy(), nstep=self.substeps)
        self._find_diverged()

    def reset(self, mask: Tensor) -> None:
        # As `Batch.reset` to no stage, without waking its threads for a few rows.
        self._batch.state[mask.numpy()] = self._blank_row

    def forward(self, mask: Tensor) -> None:
        self._batch.forward(mask.numpy())

    def set_const(self, mask: Tensor) -> None:
        self._batch.set_const(mask.numpy())

    def state_dict(self) -> dict[str, Tensor]:
        return {"rows": torch.from_numpy(self._batch.state.copy())}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if "rows" in state:
            self._batch.state[:] = state["rows"].cpu().numpy()
            return
        for name, values in state.items():  # saved by the engine of another device
            self.data[name].copy_(values)

    def check_capacity(self) -> None:
        """Does nothing: memory for contacts grows as they come."""

    def world_model(self, world: int) -> mujoco.MjModel:
        """World `world`'s model, for a renderer; the shared one unless fields were written."""
        return self._batch.get_model(world) if self.model else self.mjmodel

    def mjdata(self, world: int) -> mujoco.MjData:
        """World `world`'s state with derived fields computed, for a renderer."""
        data = self._batch.get_data(world)
        mujoco.mj_forward(self.world_model(world), data)
        return data

    def _find_diverged(self) -> None:
        """MuJoCo resets a bad simulation to qpos0 by itself and counts a warning."""
        counts = self._batch.warning
        if np.count_nonzero(counts):
            bad = counts[:, _BAD_STATE, 1].any(axis=1)
            self.diverged = torch.from_numpy(bad)
            self.any_diverged = bool(bad.any())
            counts[:] = 0
        elif self.any_diverged:
            self.any_diverged = False
            self.diverged = torch.zeros_like(self.diverged)


def _as_tensor(bind: Callable[[str], np.ndarray]) -> Callable[[str], Tensor]:
    """The tensors of the arrays that `bind` gives."""

    def bind_tensor(name: str) -> Tensor:
        with warnings.catch_warnings():
            # Derived fields are read-only arrays; nobody writes through their tensors.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(bind(name))

    return bind_tensor
