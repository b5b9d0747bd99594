"""The half-cheetahs of PEARL, VariBAD and TrMRL: 20 features, to compare with their curves.

Shape legend: N worlds, A action dimensions.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.families.half_cheetah import HalfCheetah
from quickstudy.envs.families.half_cheetah_dir import HalfCheetahDir
from quickstudy.envs.families.half_cheetah_vel import HalfCheetahVel
from quickstudy.envs.family import OneStep, Outcome, unbounded_box

TORSO_HEIGHT = 0.7
"""Metres above the floor where `rootz` is 0."""


class HalfCheetahLegacy(HalfCheetah):
    """Adds the torso's position to the observation, as `get_body_com("torso")` returned it.

    MuJoCo's body positions lag its joints by one physics step, except at an episode's start.
    """

    observation_space = unbounded_box(20)

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._substep = self.engine.dt / self.engine.substeps
        self._lag_N1 = torch.zeros(num_worlds, 1, dtype=torch.float64, device=self.device)
        """By how many seconds the torso's position lags."""
        self._zero_N1 = torch.zeros_like(self._lag_N1)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        super()._start_episode(mask_N, key_N)
        self._lag_N1.masked_fill_(mask_N.unsqueeze(1), 0.0)

    def _advance(self, action: Tensor) -> Outcome:
        self._lag_N1.fill_(self._substep)
        return super()._advance(action)

    def _observe(self) -> Tensor:
        # A physics step (Euler's) moves a joint by its new velocity.
        xz_N2 = self._qpos_NQ[:, :2] - self._lag_N1 * self._qvel_NV[:, :2]
        torso = [xz_N2[:, :1], self._zero_N1, xz_N2[:, 1:] + TORSO_HEIGHT]
        return torch.cat([*self._seen, *torso], dim=1)

    def step_one(self, action_A: np.ndarray) -> OneStep:
        """As `step`, without tensors."""
        self._lag_N1.fill_(self._substep)
        step = super().step_one(action_A)
        torso_3 = np.zeros(3, np.float32)
        if not step.diverged:
            qpos_Q, qvel_V, _ = self._row
            torso_3[0] = qpos_Q[0] - self._substep * qvel_V[0]
            torso_3[2] = qpos_Q[1] - self._substep * qvel_V[1] + TORSO_HEIGHT
        return step._replace(observation=np.concatenate([step.observation, torso_3]))

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {"lag": self._lag_N1.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._lag_N1 = self._restored(state["lag"])


class HalfCheetahDirLegacy(HalfCheetahLegacy, HalfCheetahDir):
    """HalfCheetahDir with the 20 features that PEARL, VariBAD and TrMRL show.

    ## Task

    | index | name | values | unit |
    |---|---|---|---|
    | 0 | direction | −1 (backwards) or +1 (forwards), each with probability ½ | sign |

    The two tasks are all there is: `train` and `test` share them (held out are the seeds), and
    there is no `ood` split.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–16 | HalfCheetahDir's observation | ℝ | all | m, rad, m/s, rad/s |
    | 17 | position of the torso, x | ℝ | rootx | m |
    | 18 | position of the torso, y | 0 | | m |
    | 19 | position of the torso, z | ℝ | rootz | m |

    The position is that of 0.01 s ago, except in an episode's first observation. With x in sight, a
    policy need not remember where it came from.

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | back thigh, shin, foot torque | [−1, 1] | bthigh, bshin, bfoot | 120, 90, 60 N·m |
    | 3–5 | front thigh, shin, foot torque | [−1, 1] | fthigh, fshin, ffoot | 120, 60, 30 N·m |

    ## Reward

    `run` = direction × forward velocity (m/s), minus `control` = 0.05 Σ action². The velocity is
    the change of x over the step divided by 0.05 s.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Never terminates; 200 steps (10 s) by default, 2 episodes per trial.

    ## Source

    PEARL's half-cheetah (Rakelly et al. 2019), which VariBAD and TrMRL took over.

    ## Peers

    Task, observation, reward and length are PEARL's, VariBAD's and TrMRL's. Physics is Gymnasium's
    HalfCheetah-v5, theirs that of older MuJoCo versions.
    """


class HalfCheetahVelLegacy(HalfCheetahLegacy, HalfCheetahVel):
    """HalfCheetahVel with the 20 features that PEARL, VariBAD and TrMRL show.

    ## Task

    | index | name | train, test | ood | unit |
    |---|---|---|---|---|
    | 0 | velocity | U[0, 3], in disjoint cells of 0.03 | U[3, 4] | m/s |

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–16 | HalfCheetahVel's observation | ℝ | all | m, rad, m/s, rad/s |
    | 17 | position of the torso, x | ℝ | rootx | m |
    | 18 | position of the torso, y | 0 | | m |
    | 19 | position of the torso, z | ℝ | rootz | m |

    The position is that of 0.01 s ago, except in an episode's first observation.

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | back thigh, shin, foot torque | [−1, 1] | bthigh, bshin, bfoot | 120, 90, 60 N·m |
    | 3–5 | front thigh, shin, foot torque | [−1, 1] | fthigh, fshin, ffoot | 120, 60, 30 N·m |

    ## Reward

    `speed` = −|forward velocity − target velocity| (m/s), minus `control` = 0.05 Σ action². The
    velocity is the change of x over the step divided by 0.05 s.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Never terminates; 200 steps (10 s) by default, 2 episodes per trial.

    ## Source

    PEARL's half-cheetah (Rakelly et al. 2019), which VariBAD and TrMRL took over; TrMRL's
    out-of-distribution range U[3, 4].

    ## Peers

    Observation, reward and length are PEARL's, VariBAD's and TrMRL's. PEARL's tasks are a list of
    100 for training and 30 for evaluation; VariBAD and TrMRL draw both afresh from U[0, 3], so that
    nothing is held out. Physics is Gymnasium's HalfCheetah-v5, theirs that of older MuJoCo
    versions.
    """
