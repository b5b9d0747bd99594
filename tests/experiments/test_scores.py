"""What a teacher is told about a trial."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.envs.accounts import TrialResults
from quickstudy.experiments.scores import SIGNALS, means_by_trial, trial_scores

TRIALS = TrialResults(
    tasks=torch.zeros(2, 1),
    returns=torch.tensor([[1.0, 2.0, 6.0], [5.0, 4.0, 3.0]], dtype=torch.float64),
    lengths=torch.ones(2, 3, dtype=torch.int64),
    worlds=torch.tensor([0, 1]),
    successes=torch.tensor([[True, False, True], [True, True, False]]),
)


def rollout() -> Any:
    """Two worlds, three steps, values 0: with λ = 0 the advantages are the rewards."""
    zeros = torch.zeros(3, 2)
    ends = torch.tensor([[False, False], [False, False], [True, True]])
    return SimpleNamespace(value=zeros, next_value=zeros, trial_end=ends)


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("return", [3.0, 4.0]),
        ("last-return", [6.0, 3.0]),
        ("gain", [5.0, -2.0]),
        ("success", [1.0, 0.0]),
        ("regret", [4.0 / 3, 1.0]),  # (1 + 3 + 0) / 3; (0 + 0 + 3) / 3
        ("value-loss", [2.0, 3.0]),  # (1 + 3 + 2) / 3; (4 + 2 + 3) / 3
    ],
)
def test_each_signal_worked_by_hand(signal, expected):
    reward_TB = torch.tensor([[1.0, -4.0], [3.0, -2.0], [-2.0, 3.0]])
    scores = trial_scores(signal, TRIALS, rollout(), reward_TB, PPOConfig(trace=0.0))
    assert scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx(expected)


def test_every_signal_is_tried_here():
    cases = test_each_signal_worked_by_hand.pytestmark[0].args[1]
    assert {case[0] for case in cases} == set(SIGNALS)


def test_means_are_of_each_trial_alone_and_in_the_order_of_ending():
    """Against a loop, with several trials per world and others left unfinished."""
    generator = torch.Generator().manual_seed(3)
    value_TB = torch.rand(40, 5, generator=generator)
    end_TB = torch.rand(40, 5, generator=generator) < 0.15
    end_TB[0, 0] = True
    expected = []
    sums, counts = [0.0] * 5, [0] * 5
    for t in range(40):
        for b in range(5):
            sums[b] += float(value_TB[t, b])
            counts[b] += 1
            if end_TB[t, b]:
                expected.append(sums[b] / counts[b])
                sums[b], counts[b] = 0.0, 0
    assert len(expected) > 10
    assert means_by_trial(value_TB, end_TB).tolist() == pytest.approx(expected)
