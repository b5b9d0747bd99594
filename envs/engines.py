"""Which engine computes the physics of which device."""

from quickstudy.envs.batch_engine import BatchEngine
from quickstudy.envs.devices import Device
from quickstudy.envs.engine import Capacity, Engine
from quickstudy.envs.headless import mujoco


def make_engine(
    model: mujoco.MjModel,
    num_worlds: int,
    substeps: int,
    device: Device,
    *,
    fields: tuple[str, ...] = (),
    capacity: Capacity | None = None,
    num_threads: int | None = None,
) -> Engine:
    """`num_worlds` worlds of a model on a device.

    Args:
        model: what all worlds start as.
        num_worlds: N.
        substeps: physics steps per `Engine.step`.
        device: its `physics` names the engine.
        fields: model fields that may differ between worlds.
        capacity: room for contacts on a GPU; measured if None.
        num_threads: of the CPU's engine; the processors this process may use if None.

    Raises:
        MissingExtraError: if the device needs MuJoCo Warp, and it is not installed.
        ValueError: if the device lacks what the model uses, or the memory for so many worlds.
    """
    if device.physics == "batch":
        return BatchEngine(model, num_worlds, substeps, num_threads=num_threads)
    # Here, because the extra may be missing.
    from quickstudy.envs.warp_engine import WarpEngine

    return WarpEngine(model, num_worlds, substeps, device, fields=fields, capacity=capacity)
