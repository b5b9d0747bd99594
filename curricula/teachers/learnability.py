"""Sampling for learnability: levels solved now and then (Rutherford et al. 2024, SFL).

Shape legend: n levels, d dimensions, C slots (kept levels, then candidates).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.curricula.checks import require_share
from quickstudy.curricula.drawing import either, pick
from quickstudy.curricula.level_buffer import LevelBuffer
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teacher import Teacher, Told
from quickstudy.envs.errors import require_positive


@dataclass(frozen=True)
class LearnabilityConfig:
    """Source: amacrutherford/sampling-for-learnability, `jaxnav-sfl.yaml`."""

    told: ClassVar[Told] = "success"
    kept: int = 100
    """Levels kept, those of the highest p(1 − p) (the source's value)."""
    random: float = 0.5
    """Share of levels that are random ones (the source: 128 of 256)."""
    candidates: int = 256
    """Random levels being tried at a time (ours; the source tries 5000 between two phases)."""
    tries: int = 4
    """Scores of a level before it is judged (ours; the source counts the episodes that end within
    1000 steps)."""
    memory: int = 16
    """Scores after which a kept level's estimate forgets the older ones (ours)."""

    def build(self, dim: int, seed: int) -> "LearnabilityTeacher":
        return LearnabilityTeacher(dim, seed, self)


class LearnabilityTeacher(Teacher):
    """Practises levels that the student solves with a chance p of neither 0 nor 1.

    Scores are successes in [0, 1]. In the paper, practice stops for a search: thousands of random
    levels are played without learning, and the best replace those kept. Here the random half of
    practice is the search: a random level is played `tries` times, then it takes the place of the
    kept level of the lowest p(1 − p), if its own is higher. Kept levels are drawn with equal
    chances, and their p follows the student. A level that is solved always or never is not kept.
    """

    def __init__(self, dim: int, seed: int, config: LearnabilityConfig) -> None:
        super().__init__(dim, seed)
        for name in ("kept", "candidates", "tries", "memory"):
            require_positive(name, getattr(config, name))
        require_share("random", config.random)
        self._config = config
        capacity = config.kept + config.candidates
        self._buffer = LevelBuffer(capacity, dim)
        self._success_C = torch.zeros(capacity, dtype=torch.float64)
        self._tries_C = torch.zeros(capacity, dtype=torch.float64)

    def propose(self, n: int) -> Levels:
        self._find_candidates()
        kept = self._kept()
        if not len(kept):
            return self._candidates(torch.arange(n))
        is_random_n, place_n = self._uniform(n, 2).unbind(1)
        is_random_n = is_random_n < self._config.random
        slot_n = kept[pick(torch.ones(len(kept)), place_n)]
        turn_n = (is_random_n.cumsum(0) - 1).clamp(min=0)
        return either(is_random_n, self._candidates(turn_n), self._buffer.levels(slot_n))

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        _require_success(score_n)
        slot_n = self._buffer.find(levels)
        known_n = slot_n >= 0
        self._count(slot_n[known_n], score_n[known_n])
        self._judge()
        kept = self._kept()
        mean = self._learnability(kept).sum() / max(len(kept), 1)
        return {"kept_levels": float(len(kept)), "learnability": float(mean)}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "buffer": self._buffer.state_dict(),
            "success": self._success_C.clone(),
            "tries": self._tries_C.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._buffer.load_state_dict(state["buffer"])
        self._success_C.copy_(state["success"])
        self._tries_C.copy_(state["tries"])

    def _kept(self) -> Tensor:
        """Slots of the kept levels."""
        return self._buffer.used_C[: self._config.kept].nonzero()[:, 0]

    def _learnability(self, slot_n: Tensor) -> Tensor:
        """p(1 − p); 0 for a free slot."""
        p_n = self._success_C[slot_n]
        return p_n * (1.0 - p_n) * self._buffer.used_C[slot_n]

    def _find_candidates(self) -> None:
        """Random levels for all slots of candidates that are free."""
        free = self._config.kept + (~self._buffer.used_C[self._config.kept :]).nonzero()[:, 0]
        if len(free):
            self._buffer.put(free, self._anywhere(len(free)))
            self._success_C[free] = self._tries_C[free] = 0.0

    def _candidates(self, turn_n: Tensor) -> Levels:
        """Candidates in turn, from the one tried most: so they are judged while they are fresh."""
        tries = self._tries_C[self._config.kept :]
        slot = self._config.kept + tries.argsort(descending=True, stable=True)
        return self._buffer.levels(slot[turn_n % len(slot)])

    def _count(self, slot_n: Tensor, score_n: Tensor) -> None:
        """Scores into the means of their levels."""
        zero_C = torch.zeros_like(self._success_C)
        new_C = zero_C.index_add(0, slot_n, torch.ones_like(score_n))
        old_C = self._tries_C.clamp(max=self._config.memory)
        total_C = old_C * self._success_C + zero_C.index_add(0, slot_n, score_n)
        mean_C = total_C / (old_C + new_C).clamp(min=1.0)
        self._success_C = mean_C.where(new_C > 0, self._success_C).clamp(0.0, 1.0)
        self._tries_C = self._tries_C + new_C

    def _judge(self) -> None:
        """Candidates that were tried often enough are kept, or dropped."""
        tried = (self._tries_C[self._config.kept :] >= self._config.tries).nonzero()[:, 0]
        tried = tried + self._config.kept
        best = tried[self._learnability(tried).argsort(descending=True, stable=True)]
        worst = self._learnability(torch.arange(self._config.kept)).argsort(stable=True)
        best, worst = best[: len(worst)], worst[: len(best)]
        enters = self._learnability(best) > self._learnability(worst)
        self._keep(worst[enters], best[enters])
        self._buffer.free(tried)

    def _keep(self, place: Tensor, slot: Tensor) -> None:
        self._buffer.put(place, self._buffer.levels(slot))
        self._success_C[place], self._tries_C[place] = self._success_C[slot], self._tries_C[slot]


def _require_success(score_n: Tensor) -> None:
    wrong_n = score_n[(score_n < 0.0) | (score_n > 1.0)]
    if len(wrong_n):
        raise ValueError(
            "The teacher learnability needs scores from 0 to 1, a success or a share of successes; "
            f"got {float(wrong_n[0])!r}. Choose success as the signal, or another teacher."
        )
