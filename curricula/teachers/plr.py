"""Prioritised level replay, PLR (Jiang, Grefenstette & Rocktäschel 2021), and its robust variant.

Shape legend: n levels, d dimensions, C slots of the buffer, M of them used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.curricula.checks import require_above, require_share
from quickstudy.curricula.drawing import either, pick
from quickstudy.curricula.level_buffer import LevelBuffer, last_of_each, level_keys
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teacher import Teacher, Told
from quickstudy.envs.errors import require_positive


@dataclass(frozen=True)
class PLRConfig:
    """Source: facebookresearch/dcd, `bipedal_robust_plr.json` (a continuous space, as here)."""

    told: ClassVar[Told] = "regret"
    replay: float = 0.5
    """Chance that a level is an old one, once the buffer is filled enough."""
    capacity: int = 1000
    """Levels kept."""
    fill: float = 0.5
    """Share of the buffer that is filled before anything is replayed."""
    temperature: float = 0.1
    """β: chances go as rank^(−1/β); the smaller, the more the highest scores are preferred."""
    staleness: float = 0.5
    """ρ: share of the chances given in proportion to how long a level has not been played."""

    def build(self, dim: int, seed: int) -> "PLRTeacher":
        return PLRTeacher(dim, seed, self)

    def check(self) -> None:
        """Raise `ValueError` for a constant out of its range."""
        require_positive("capacity", self.capacity)
        require_above("temperature", self.temperature, 0.0)
        for name in ("replay", "fill", "staleness"):
            require_share(name, getattr(self, name))


@dataclass(frozen=True)
class RobustPLRConfig(PLRConfig):
    """PLR⊥ (Jiang et al. 2021, "Replay-guided adversarial environment design").

    New levels are scored but not practised: until the buffer is filled enough, nothing is learned.
    """

    def build(self, dim: int, seed: int) -> "PLRTeacher":
        return RobustPLRTeacher(dim, seed, self)


class PLRTeacher(Teacher):
    """Practises anew the levels of the highest scores, and those not played for long.

    Scores should say how much there is to learn, as a value loss does or a regret; ranks alone
    count, so their scale means nothing. A level's score is its latest. Two things differ from
    dcd: levels of equal score have equal chances (there, constant scores mean that a single level
    is replayed), and levels observed together enter together, the best in place of the least
    likely to be replayed; for levels observed one by one the rules are the same.
    """

    practises_new = True

    def __init__(self, dim: int, seed: int, config: PLRConfig) -> None:
        super().__init__(dim, seed)
        config.check()
        self._config = config
        self._buffer = LevelBuffer(config.capacity, dim)
        self._score_C = torch.zeros(config.capacity, dtype=torch.float64)
        self._played_C = torch.zeros(config.capacity, dtype=torch.int64)  # the clock at that time
        self._clock = 0  # levels observed so far

    def propose(self, n: int) -> Levels:
        if not self._may_replay():
            return self._new(n)
        is_old_n = self._uniform(n, 1)[:, 0] < self._config.replay
        return either(is_old_n, self._old(n), self._new(n))

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        played_n = self._clock + 1 + torch.arange(len(levels))
        self._clock += len(levels)
        last = last_of_each(level_keys(levels))
        self._take(levels.rows(last), score_n[last], played_n[last])
        size = self._size()
        mean = self._score_C[:size].sum() / max(size, 1)
        return {"buffer_levels": float(size), "buffer_score": float(mean)}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "buffer": self._buffer.state_dict(),
            "score": self._score_C.clone(),
            "played": self._played_C.clone(),
            "clock": self._clock,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._buffer.load_state_dict(state["buffer"])
        self._score_C.copy_(state["score"])
        self._played_C.copy_(state["played"])
        self._clock = state["clock"]

    def weights(self) -> Tensor:
        """The chance that each level in the buffer is the next to be replayed, `(M,)`."""
        size, rho = self._size(), self._config.staleness
        by_rank_M = rank_weights(self._score_C[:size], self._config.temperature)
        stale_M = (self._clock - self._played_C[:size]).double()
        stale_M = stale_M if stale_M.any() else torch.ones_like(stale_M)
        return (1 - rho) * by_rank_M + rho * stale_M / stale_M.sum()

    def _size(self) -> int:
        return int(self._buffer.used_C.sum())

    def _may_replay(self) -> bool:
        return self._size() >= max(1.0, self._config.fill * self._config.capacity)

    def _old(self, n: int) -> Levels:
        """Levels of the buffer, drawn by their chances."""
        return self._buffer.levels(pick(self.weights(), self._uniform(n, 1)[:, 0]))

    def _new(self, n: int) -> Levels:
        return self._scored(self._anywhere(n))

    def _scored(self, levels: Levels) -> Levels:
        """Levels that are not in the buffer, to be practised or not as the method has it."""
        practise = torch.full_like(levels.practise, self.practises_new)
        return Levels(levels.points, levels.seeds, practise)

    def _take(self, levels: Levels, score_n: Tensor, played_n: Tensor) -> None:
        """Update the levels that are known, then see which of the others enter."""
        slot_n = self._buffer.find(levels)
        known_n = slot_n >= 0
        self._set(slot_n[known_n], score_n[known_n], played_n[known_n])
        best = score_n[~known_n].argsort(descending=True, stable=True)
        new = (~known_n).nonzero()[:, 0][best][: len(self._score_C)]
        slot = self._slots_by_worth()[: len(new)]
        enters = score_n[new] >= self._score_C[slot].where(self._buffer.used_C[slot], -torch.inf)
        new, slot = new[enters], slot[enters]
        self._buffer.put(slot, levels.rows(new))
        self._set(slot, score_n[new], played_n[new])

    def _slots_by_worth(self) -> Tensor:
        """Free slots first, then those least likely to be replayed."""
        size = self._size()
        free = torch.arange(size, len(self._score_C))
        return torch.cat([free, self.weights().argsort(stable=True)])

    def _set(self, slot_n: Tensor, score_n: Tensor, played_n: Tensor) -> None:
        self._score_C[slot_n] = score_n
        self._played_C[slot_n] = played_n


class RobustPLRTeacher(PLRTeacher):
    """PLR whose student learns from replayed levels alone."""

    practises_new = False


def rank_weights(score_M: Tensor, temperature: float) -> Tensor:
    """Chances in proportion to rank^(−1/temperature), the highest score ranking first.

    Equal scores share the chances of their ranks.
    """
    sorted_M, order_M = score_M.sort(descending=True)
    weight_M = torch.arange(1, len(score_M) + 1, dtype=torch.float64) ** (-1.0 / temperature)
    group_M = torch.zeros_like(order_M)  # which of the distinct scores it is
    group_M[1:] = (sorted_M[1:] != sorted_M[:-1]).cumsum(0)
    total_M = torch.zeros_like(weight_M).index_add(0, group_M, weight_M / weight_M.sum())
    count_M = torch.zeros_like(weight_M).index_add(0, group_M, torch.ones_like(weight_M))
    return torch.empty_like(weight_M).scatter(0, order_M, (total_M / count_M)[group_M])
