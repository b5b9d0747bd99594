"""HalfCheetahDirSparse: which way to run shows only far from the start."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.families.half_cheetah import HalfCheetah
from quickstudy.envs.families.half_cheetah_dir import HalfCheetahDir
from quickstudy.envs.family import OneStep, Outcome, unbounded_box

SILENT_DISTANCE = 5.0
"""Metres from the origin; nearer than this, running earns nothing."""


class HalfCheetahDirSparse(HalfCheetahDir):
    """A planar cheetah that must run far to find out whether that was the right way.

    ## Task

    | index | name | values | unit |
    |---|---|---|---|
    | 0 | direction | −1 (backwards) or +1 (forwards), each with probability ½ | sign |

    The two tasks are all there is: `train` and `test` share them (held out are the seeds), and
    there is no `ood` split.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | position of the torso along the track | ℝ | rootx | m |
    | 1 | height of the torso | ℝ | rootz | m |
    | 2 | pitch of the torso | ℝ | rooty | rad |
    | 3–5 | back thigh, shin, foot angle | ℝ | bthigh, bshin, bfoot | rad |
    | 6–8 | front thigh, shin, foot angle | ℝ | fthigh, fshin, ffoot | rad |
    | 9 | forward velocity of the torso | ℝ | rootx | m/s |
    | 10 | vertical velocity of the torso | ℝ | rootz | m/s |
    | 11 | pitch velocity of the torso | ℝ | rooty | rad/s |
    | 12–14 | back thigh, shin, foot velocity | ℝ | bthigh, bshin, bfoot | rad/s |
    | 15–17 | front thigh, shin, foot velocity | ℝ | fthigh, fshin, ffoot | rad/s |

    The position is shown because the reward depends on it: without it not even someone who knew
    the task could tell what a step will earn. It says nothing of the direction.

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | back thigh, shin, foot torque | [−1, 1] | bthigh, bshin, bfoot | 120, 90, 60 N·m |
    | 3–5 | front thigh, shin, foot torque | [−1, 1] | fthigh, fshin, ffoot | 120, 60, 30 N·m |

    ## Reward

    `run` = direction × forward velocity (m/s) where the step ends 5 m or more from the origin, on
    either side, else 0; minus `control` = 0.05 Σ action². The velocity is the change of x over the
    step divided by 0.05 s.

    ## Episode

    Starts at the model's rest pose with noise (positions U(−0.1, 0.1), velocities 0.1·N(0, 1)).
    Never terminates; 200 steps (10 s) by default, 2 episodes per trial. At 2 m/s the border is
    reached in 2.5 s; random actions reach it in one episode of a hundred. Whoever comes out on the
    wrong side learns it from the first negative reward, and can turn round, or go the other way in
    the second episode.

    ## Source

    HyperX's sparse half-cheetah-direction (Zintgraf et al. 2021).

    ## Peers

    HyperX plays one episode of 200 steps, and shows the torso's x, y and z after the joints (20
    features). Its border and costs are those here.
    """

    observation_space = unbounded_box(18)

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._seen = [self._qpos_NQ, self._qvel_NV]

    def _advance(self, action: Tensor) -> Outcome:
        outcome = super()._advance(action)
        run_N = outcome.reward_terms["run"]
        far_N = self._x_N.abs() >= SILENT_DISTANCE
        terms = outcome.reward_terms | {"run": torch.where(far_N, run_N, 0.0)}
        return replace(outcome, reward_terms=terms)

    def step_one(self, action_A: np.ndarray) -> OneStep:
        """As `step`: the half-cheetahs' fast lane knows no x."""
        return super(HalfCheetah, self).step_one(action_A)
