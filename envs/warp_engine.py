"""The GPU engine: MuJoCo Warp, in graphs that are captured once and replayed.

The same code runs on Warp's CPU device (`warp-cpu`), which captures graphs too: that is how it is
tested where there is no GPU.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from quickstudy.envs.batch_engine import BatchEngine
from quickstudy.envs.devices import Device
from quickstudy.envs.engine import Capacity
from quickstudy.envs.headless import mujoco
from quickstudy.envs.live_fields import LiveFields
from quickstudy.envs.warp import kernels
from quickstudy.envs.warp.capacity import overflow_message, probe
from quickstudy.envs.warp.memory import told_how_many_fit
from quickstudy.envs.warp.package import mjw, wp
from quickstudy.envs.warp.replay import Replay

STATE = (
    *("time", "qpos", "qvel", "act", "history", "plastic", "qacc_warmstart", "ctrl"),
    *("qfrc_applied", "xfrc_applied", "eq_active", "mocap_pos", "mocap_quat", "userdata"),
)
"""What the next step depends on: MuJoCo's integration state."""

DERIVES = frozenset(
    (
        *("qpos0", "body_mass", "body_inertia", "body_ipos", "body_iquat", "body_pos", "body_quat"),
        *("dof_armature", "tendon_armature", "actuator_armature", "actuator_gear", "eq_data"),
        *("geom_size", "geom_pos", "geom_quat", "cam_pos", "cam_quat", "light_pos", "light_dir"),
    )
)
"""Fields from which others are computed."""

DERIVED = (
    *("body_subtreemass", "body_invweight0", "dof_invweight0", "tendon_invweight0", "eq_data"),
    *("geom_aabb", "geom_rbound", "tendon_length0", "actuator_acc0", "cam_pos0", "cam_poscom0"),
    *("cam_mat0", "light_pos0", "light_poscom0", "light_dir0"),
)
"""What `set_const` computes. It writes arrays of the shape they have: one of a single row would
take world 0's value for all worlds."""


