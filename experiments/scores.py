"""What a teacher is told about a trial: one number.

Shape legend: T time, B worlds, n finished trials, K episodes per trial.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.agents.returns import gae
from quickstudy.agents.rollout import Rollout
from quickstudy.envs.accounts import TrialResults

Signal = Literal["return", "last-return", "gain", "success", "regret", "value-loss"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
VALUE_SIGNALS: tuple[Signal, ...] = ("regret", "value-loss")
"""Those that need the agent's values, not the trials' outcomes alone."""


def outcome_scores(signal: Signal, trials: TrialResults) -> Tensor:
    """The score of each trial, float64 `(n,)`, from what it brought (see `trial_scores`)."""
    if signal == "return":
        return trials.returns.mean(dim=1)
    if signal == "last-return":
        return trials.returns[:, -1]
    if signal == "gain":
        return trials.returns[:, -1] - trials.returns[:, 0]
    assert signal == "success"
    assert trials.successes is not None  # checked with the configuration
    return trials.successes[:, -1].to(torch.float64)


def trial_scores(
    signal: Signal,
    trials: TrialResults,
    rollout: Rollout,
    scaled_reward_TB: Tensor,
    config: PPOConfig,
) -> Tensor:
    """The score of each trial that ended in a rollout, float64 `(n,)`, in the order of ending.

    Args:
        signal: return, the mean over the trial's episodes; last-return, of its last episode; gain,
            last episode minus first, what adapting brought; success, 1 where the last episode was
            solved, else 0; regret, the mean of max(0, advantage) over the trial's steps (positive
            value loss, Jiang et al. 2021b, Table 1), in units of the scaled reward; value-loss, the
            mean of |advantage| (Jiang et al. 2021a, eq. 3).
        trials: what ended.
        rollout: where it ended. Of a trial that began before it, only the steps in it count for
            regret and value loss.
        scaled_reward_TB: its rewards in the units of its values.
        config: γ and λ of the advantages.
    """
    if signal not in VALUE_SIGNALS:
        return outcome_scores(signal, trials)
    advantage_TB = gae(
        scaled_reward_TB,
        rollout.value,
        rollout.next_value,
        rollout.trial_end,
        discount=config.discount,
        trace=config.trace,
    )
    loss_TB = advantage_TB.clamp(min=0.0) if signal == "regret" else advantage_TB.abs()
    return means_by_trial(loss_TB.cpu(), rollout.trial_end.cpu())


def means_by_trial(value_TB: Tensor, trial_end_TB: Tensor) -> Tensor:
    """The mean of `value` over each trial that ends, float64 `(n,)`, in the order of ending."""
    sum_TB = value_TB.to(torch.float64).cumsum(0)
    t_n, b_n = trial_end_TB.nonzero(as_tuple=True)
    # Where the trial before ended in the same world, −1 if not in this rollout.
    time_T1 = torch.arange(len(sum_TB)).unsqueeze(1)
    latest_TB = torch.where(trial_end_TB, time_T1, -1).cummax(0).values
    before_n = torch.where(t_n > 0, latest_TB[t_n - 1, b_n], -1)
    sum_before_n = torch.where(before_n >= 0, sum_TB[before_n.clamp(min=0), b_n], 0.0)
    return (sum_TB[t_n, b_n] - sum_before_n) / (t_n - before_n)
