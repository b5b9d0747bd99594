"""How many contacts and constraints a world needs room for: measured, not guessed."""

import numpy as np
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import BatchEngine
from quickstudy.envs.engine import Capacity
from quickstudy.envs.headless import mujoco
from quickstudy.envs.warp.package import mjw

PROBE_WORLDS = 16
PROBE_STEPS = 300
HOLD_STEPS = 10
"""Physics steps for which a control is held, so that limbs swing."""
THROW = 5.0
"""Standard deviation of velocities (m/s, rad/s) at the start: bodies land on their backs, too."""
MARGIN = 2


def probe(model: mujoco.MjModel) -> Capacity:
    """Twice the most that worlds meet in C MuJoCo, thrown and under random controls.

    One more for each geom: a pair of geoms takes a contact's place while it is only near.
    """
    engine = BatchEngine(model, PROBE_WORLDS, 1)
    keys = rng.world_keys(0, rng.Stream.EPISODE, PROBE_WORLDS)
    engine.data["qvel"].copy_(THROW * rng.normal(keys, model.nv))
    most_contacts = most_constraints = 0
    for step in range(PROBE_STEPS):
        if step % HOLD_STEPS == 0:
            engine.data["ctrl"].copy_(_controls(step, model.nu))
        engine.step()
        most_contacts = max(most_contacts, int(engine.data["ncon"].max()))
        most_constraints = max(most_constraints, int(engine.data["nefc"].max()))
    return Capacity(
        contacts=MARGIN * most_contacts + model.ngeom,
        constraints=MARGIN * most_constraints + model.ngeom,
    )


def overflow_message(flags: np.ndarray, capacity: Capacity) -> str | None:
    """What was dropped, and what to raise; None if nothing was.

    `flags` are the worlds' `OverflowType` bits.
    """
    # Solvers that stop at their last iteration are no lack of room.
    iterations = mjw.OverflowType.ITERATIONS | mjw.OverflowType.LS_ITERATIONS
    seen = int(np.bitwise_or.reduce(flags)) & ~int(iterations)
    if not seen:
        return None
    tight = {"constraints"} if seen & mjw.OverflowType.NEFC else set()
    tight |= {"contacts"} if seen & ~int(mjw.OverflowType.NEFC) else set()
    settings = [f"{name} (now {getattr(capacity, name)} per world)" for name in sorted(tight)]
    worlds = int(np.count_nonzero(flags & seen))
    return (
        f"Physics dropped contacts in {worlds} of {len(flags)} worlds for want of room. Raise "
        f"{' and '.join(settings)}: `capacity = Capacity(contacts=…, constraints=…)` in the family."
    )


def _controls(step: int, num_controls: int) -> Tensor:
    keys = rng.fold_in(rng.world_keys(0, rng.Stream.ACTION, PROBE_WORLDS), step)
    return 2.0 * rng.uniform(keys, num_controls) - 1.0
