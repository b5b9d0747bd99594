"""HumanoidDir: walk in any direction, on two legs.

Shape legend: N worlds, Q generalised positions.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.tasks import BoxTasks, Parameter

RUN_REWARD = 1.25
"""Per m/s along the heading."""
ALIVE_REWARD = 5.0
CONTROL_COST = 0.016
"""0.1 per squared unit of Gymnasium's control, which is 0.4 × action."""
HEALTHY_HEIGHT = (1.0, 2.0)
"""Metres; a humanoid whose torso is lower or higher has fallen."""
RESET_NOISE = 0.01


class HumanoidDir(MujocoFamily):
    """A humanoid that must find out which way to walk, and not fall.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | heading | U[0, 2π), in disjoint cells of 2π/100 | rad |

    All directions are there, so there is no `ood` split.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso | ℝ | root | m |
    | 1–4 | orientation of the torso, quaternion w x y z | [−1, 1] | root | 1 |
    | 5–7 | abdomen angles | ℝ | abdomen_z, _y, _x | rad |
    | 8–11 | right hip and knee angles | ℝ | right_hip_x, _z, _y, right_knee | rad |
    | 12–15 | left hip and knee angles | ℝ | left_hip_x, _z, _y, left_knee | rad |
    | 16–18 | right arm angles | ℝ | right_shoulder1, 2, right_elbow | rad |
    | 19–21 | left arm angles | ℝ | left_shoulder1, 2, left_elbow | rad |
    | 22–24 | velocity of the torso | ℝ | root | m/s |
    | 25–27 | angular velocity of the torso | ℝ | root | rad/s |
    | 28–30 | abdomen velocities | ℝ | abdomen_z, _y, _x | rad/s |
    | 31–34 | right hip and knee velocities | ℝ | right_hip_x, _z, _y, right_knee | rad/s |
    | 35–38 | left hip and knee velocities | ℝ | left_hip_x, _z, _y, left_knee | rad/s |
    | 39–41 | right arm velocities | ℝ | right_shoulder1, 2, right_elbow | rad/s |
    | 42–44 | left arm velocities | ℝ | left_shoulder1, 2, left_elbow | rad/s |

    These are the first 45 of Gymnasium's 348. The rest (inertias, velocities and forces of single
    bodies) follows from these 45 and the last action, but for the contact forces.

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | abdomen torques | [−1, 1] | abdomen_y, _z, _x | 40 N·m |
    | 3–6 | right hip and knee torques | [−1, 1] | right_hip_x, _z, _y, knee | 40, 40, 120, 80 N·m |
    | 7–10 | left hip and knee torques | [−1, 1] | left_hip_x, _z, _y, knee | 40, 40, 120, 80 N·m |
    | 11–13 | right arm torques | [−1, 1] | right_shoulder1, 2, right_elbow | 10 N·m |
    | 14–16 | left arm torques | [−1, 1] | left_shoulder1, 2, left_elbow | 10 N·m |

    ## Reward

    `run` = 1.25 × velocity of the centre of mass in the plane · (cos heading, sin heading) (m/s),
    plus `alive` = 5, minus `control` = 0.016 Σ action². The velocity is the change of the centre of
    mass over the step divided by 0.015 s; as in Gymnasium, both ends are one physics step old.

    ## Episode

    Starts at the model's rest pose with noise U(−0.01, 0.01) on positions and velocities.
    Terminates where the torso leaves heights 1.0–2.0 m; 200 steps (3 s) by default, 2 episodes per
    trial. Staying up earns 5 a step: read scores beside the anchors.

    ## Physics

    Gymnasium's humanoid body with an elliptic friction cone, the implicitfast integrator and the
    Newton solver (instead of RK4 and PGS), 5 × 0.003 s per step.

    ## Source

    PEARL's humanoid with random directions (Rakelly et al. 2019); the body is that of Tassa, Erez &
    Todorov 2012.

    ## Peers

    PEARL and VariBAD have these headings, terms and heights. They also subtract min(10, 5·10⁻⁷ Σ
    contact force²), which is zero under mujoco-py above 2.0, and show 376 features; both are left
    out here. PEARL's tasks are a list of 100 for training and 30 for evaluation; VariBAD draws
    afresh and holds none out. ProMP's humanoid is told ±x.
    """

    model_file = "humanoid.xml"
    substeps = 5
    observation_space = unbounded_box(45)
    action_space = unit_box(17)
    render_fps = 67
    task_space = BoxTasks(Parameter("heading", 0.0, 2.0 * math.pi, "rad"))

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._height_N = self._qpos_NQ[:, 2]
        self._seen = [self._qpos_NQ[:, 2:], self._qvel_NV]
        self._com_N2 = self.engine.data["subtree_com"][:, 0, :2]
        self._com_before_N2 = torch.zeros_like(self._com_N2)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        super()._start_episode(mask_N, key_N)
        self.engine.forward(mask_N)
        self._com_before_N2 = torch.where(mask_N.unsqueeze(1), self._com_N2, self._com_before_N2)

    def _initial_state(self, key_N: Tensor) -> tuple[Tensor, Tensor]:
        num_qpos, num_qvel = self._qpos_NQ.shape[1], self._qvel_NV.shape[1]
        noise = RESET_NOISE * (2.0 * rng.uniform(key_N, num_qpos + num_qvel) - 1.0)
        return self._qpos0_Q + noise[:, :num_qpos], noise[:, num_qpos:]

    def _observe(self) -> Tensor:
        return torch.cat(self._seen, dim=1)

    def _advance(self, action: Tensor) -> Outcome:
        self._simulate(action)
        velocity_N2 = (self._com_N2 - self._com_before_N2) / self.engine.dt
        self._com_before_N2.copy_(self._com_N2)
        heading_N = self.task_ND[:, 0]
        along_N = velocity_N2[:, 0] * heading_N.cos() + velocity_N2[:, 1] * heading_N.sin()
        low, high = HEALTHY_HEIGHT
        terms = {
            "run": RUN_REWARD * along_N,
            "alive": torch.full_like(along_N, ALIVE_REWARD),
            "control": -CONTROL_COST * action.square().sum(dim=1, dtype=torch.float64),
        }
        return Outcome(
            terms, (self._height_N < low) | (self._height_N > high), self.engine.diverged
        )

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {"com": self._com_before_N2.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._com_before_N2.copy_(state["com"])
