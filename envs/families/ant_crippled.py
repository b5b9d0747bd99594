"""AntCrippled: run forwards although a leg may be dead.

Shape legend: N worlds, D task parameters, G geoms; 8 motors, 12 geoms of legs, 4 legs or colours.
"""

import itertools
from functools import cached_property

import torch
from torch import Tensor

from quickstudy.envs.body_family import BodyFamily
from quickstudy.envs.families.ant import Ant
from quickstudy.envs.tasks import ListedTasks, Parameter

CONTROL_COST = 0.5
ALIVE_REWARD = 1.0

LEG_OF_ACTUATOR = (3, 3, 0, 0, 1, 1, 2, 2)
"""Hip and ankle of legs 4, 1, 2, 3, as indices of the task vector."""
LEG_GEOMS = slice(2, 14)
"""After the floor and the torso, three of each leg in turn."""
DEAD_RGBA = (0.35, 0.35, 0.35, 1.0)
"""What a dead leg looks like in pictures."""


def dead(*legs: int) -> tuple[float, ...]:
    """The task in which these legs (1–4) are dead and the others work."""
    return tuple(float(leg not in legs) for leg in (1, 2, 3, 4))


class AntCrippled(BodyFamily, Ant):
    """A four-legged ant that must find out which of its legs is dead, and run along +x.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0–3 | leg_1, leg_2, leg_3, leg_4 | none, or one of 1, 2, 3 dead | 4, or two dead | 1 |

    1 is a leg that works, 0 a dead one: neither of its motors does anything. Each of the four
    training tasks has probability ¼; out of distribution are leg 4 and all six pairs. Legs 1 to 4
    stand front left, front right, back left and back right in the model's names, which is +x +y,
    −x +y, −x −y and +x −y.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso | ℝ | root | m |
    | 1–4 | orientation of the torso, quaternion w x y z | [−1, 1] | root | 1 |
    | 5–12 | hip and ankle angles of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad |
    | 13–15 | velocity of the torso | ℝ | root | m/s |
    | 16–18 | angular velocity of the torso | ℝ | root | rad/s |
    | 19–26 | hip and ankle velocities of legs 1–4 | ℝ | hip_1, ankle_1, … ankle_4 | rad/s |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–7 | torques | [−1, 1] | hip_4, ankle_4, hip_1, ankle_1, … ankle_3 | 150 N·m |

    ## Reward

    `run` = velocity along +x (m/s; the change of x over the step divided by 0.05 s), plus `alive` =
    1, minus `control` = 0.5 Σ action², which is charged for dead motors too.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Terminates where the torso leaves heights 0.2–1.0 m; 200 steps (10 s) by default, 2 episodes per
    trial. Standing still earns about 200: read scores beside the anchors.

    ## Physics

    Gymnasium's ant body with an elliptic friction cone and the implicitfast integrator, 5 × 0.01 s
    per step. A dead leg's gears are 0 (and it is drawn grey); its joints keep damping and limits.

    ## Source

    The crippled ant of Nagabandi et al. 2019 (Learning to Adapt), with the reward of AntDir.

    ## Peers

    Nagabandi et al. cripple one of three legs in training and hold the fourth out, as here, but
    never leave all of them whole. They also shrink the dead leg's shapes to half their size, so
    that it hardly touches the ground; pay 0.05 for being alive, charge nothing for control, and
    never terminate. Their observation adds the torso's place and orientation matrix.
    """

    body_fields = ("actuator_gear", "geom_rgba")
    task_space = ListedTasks(
        tuple(Parameter(f"leg_{leg}", 0.0, 1.0, "1") for leg in (1, 2, 3, 4)),
        (dead(), dead(1), dead(2), dead(3)),
        ood=(dead(4), *(dead(*pair) for pair in itertools.combinations((1, 2, 3, 4), 2))),
    )

    def _body(self, task_ND: Tensor) -> dict[str, Tensor]:
        works_N8 = task_ND[:, self._leg_8]
        return {
            "actuator_gear": self._base["actuator_gear"] * works_N8.unsqueeze(2),
            "geom_rgba": self._colours(task_ND == 0.0),
        }

    @cached_property
    def _leg_8(self) -> Tensor:
        return torch.tensor(LEG_OF_ACTUATOR, device=self.device)

    @cached_property
    def _grey_4(self) -> Tensor:
        return self._base["geom_rgba"].new_tensor(DEAD_RGBA)

    def _colours(self, dead_N4: Tensor) -> Tensor:
        base_1G4 = self._base["geom_rgba"]
        rgba_NG4 = base_1G4.expand(len(dead_N4), *base_1G4.shape[1:]).clone()
        dead_N121 = dead_N4.repeat_interleave(3, dim=1).unsqueeze(2)
        rgba_NG4[:, LEG_GEOMS] = torch.where(dead_N121, self._grey_4, rgba_NG4[:, LEG_GEOMS])
        return rgba_NG4

    def _terms(self, velocity_N2: Tensor, effort_N: Tensor) -> dict[str, Tensor]:
        run_N = velocity_N2[:, 0]
        return {
            "run": run_N,
            "alive": torch.full_like(run_N, ALIVE_REWARD),
            "control": -CONTROL_COST * effort_N,
        }
