"""Evolution strategies on truncated lives (Vicol, Metz & Sohl-Dickstein 2021, ICML, algorithm 1).

In every window two copies of each life go on under opposite perturbations, and are compared and
forgotten; the life itself goes on under the rule as it is. A perturbation gets no credit for what
it brings in later windows, so the estimate is biased towards what pays soon:

    g = windows/(2 σ n) Σ_pairs (F₊ − F₋) ε

Shape legend: p pairs, M parameters of a rule; the 2 rows are the one and the other of each pair.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows, joined, rows_of
from quickstudy.experiments.discovery.estimators.estimator import Shard
from quickstudy.experiments.discovery.estimators.pairs import opposite_rules, perturbations
from quickstudy.experiments.discovery.estimators.particles import advance, prefixed, under
from quickstudy.experiments.discovery.estimators.shaping import shaped
from quickstudy.experiments.discovery.estimators.windows import WindowedES, WindowsConfig


@dataclass(frozen=True)
class TruncatedESConfig(WindowsConfig):
    """Constants of evolution strategies on truncated lives."""

    def build(self, lifetimes: Lifetimes, seed: int) -> "TruncatedES":
        """Raise `ValueError` for constants that make no sense."""
        return TruncatedES(lifetimes, seed, self)


class TruncatedES(WindowedES):
    """Windows with bias: each is judged by itself."""

    sides: ClassVar[tuple[str, ...]] = ("life",)

    def blank_memory(self) -> Rows:
        return {}

    @torch.no_grad()
    def work(self, shard: Shard) -> Shard:
        rule_M, key_p = shard["rule"], shard["perturbation"]
        step_pM = self.config.sigma * perturbations(key_p, len(rule_M))
        life, pairs = under("life", shard), len(key_p)
        rule_PM = torch.cat([opposite_rules(rule_M, step_pM), rule_M.expand(pairs, -1)])
        all_three = joined([life, life, life])
        before = all_three["steps"].sum()
        all_three = advance(self.lifetimes, rule_PM, all_three, shard["todo"].repeat(3))
        score_P, cost_P = self.lifetimes.score(rows_of(all_three, slice(2 * pairs)))
        return {
            **prefixed("life", all_three, slice(2 * pairs, None)),
            "score": score_P.reshape(2, -1),
            "steps": all_three["steps"].sum() - before + cost_P.sum(),
        }

    def estimate(self, score_2p: Tensor) -> Tensor:
        fresh_pM = perturbations(self.perturbation_keys(), self.lifetimes.num_parameters)
        first_p, second_p = shaped(score_2p, self.config.shaping)
        return torch.mv(fresh_pM.T, first_p - second_p)
