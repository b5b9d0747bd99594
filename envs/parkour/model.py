"""The MuJoCo model of one student: a body, scaled, and the boxes that courses are made of.

Courses are state, not model. A box is a mocap body, whose place belongs to the state of a world:
one compiled model serves all courses, and contacts are right as soon as a box has moved. (Geoms of
the world itself must not move, and boxes must not grow: MuJoCo's bounds of them would be stale, and
contacts missing without a word. `tests/envs/test_parkour_contacts.py` shows both.)
"""

import numpy as np

from quickstudy.envs.batch_engine import ASSETS
from quickstudy.envs.headless import mujoco
from quickstudy.envs.parkour.course import TRACK_LENGTH, Slots
from quickstudy.envs.parkour.morphology import BODY_PLANS, Morphology

GRIP = 6.0
"""What one hand holds at full grip, in body weights: three at the zero action."""
HALF_DEPTH = 0.6
"""Half of a box's extent across the track, m; robots stay in the plane in its middle."""

WIDE = 0.5
"""Half of the width, m, from which a box is a slab."""


def build_model(morphology: Morphology, slots: Slots) -> mujoco.MjModel:
    """A body on the ground (or below the ceiling), with every box out of the way."""
    spec = mujoco.MjSpec.from_file(str(ASSETS / BODY_PLANS[morphology.body].model_file))
    torso = spec.body("torso")
    _scale_limbs(torso, morphology.limb_scale)
    _scale_torques(spec, morphology.torque_scale)
    _place(spec, torso, BODY_PLANS[morphology.body].hangs, slots)
    _add_course(spec, slots)
    model = spec.compile()
    assert not mujoco.mj_isSparse(model), "see `load_model`"
    return model


def _scale_limbs(torso: mujoco.MjsBody, scale: float) -> None:
    """Lengthen all segments below the torso; what is attached to the torso stays where it is."""
    for first in torso.bodies:
        for limb in [first, *first.find_all("body")]:
            for geom in limb.geoms:
                geom.fromto = np.asarray(geom.fromto) * scale  # NaN, and kept, for a sphere
                geom.pos = np.asarray(geom.pos) * scale
            if limb is not first:
                limb.pos = np.asarray(limb.pos) * scale


def _scale_torques(spec: mujoco.MjSpec, scale: float) -> None:
    for actuator in spec.actuators:
        if actuator.trntype == mujoco.mjtTrn.mjTRN_JOINT:
            actuator.gear = np.asarray(actuator.gear) * scale


def _place(spec: mujoco.MjSpec, torso: mujoco.MjsBody, hangs: bool, slots: Slots) -> None:
    """Let the rest pose touch the ground or the ceiling, and grips hold what they must."""
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    low, high = _extent(model, data)
    height = slots.ceiling - high if hangs and slots.ceiling is not None else -low
    torso.pos = [0.0, 0.0, height]
    spec.joint("rootz").ref = height
    weight = float(model.body_subtreemass[0]) * float(np.linalg.norm(model.opt.gravity))
    for actuator in spec.actuators:
        if actuator.trntype == mujoco.mjtTrn.mjTRN_BODY:
            actuator.gainprm[0] = GRIP * weight


def _extent(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[float, float]:
    """The lowest and the highest point of a body of capsules and spheres, m."""
    robot = model.geom_type != int(mujoco.mjtGeom.mjGEOM_PLANE)
    half_G = np.where(
        model.geom_type == int(mujoco.mjtGeom.mjGEOM_CAPSULE),
        model.geom_size[:, 1] * np.abs(data.geom_xmat[:, 8]),
        0.0,
    )
    low_G = data.geom_xpos[:, 2] - half_G - model.geom_size[:, 0]
    high_G = data.geom_xpos[:, 2] + half_G + model.geom_size[:, 0]
    return float(low_G[robot].min()), float(high_G[robot].max())


def _add_course(spec: mujoco.MjSpec, slots: Slots) -> None:
    spec.geom("floor").pos = [0.0, 0.0, slots.floor]
    places = zip(slots.half_widths, slots.hidden_faces, slots.offsets, strict=True)
    for half_width, face, offset in places:
        box = spec.worldbody.add_body(pos=[0.0, 0.0, face + offset], mocap=True)
        # Where boxes overlap slabs or the ceiling, faces in one plane would flicker.
        depth = HALF_DEPTH if half_width >= WIDE else 0.95 * HALF_DEPTH
        box.add_geom(spec.find_default("course"), size=[half_width, depth, slots.half_height])
    if slots.ceiling is not None:
        _add_ceiling(spec, slots.ceiling, slots.half_height)
    _add_finish(spec, slots)


def _add_ceiling(spec: mujoco.MjSpec, height: float, half_height: float) -> None:
    """A thick slab, so that hanging boxes out of use are hidden in it."""
    spec.worldbody.add_geom(
        spec.find_default("course"),
        name="ceiling",
        pos=[TRACK_LENGTH / 2, 0.0, height + half_height],
        size=[TRACK_LENGTH, HALF_DEPTH, half_height],
    )


def _add_finish(spec: mujoco.MjSpec, slots: Slots) -> None:
    """A flag behind the track, to be seen only."""
    spec.worldbody.add_geom(
        name="finish",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[TRACK_LENGTH, HALF_DEPTH + 0.1, 1.0],
        size=[0.03, 0.03, 1.0 if slots.floor == 0.0 else 20.0],
        contype=0,
        conaffinity=0,
        rgba=[0.85, 0.25, 0.2, 1.0],
    )
