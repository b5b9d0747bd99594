"""Evaluation: exactly the asked tasks, exactly K episodes of each.

Shape legend: N tasks, D task parameters.
"""

from torch import Tensor

from quickstudy.envs.accounts import TrialResults, joined
from quickstudy.envs.play import Policy, play_one_trial
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.envs.trials import FixedTasks

MAX_WORLDS = 1024
"""Tasks evaluated side by side; more are done in turn."""


def evaluate(policy: Policy, setup: TrialSetup, task_ND: Tensor, seed: int = 0) -> TrialResults:
    """Play one trial on each task; returns are unscaled.

    Every world plays one trial and no other is counted, so short episodes cannot crowd out long
    ones. Task i's physics noise depends on the seed and i alone.

    Args:
        policy: whoever acts; an agent must be on the setup's device.
        setup: what is played; where it switches, task i + 1 takes task i's place.
        task_ND: the tasks, `(N, D)`.
        seed: of physics noise.

    Returns:
        One trial on each task, row i that of task i.

    Raises:
        ValueError: for tasks that the family does not have.
    """
    parts = []
    for start in range(0, len(task_ND), MAX_WORLDS):
        part_ND = task_ND[start : start + MAX_WORLDS]
        env = setup.env(len(part_ND), FixedTasks(part_ND))
        parts.append(play_one_trial(policy, env, seed + start))
        env.close()
    return joined(parts)
