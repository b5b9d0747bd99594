"""Bodies whose masses, inertias, friction and damping are scaled at random, as in PEARL.

Shape legend: N worlds, D task parameters, B bodies (the world first), G geoms (the floor first),
V degrees of freedom.
"""

import math

import torch
from torch import Tensor

from quickstudy.envs.body_family import BodyFamily
from quickstudy.envs.tasks import BoxTasks, Parameter

LOG_MASS = math.log(1.5)
"""Natural logarithm of the base of the mass, inertia and friction multipliers."""
LOG_DAMPING = math.log(1.3)
"""Natural logarithm of the base of the damping multipliers."""
LIMIT = 3.0
"""Exponents are drawn from U(−3, 3) …"""
OOD_LIMIT = 4.0
"""… and out of distribution from U(−4, 4), the first one from U(3, 4)."""


def rand_params(segments: tuple[str, ...], dofs: tuple[str, ...]) -> BoxTasks:
    """One exponent per multiplier of a robot's segments and degrees of freedom.

    The world's mass and inertia and the floor's friction come after the segments', so that the
    first parameter, whose cells tell `train` from `test`, is a mass that counts.
    """
    names = [f"mass_{body}" for body in (*segments, "world")]
    names += [f"inertia_{axis}_{body}" for body in (*segments, "world") for axis in (1, 2, 3)]
    kinds = ("sliding", "torsional", "rolling")
    names += [f"{kind}_{geom}" for geom in (*segments, "floor") for kind in kinds]
    names += [f"damping_{dof}" for dof in dofs]
    wider = ((-OOD_LIMIT, OOD_LIMIT),) * (len(names) - 1)
    return BoxTasks(
        *(Parameter(name, -LIMIT, LIMIT, "log") for name in names),
        ood=((LIMIT, OOD_LIMIT), *wider),
    )


def possible_inertia(inertia_NB3: Tensor) -> Tensor:
    """Principal moments that a body can have: the third goes to the nearest one that is possible.

    No moment may exceed the sum of the other two. The first two moments (across a limb; the second
    is the one that planar motion feels) stay as they are, and the third (about the limb) is clamped
    to what they allow: between their difference and their sum.
    """
    first_NB, second_NB, third_NB = inertia_NB3.unbind(-1)
    low_NB, high_NB = (first_NB - second_NB).abs(), first_NB + second_NB
    return torch.stack([first_NB, second_NB, third_NB.clamp(low_NB, high_NB)], dim=-1)


class RandParams(BodyFamily):
    """Makes a planar robot's task the exponents of its multipliers."""

    body_fields = ("body_mass", "body_inertia", "geom_friction", "dof_damping")

    def _body(self, task_ND: Tensor) -> dict[str, Tensor]:
        base = self._base
        sizes = [base[name].numel() for name in self.body_fields]
        mass_NB, inertia_NK, friction_NK, damping_NV = task_ND.split_with_sizes(sizes, dim=1)
        inertia_NB3 = _world_first(inertia_NK.reshape(len(task_ND), -1, 3))
        friction_NG3 = _world_first(friction_NK.reshape(len(task_ND), -1, 3))
        return {
            "body_mass": base["body_mass"] * _power(LOG_MASS, _world_first(mass_NB)),
            "body_inertia": possible_inertia(base["body_inertia"] * _power(LOG_MASS, inertia_NB3)),
            "geom_friction": base["geom_friction"] * _power(LOG_MASS, friction_NG3),
            "dof_damping": base["dof_damping"] * _power(LOG_DAMPING, damping_NV),
        }

    def _terms(self, velocity_N: Tensor, control_N: Tensor) -> dict[str, Tensor]:
        alive_N = torch.ones_like(velocity_N)
        return {"run": velocity_N, "alive": alive_N, "control": control_N}


def _world_first(x: Tensor) -> Tensor:
    """From the task's order of bodies to MuJoCo's."""
    return x.roll(1, dims=1)


def _power(log_base: float, exponent: Tensor) -> Tensor:
    # Not torch.pow: its last bit depends on where in the tensor a number stands, hence on N.
    return (log_base * exponent).exp()