class WarpEngine:
    """`Engine` on MuJoCo Warp: float32, without a look at the device in any call but
    `check_capacity`, `mjdata` and `world_model`.

    On a GPU, sums are taken in any order, so that two runs differ in the last bits.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        substeps: int,
        device: Device,
        *,
        fields: tuple[str, ...] = (),
        capacity: Capacity | None = None,
    ) -> None:
        """Compile (about a minute for a new model, then kept on disk) and capture the kernels.

        Args:
            model: what all worlds start as.
            num_worlds: N.
            substeps: physics steps per `step`.
            device: `cuda` or `warp-cpu`.
            fields: the model fields that may differ between worlds.
            capacity: room for contacts; measured on the CPU if None.

        Raises:
            ValueError: if Warp lacks what the model uses, the driver is too old, or the worlds do
                not fit into memory; the message says how many would.
        """
        self.mjmodel = model
        self.num_worlds = num_worlds
        self.substeps = substeps
        self.dt = float(model.opt.timestep) * substeps
        self.device = device.torch_device
        self.dtype = torch.float32
        self.capacity = capacity or probe(model)
        self._fields = fields
        self._warp = _warp_device(device)
        with (
            wp.ScopedDevice(self._warp),
            told_how_many_fit(model, num_worlds, self.capacity, self._warp),
        ):
            self._allocate()
            self._capture()
        self.data = LiveFields(self._data_tensor)
        self.model = LiveFields(self._model_tensor)
        self._state = {name: self.data[name] for name in STATE if self.data[name].numel()}
        self._start_afresh()

    def step(self, mask: Tensor | None = None) -> None:
        if mask is None:
            self._step()
            self.diverged = self._diverged_N.clone()
        else:
            self._masked(self._step, mask, self._state | self._derived())
            self.diverged = self._diverged_N & mask

    def reset(self, mask: Tensor) -> None:
        self._mask_N.copy_(mask)
        self._reset()

    def forward(self, mask: Tensor) -> None:
        self._masked(self._forward, mask, self._derived())

    def set_const(self, mask: Tensor) -> None:
        # All worlds: what is computed from fields that have not changed does not change either.
        if self._set_const is not None:
            self._masked(self._set_const, mask, self._derived())

    def check_capacity(self) -> None:
        flags_N = self._overflow_N | wp.to_torch(self._data.overflow)
        message = overflow_message(flags_N.cpu().numpy(), self.capacity)
        if message:
            raise RuntimeError(message)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: field.clone() for name, field in self._state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if "rows" in state:  # saved by the CPU's engine
            batch = BatchEngine(self.mjmodel, self.num_worlds, 1)
            batch.load_state_dict(state)
            state = {name: batch.data[name] for name in self._state}
        for name, field in self._state.items():
            field.copy_(state[name])

    def world_model(self, world: int) -> mujoco.MjModel:
        if not self._fields:
            return self.mjmodel
        model = copy.copy(self.mjmodel)
        for name in self._fields:
            target = getattr(model, name)
            target[:] = self.model[name][world].cpu().numpy().reshape(target.shape)
        mujoco.mj_setConst(model, mujoco.MjData(model))
        return model

    def mjdata(self, world: int) -> mujoco.MjData:
        model = self.world_model(world)
        data = mujoco.MjData(model)
        for name, field in self._state.items():
            if name == "time":
                data.time = float(field[world])
            else:
                getattr(data, name)[:] = field[world].cpu().numpy()
        mujoco.mj_forward(model, data)
        return data

    def _allocate(self) -> None:
        """Everything that the graphs work on; none of it may be replaced later."""
        num_worlds, capacity = self.num_worlds, self.capacity
        derives = bool(DERIVES.intersection(self._fields))
        batched = {*self._fields, *(DERIVED if derives else ())}
        try:
            self._model = mjw.put_model(self.mjmodel, dict.fromkeys(batched, num_worlds))
        except (NotImplementedError, ValueError) as error:
            raise ValueError(
                f"MuJoCo Warp lacks what this model uses ({error}); device 'cpu' has it."
            ) from error
        # Printing from a kernel waits for the host; `check_capacity` tells instead.
        self._model.opt.warn_overflow = False
        self._data = mjw.make_data(
            self.mjmodel, num_worlds, nconmax=capacity.contacts, njmax=capacity.constraints
        )
        self._own = {
            name: wp.zeros(num_worlds, dtype=dtype)
            for name, dtype in (
                ("mask", bool),
                ("diverged", bool),
                ("ncon", int),
                ("overflow", int),
            )
        }
        self._mask_N, self._diverged_N, self._ncon_N, self._overflow_N = map(
            wp.to_torch, self._own.values()
        )
        self._static_S: Any = wp.array(_static_geoms(self.mjmodel), dtype=int)

    def _capture(self) -> None:
        self._step = Replay(self._warp, self._step_kernels)
        self._reset = Replay(self._warp, self._reset_kernels)
        self._forward = Replay(self._warp, self._forward_kernels)
        derives = DERIVES.intersection(self._fields)
        self._set_const = Replay(self._warp, self._set_const_kernels) if derives else None
        # The first launch takes a graph's memory: better here than in the midst of a training.
        wp.synchronize_device(self._warp)
        for graph in (self._step, self._reset, self._forward, self._set_const):
            if graph is not None:
                graph()
        wp.synchronize_device(self._warp)

    def _start_afresh(self) -> None:
        """Forget what compiling has moved."""
        self.reset(torch.ones_like(self._mask_N))
        for values in (self._diverged_N, self._ncon_N, self._overflow_N):
            values.zero_()
        self.diverged = self._diverged_N.clone()

    def _step_kernels(self) -> None:
        self._own["diverged"].zero_()
        self._heal()
        for _ in range(self.substeps):
            mjw.step(self._model, self._data)
        self._heal()
        self._count_contacts()

    def _reset_kernels(self) -> None:
        # A reset clears the overflow of its worlds.
        overflow = self._own["overflow"]
        wp.launch(
            kernels.remember_overflow,
            self.num_worlds,
            inputs=[self._data.overflow],
            outputs=[overflow],
        )
        mjw.reset_data(self._model, self._data, reset=self._own["mask"])

    def _forward_kernels(self) -> None:
        mjw.forward(self._model, self._data)
        self._count_contacts()

    def _set_const_kernels(self) -> None:
        m, d = self._model, self._data
        mjw.set_const(m, d)
        if self._static_S.size:
            wp.launch(
                kernels.place_static_geoms,
                (self.num_worlds, self._static_S.size),
                inputs=[
                    *(self._static_S, m.geom_bodyid, m.geom_pos, m.geom_quat),
                    *(d.xpos, d.xmat),
                ],
                outputs=[d.geom_xpos, d.geom_xmat],
            )

    def _heal(self) -> None:
        d = self._data
        state = [d.time, d.qpos, d.qvel, d.qacc, d.qacc_warmstart, d.act, d.ctrl]
        wp.launch(
            kernels.heal,
            self.num_worlds,
            inputs=[self._model.qpos0],
            outputs=[*state, d.overflow, self._own["diverged"]],
        )

    def _count_contacts(self) -> None:
        d = self._data
        self._own["ncon"].zero_()
        wp.launch(
            kernels.count_contacts,
            d.naconmax,
            inputs=[d.nacon, d.contact.worldid, d.contact.type],
            outputs=[self._own["ncon"]],
        )

    def _masked(self, run: Replay, mask: Tensor, kept: Mapping[str, Tensor]) -> None:
        """Run for all worlds, then put `kept` back in those where the mask is False."""
        before = {name: field.clone() for name, field in kept.items()}
        run()
        for name, field in kept.items():
            here = mask.view(-1, *[1] * (field.ndim - 1))
            field.copy_(torch.where(here, field, before[name]))

    def _derived(self) -> dict[str, Tensor]:
        """The derived fields that somebody looks at."""
        return {name: field for name, field in self.data.items() if name not in STATE}

    def _data_tensor(self, name: str) -> Tensor:
        if name == "ncon":
            ncon_N: Tensor = self._ncon_N
            return ncon_N
        tensor: Tensor = wp.to_torch(getattr(self._data, name))
        return tensor

    def _model_tensor(self, name: str) -> Tensor:
        assert name in self._fields, f"{name} is the same in all worlds; name it in `fields`"
        tensor: Tensor = wp.to_torch(getattr(self._model, name))
        return tensor


def _warp_device(device: Device) -> Any:
    """Warp's device; raises `ValueError` where its driver cannot run the solver's graphs."""
    if device.torch_device.type == "cpu":
        return wp.get_device("cpu")
    if not wp.is_conditional_graph_supported():
        raise ValueError(
            "Physics on the GPU needs a CUDA driver for 12.4 or newer (graphs with conditions); "
            f"this one is for {_version(wp.get_cuda_driver_version())}. Device 'cpu' needs none."
        )
    return wp.device_from_torch(torch.device("cuda", torch.cuda.current_device()))


def _version(version: tuple[int, int] | None) -> str:
    return "an unknown version" if version is None else ".".join(map(str, version))


def _static_geoms(model: mujoco.MjModel) -> list[int]:
    """Geoms on bodies that never move; mocap bodies do."""
    body_G = model.geom_bodyid
    moves_G = (model.body_weldid[body_G] != 0) | (
        model.body_mocapid[model.body_rootid[body_G]] >= 0
    )
    return [int(geom) for geom in (~moves_G).nonzero()[0]]
