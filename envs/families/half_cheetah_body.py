"""HalfCheetahBody: run forwards on legs of unknown length and strength.

Shape legend: N worlds, D task parameters, B bodies, G geoms; 6 leg segments (bthigh, bshin, bfoot,
fthigh, fshin, ffoot), which are the last six bodies and geoms, and the six actuators.
"""

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from quickstudy.envs.body_family import BodyFamily
from quickstudy.envs.families.half_cheetah import HalfCheetah, Real
from quickstudy.envs.tasks import BoxTasks, Parameter

SEGMENTS = 6
TORSO = 1
HIPS = (0, 3)
"""The thighs: their bodies sit on the torso, whose length does not change."""

REACH = (0.487 + 0.094 * math.cos(0.27), 0.49 + 0.07 * math.cos(0.6))
"""How far the back and the front leg reach down at rest, from the hip to the end of the foot's axis
(m): down to the middle of the foot, and its tilted half. Its radius comes on top, and stays."""


class HalfCheetahBody(BodyFamily, HalfCheetah):
    """A planar cheetah that must find out what its legs are like, and run forwards on them.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | back_length | U[0.7, 1.3], in disjoint cells of 0.006 | U[1.3, 1.5] | 1 |
    | 1 | front_length | U[0.7, 1.3] | U[1.3, 1.5] | 1 |
    | 2 | back_gear | U[0.5, 1.5] | U[0.5, 1.5] | 1 |
    | 3 | front_gear | U[0.5, 1.5] | U[0.5, 1.5] | 1 |

    Lengths and gears are relative to the ordinary half-cheetah's.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso above its height at rest | ℝ | rootz | m |
    | 1 | pitch of the torso | ℝ | rooty | rad |
    | 2–4 | back thigh, shin, foot angle | ℝ | bthigh, bshin, bfoot | rad |
    | 5–7 | front thigh, shin, foot angle | ℝ | fthigh, fshin, ffoot | rad |
    | 8 | forward velocity of the torso | ℝ | rootx | m/s |
    | 9 | vertical velocity of the torso | ℝ | rootz | m/s |
    | 10 | pitch velocity of the torso | ℝ | rooty | rad/s |
    | 11–13 | back thigh, shin, foot velocity | ℝ | bthigh, bshin, bfoot | rad/s |
    | 14–16 | front thigh, shin, foot velocity | ℝ | fthigh, fshin, ffoot | rad/s |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | back thigh, shin, foot torque | [−1, 1] | bthigh, bshin, bfoot | 120, 90, 60 N·m |
    | 3–5 | front thigh, shin, foot torque | [−1, 1] | fthigh, fshin, ffoot | 120, 60, 30 N·m |

    The torques are those of gear 1.

    ## Reward

    `run` = forward velocity (m/s), minus `control` = 0.05 Σ action². The velocity is the change of
    x over the step divided by 0.05 s.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)), the
    longer leg as far above the ground as the ordinary half-cheetah's. Never terminates; 200 steps
    (10 s) by default, 2 episodes per trial.

    ## Physics

    Gymnasium's HalfCheetah-v5 body (Euler, pyramidal friction, 5 × 0.01 s) at lengths and gears of
    1. A leg's segments are stretched along their axes: radius and density stay, so mass and inertia
    follow. Springs, damping and the torso are the same for all.

    ## Source

    This suite's own, to be learnt quickly as the crippled half-cheetah of Nagabandi et al. 2019
    is, but with a body that differs by degrees.

    ## Peers

    None has this task. gym-extensions (Henderson et al. 2017) has half-cheetahs with one part (a
    torso, thigh, leg or foot) a quarter larger or smaller, each an environment of its own.
    """

    body_fields = (
        *("body_pos", "body_ipos", "body_mass", "body_inertia"),
        *("geom_pos", "geom_size", "actuator_gear"),
    )
    task_space = BoxTasks(
        Parameter("back_length", 0.7, 1.3, "1"),
        Parameter("front_length", 0.7, 1.3, "1"),
        Parameter("back_gear", 0.5, 1.5, "1"),
        Parameter("front_gear", 0.5, 1.5, "1"),
        ood=((1.3, 1.5), (1.3, 1.5), (0.5, 1.5), (0.5, 1.5)),
    )

    def _body(self, task_ND: Tensor) -> dict[str, Tensor]:
        length_N2, gear_N2 = task_ND.chunk(2, dim=1)
        scale_N6 = length_N2.repeat_interleave(3, dim=1)
        scale_N61 = scale_N6.unsqueeze(2)
        geom_size_NG3 = self._with_legs("geom_size", scale_N61)
        geom_size_NG3[..., 0] = self._base["geom_size"][..., 0]  # the radius
        mass_N6, inertia_N63 = self._capsules(scale_N6)
        return {
            "body_pos": self._body_pos(length_N2, scale_N61),
            "body_ipos": self._with_legs("body_ipos", scale_N61),
            "body_mass": self._with_legs("body_mass", mass_N6),
            "body_inertia": self._with_legs("body_inertia", inertia_N63),
            "geom_pos": self._with_legs("geom_pos", scale_N61),
            "geom_size": geom_size_NG3,
            "actuator_gear": self._with_legs(
                "actuator_gear", gear_N2.repeat_interleave(3, dim=1).unsqueeze(2)
            ),
        }

    @cached_property
    def _reach_2(self) -> Tensor:
        return torch.tensor(REACH, dtype=torch.float64, device=self.device)

    def _with_legs(self, name: str, factor: Tensor) -> Tensor:
        """A field `(N, …)` whose six leg segments are multiplied by `factor` `(N, 6, …)`."""
        base = self._base[name]
        field = base.expand(len(factor), *base.shape[1:]).clone()
        field[:, -SEGMENTS:] *= factor
        return field

    def _body_pos(self, length_N2: Tensor, scale_N61: Tensor) -> Tensor:
        """Knees and ankles move along the legs, and the torso up for longer ones."""
        factor_N61 = scale_N61.clone()
        for hip in HIPS:
            factor_N61[:, hip] = 1.0
        pos_NB3 = self._with_legs("body_pos", factor_N61)
        pos_NB3[:, TORSO, 2] += (length_N2 * self._reach_2).amax(dim=1) - max(REACH)
        return pos_NB3

    def _capsules(self, scale_N6: Tensor) -> tuple[Tensor, Tensor]:
        """How mass `(N, 6)` and principal moments `(N, 6, 3)` grow with the segments' length."""
        radius_16, half_16 = self._base["geom_size"][:, -SEGMENTS:, :2].unbind(2)
        before, after = (capsule(radius_16, s * half_16) for s in (1.0, scale_N6))
        return after[0] / before[0], after[1] / before[1]

    def _terms(self, velocity: Real, control: Real, task: Sequence[Real]) -> dict[str, Real]:
        return {"run": velocity, "control": control}


def capsule(radius: Tensor, half_length: Tensor) -> tuple[Tensor, Tensor]:
    """Mass and principal moments of capsules of density 1, which are shaped as `half_length` is.

    A cylinder with a half ball at each end, whose centre of mass is 3/8 of the radius away from its
    flat side; the moments `(…, 3)` are two across the axis and one about it.
    """
    cylinder = 2.0 * math.pi * radius**2 * half_length
    ball = 4.0 / 3.0 * math.pi * radius**3 * torch.ones_like(half_length)
    axial = cylinder * radius**2 / 2.0 + ball * radius**2 * 0.4
    across = cylinder * (radius**2 / 4.0 + half_length**2 / 3.0)
    across = across + ball * (0.4 * radius**2 + half_length**2 + 0.75 * radius * half_length)
    return cylinder + ball, torch.stack([across, across, axial], dim=-1)
