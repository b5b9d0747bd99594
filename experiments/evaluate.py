"""Evaluation: exactly the asked tasks, exactly K episodes of each.

Shape legend: N tasks, D task parameters.
"""

from torch import Tensor

from quickstudy.envs.accounts import TrialResults, joined
from quickstudy.envs.play import Policy, play_one_trial
from quickstudy.envs.trials import FixedTasks, TrialEnv

MAX_WORLDS = 1024
"""Tasks evaluated side by side; more are done in turn."""


def evaluate(
    policy: Policy,
    family: str,
    task_ND: Tensor,
    *,
    episode_length: int | None = None,
    episodes_per_trial: int | None = None,
    switch_episode: int | None = None,
    reveal_task: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> TrialResults:
    """Play one trial on each task; returns are unscaled.

    Every world plays one trial and no other is counted, so short episodes cannot crowd out long
    ones. Task i's physics noise depends on the seed and i alone.

    Args:
        policy: whoever acts.
        family: a registered name.
        task_ND: the tasks, `(N, D)`.
        episode_length: steps per episode; the family's default if None.
        episodes_per_trial: K; the family's default if None.
        switch_episode: the episode from which on task i + 1 is played in task i's place; None:
            one task per trial.
        reveal_task: append the task to the observation.
        seed: of physics noise.
        device: where the worlds are; a policy that is an agent must be there too.

    Returns:
        One trial on each task, row i that of task i.

    Raises:
        ValueError: for tasks that the family does not have.
    """
    parts = []
    for start in range(0, len(task_ND), MAX_WORLDS):
        part_ND = task_ND[start : start + MAX_WORLDS]
        env = TrialEnv(
            family,
            len(part_ND),
            episode_length=episode_length,
            episodes_per_trial=episodes_per_trial,
            switch_episode=switch_episode,
            task_source=FixedTasks(part_ND),
            reveal_task=reveal_task,
            device=device,
        )
        parts.append(play_one_trial(policy, env, seed + start))
        env.close()
    return joined(parts)
