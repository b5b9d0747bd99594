"""References of the families in which a cue must be remembered."""

import torch
from torch import Tensor

from quickstudy.envs.references.reference import Reference, Trials, exact
from quickstudy.envs.trials import TimeStep, TrialEnv


def memory_chain_references(trials: Trials) -> list[Reference]:
    """The cue named each time, and guessed each time."""
    episodes = trials.episodes_per_trial
    return [
        exact("perfect memory", (1.0,) * episodes, "the cue is named"),
        exact("no memory", (0.0,) * episodes, "any answer: the cue is a fair coin"),
    ]


class TargetPlayer:
    """PointRecall's scripted expert, told the truth or always the same target."""

    def __init__(self, target: float | None) -> None:
        self._target = target

    def begin(self, env: TrialEnv) -> None:
        self._env = env

    def act(self, time_step: TimeStep) -> Tensor:
        del time_step  # unused: it sees the physics
        told_N1 = self._env.tasks
        if self._target is not None:
            told_N1 = torch.full_like(told_N1, self._target)
        action = self._env.family.expert_action(told_N1)
        assert action is not None
        return action


def point_recall_references(trials: Trials) -> list[Reference]:
    """Straight to the target, and always to the same one."""
    return [
        trials.play("perfect memory", lambda seed: TargetPlayer(None), "scripted expert"),
        trials.play("no memory", lambda seed: TargetPlayer(0.0), "the expert, always told east"),
    ]
