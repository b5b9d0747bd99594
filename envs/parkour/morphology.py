"""The bodies that run parkour, and what of them an option chooses."""

from dataclasses import dataclass
from typing import Literal

LIMB_SCALES = (0.3, 1.5)
"""Limits of `Morphology.limb_scale`; the source draws from U[0.5, 1] (Portelas et al. 2020)."""
TORQUE_SCALES = (0.1, 3.0)
"""Limits of `Morphology.torque_scale`."""


@dataclass(frozen=True)
class Morphology:
    """A student's body, the same in all of its worlds."""

    body: Literal["biped", "climber", "quadruped"] = "biped"
    limb_scale: float = 1.0
    """Factor of the length of every limb segment; their thickness stays."""
    torque_scale: float = 1.0
    """Factor of every motor's torque; the climber's grip stays."""

    def __post_init__(self) -> None:
        _require_within("limb_scale", self.limb_scale, LIMB_SCALES)
        _require_within("torque_scale", self.torque_scale, TORQUE_SCALES)


@dataclass(frozen=True)
class BodyPlan:
    """What the families must know of a body beside its model."""

    model_file: str
    num_joints: int
    num_grips: int
    """Adhesion actuators, the last of the controls."""
    hangs: bool
    """True where it starts below the ceiling, False where it starts on the ground."""
    lowest: float
    """Where the torso's height above the ground falls below this, the robot has fallen: as a share
    of the height it starts at, or in metres where it hangs."""
    steepest: float
    """The pitch of the torso (rad) beyond which the robot has fallen."""

    @property
    def num_controls(self) -> int:
        return self.num_joints + self.num_grips


BODY_PLANS = {
    "biped": BodyPlan("parkour_biped.xml", 6, 0, hangs=False, lowest=0.45, steepest=1.2),
    "climber": BodyPlan("parkour_climber.xml", 4, 2, hangs=True, lowest=0.7, steepest=float("inf")),
    "quadruped": BodyPlan("parkour_quadruped.xml", 8, 0, hangs=False, lowest=0.45, steepest=1.2),
}


def _require_within(name: str, value: float, limits: tuple[float, float]) -> None:
    low, high = limits
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {value:g}.")
