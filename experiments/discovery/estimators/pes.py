"""Persistent evolution strategies (Vicol, Metz & Sohl-Dickstein 2021, ICML, algorithm 2).

Both of a pair live on from window to window, each with its own perturbation in every window; ξ is
the sum of a particle's perturbations since its birth. A window's loss is what the score rose by,
so the losses of a life add up to its final score, and

    g = windows/(2 σ n) Σ_pairs (ΔF₊ − ΔF₋) ξ        (ξ in units of σ)

is unbiased for the gradient of the smoothed final score while the rule stands still. (Before birth
the score counts as 0: it is the same for both of a pair and cancels.)

Shape legend: p pairs, M parameters of a rule; the 2 rows are the one and the other of each pair.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows, joined
from quickstudy.experiments.discovery.estimators.estimator import Shard
from quickstudy.experiments.discovery.estimators.pairs import opposite_rules, perturbations
from quickstudy.experiments.discovery.estimators.particles import advance, prefixed, under
from quickstudy.experiments.discovery.estimators.shaping import shaped
from quickstudy.experiments.discovery.estimators.windows import WindowedES, WindowsConfig


@dataclass(frozen=True)
class PESConfig(WindowsConfig):
    """Constants of persistent evolution strategies."""

    def build(self, lifetimes: Lifetimes, seed: int) -> "PES":
        """Raise `ValueError` for constants that make no sense."""
        return PES(lifetimes, seed, self)


class PES(WindowedES):
    """Windows without bias: every perturbation since birth is remembered."""

    sides: ClassVar[tuple[str, ...]] = ("plus", "minus")

    def blank_memory(self) -> Rows:
        pairs, size = self.config.pairs, self.lifetimes.num_parameters
        return {
            "sum": torch.zeros(pairs, size, dtype=torch.float64),
            "score": torch.zeros(pairs, 2, dtype=torch.float64),
        }

    @torch.no_grad()
    def work(self, shard: Shard) -> Shard:
        rule_M, key_p = shard["rule"], shard["perturbation"]
        step_pM = self.config.sigma * perturbations(key_p, len(rule_M))
        pair = joined([under("plus", shard), under("minus", shard)])
        before = pair["steps"].sum()
        rule_PM = opposite_rules(rule_M, step_pM)
        pair = advance(self.lifetimes, rule_PM, pair, shard["todo"].repeat(2))
        score_P, cost_P = self.lifetimes.score(pair)
        half = len(key_p)
        return {
            **prefixed("plus", pair, slice(half)),
            **prefixed("minus", pair, slice(half, None)),
            "score": score_P.reshape(2, -1),
            "steps": pair["steps"].sum() - before + cost_P.sum(),
        }

    def estimate(self, score_2p: Tensor) -> Tensor:
        memory = self.particles.memory
        fresh_pM = perturbations(self.perturbation_keys(), self.lifetimes.num_parameters)
        sum_pM = memory["sum"] + fresh_pM
        first_p, second_p = shaped(score_2p - memory["score"].T, self.config.shaping)
        self.particles.memory = {"sum": sum_pM, "score": score_2p.T.contiguous()}
        return torch.mv(sum_pM.T, first_p - second_p)
