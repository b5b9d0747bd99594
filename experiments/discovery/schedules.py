"""What a rule says at each age, in one positive number: its schedule.

Shape legend: S rules, P lives, N updates of a life, M parameters of a rule, T steps, E copies.
"""

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows
from quickstudy.agents.lifetimes.tabular import TabularLifetimes
from quickstudy.agents.lifetimes.tabular_rules import LPGRule, ScheduleRule
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.experiments.discovery.exams import Exam
from quickstudy.experiments.discovery.lpg_probes import fresh_experience


@torch.no_grad()
def curves(exam: Exam, rule_SM: Tensor) -> Tensor:
    """Of A2C's schedules the entropy weight, of LPG the size of policy steps, `(S, P, N)`.

    All lives of the exam must be of one length.
    """
    lifetimes, key_P = TabularLifetimes(exam.lives), exam.life_keys()
    born = lifetimes.begin(key_P)
    (length,) = torch.unique(born["total"]).tolist()
    curve = _weights if isinstance(lifetimes.rule, ScheduleRule) else _sizes
    return torch.stack(
        [curve(lifetimes, row_M.expand(len(key_P), -1), born, length) for row_M in rule_SM]
    )


def _weights(lifetimes: TabularLifetimes, rule_PM: Tensor, rows: Rows, length: int) -> Tensor:
    """The entropy weight before every update.

    Lives are lived: a rule that sees rewards sees those that its agents earn.
    """
    assert isinstance(lifetimes.rule, ScheduleRule)
    weights = []
    for _ in range(length):
        age = Lifetime(rows["updates"], rows["total"])
        weights.append(lifetimes.rule.entropy(rule_PM, age, rows["recent_reward"]))
        rows = lifetimes.learn(rule_PM, rows, 1)
    return torch.stack(weights, dim=1)


def _sizes(lifetimes: TabularLifetimes, rule_PM: Tensor, rows: Rows, length: int) -> Tensor:
    """Root mean square of π̂ if the same experience, from the middle of the life, were made at
    every age: what changes with it is the rule's doing, not the agent's.
    """
    rule = lifetimes.rule
    assert isinstance(rule, LPGRule)
    rows = lifetimes.learn(rule_PM, rows, length // 2)
    _, lived = fresh_experience(lifetimes, rows)
    ages = (Lifetime(torch.full_like(rows["total"], n), rows["total"]) for n in range(length))
    weights = [rule.network.targets(rule_PM, lived, age)[0] for age in ages]
    return torch.stack([weight_PTE.square().mean(dim=(1, 2)).sqrt() for weight_PTE in weights], 1)
