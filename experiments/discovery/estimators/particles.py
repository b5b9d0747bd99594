"""Lives that go on from generation to generation: what PES, truncated ES and gradients work on.

Each generation looks at one window of every life, the next K of its updates (fewer at its end).
When a life ends, or breaks, another is born in its place. First lives are cut short, one later than
the other, so that from then on all ages are there at any time.

Shape legend: P particles.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows, joined, rows_of
from quickstudy.envs import rng
from quickstudy.experiments.discovery.estimators.estimator import Shard
from quickstudy.experiments.discovery.keys import Purpose, keys


class Particles:
    """P lives, each in as many versions as there are `sides` (born alike)."""

    def __init__(
        self,
        lifetimes: Lifetimes,
        seed: int,
        count: int,
        window: int,
        *,
        sides: tuple[str, ...],
        memory: Rows,
        stagger: bool = True,
    ) -> None:
        """Nobody is born yet.

        Args:
            lifetimes: what they live.
            seed: decides all lives.
            count: P.
            window: the most updates per generation, K.
            sides: names of the versions.
            memory: what is kept beside each life, `(P, ...)` by name, all of it 0 at birth.
            stagger: cut the first lives short.
        """
        self._lifetimes = lifetimes
        self._key_P = keys(seed, Purpose.LIFE, 0, count)
        self._window = window
        self._stagger = stagger
        self._births_P = torch.zeros(count, dtype=torch.int64)
        self._due_P = torch.ones(count, dtype=torch.bool)
        self._until_P = torch.zeros(count, dtype=torch.int64)
        self._sides: dict[str, Rows] = {side: {} for side in sides}
        self.memory = memory

    def shard(self, part: slice) -> Shard:
        """Some particles, as the work of a generation; the dead must have been replaced."""
        first = next(iter(self._sides.values()))
        todo_P = (self._until_P - first["updates"]).clamp(max=self._window)
        shard = {"todo": todo_P[part]} | prefixed("memory", self.memory, part)
        for side, rows in self._sides.items():
            shard |= prefixed(side, rows, part)
        return shard

    def replace_the_dead(self) -> None:
        """Begin the lives that are due."""
        due = self._due_P.nonzero()[:, 0]
        if len(due) == 0:
            return
        key_P = rng.fold_in(self._key_P[due], self._births_P[due])
        self._until_P[due] = self._ends(key_P, due)
        fresh = self._lifetimes.begin(key_P)
        self._sides = {side: _put(rows, due, fresh) for side, rows in self._sides.items()}
        blank = {name: torch.zeros_like(row[due]) for name, row in self.memory.items()}
        self.memory = _put(self.memory, due, blank)
        self._births_P[due] += 1
        self._due_P[due] = False

    def go_on(self, sides: dict[str, Rows], broken_P: Tensor) -> None:
        """Take in where a generation's windows have led; the broken and the finished are due."""
        self._sides = sides
        first = next(iter(sides.values()))
        self._due_P = broken_P | (first["updates"] >= self._until_P)

    def mean_windows(self) -> float:
        """Windows of a whole life, on average over the first to be born."""
        total_P = self._lifetimes.total(rng.fold_in(self._key_P, 0))
        return float((-(-total_P // self._window)).double().mean())

    def state_dict(self) -> dict[str, Any]:
        return {
            "births": self._births_P,
            "due": self._due_P,
            "until": self._until_P,
            "sides": self._sides,
            "memory": self.memory,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._births_P, self._due_P = state["births"].clone(), state["due"].clone()
        self._until_P = state["until"].clone()
        self._sides, self.memory = state["sides"], state["memory"]

    def _ends(self, key_P: Tensor, due: Tensor) -> Tensor:
        """After how many updates the life that begins will be replaced."""
        total_P = self._lifetimes.total(key_P)
        if not self._stagger or int(self._births_P.max()) > 0:
            return total_P
        windows_P = -(-total_P // self._window)
        cut_P = -(-(due + 1) * windows_P // len(self._key_P)) * self._window
        return torch.minimum(total_P, cut_P)


def advance(lifetimes: Lifetimes, rule_PM: Tensor, rows: Rows, todo_P: Tensor) -> Rows:
    """Every agent as many updates later as it has to do, in the same order."""
    parts = [
        (who, lifetimes.learn(rule_PM[who], rows_of(rows, who), updates))
        for updates, who in _groups(todo_P)
    ]
    order_P = torch.argsort(torch.cat([who for who, _ in parts]))
    return rows_of(joined([rows for _, rows in parts]), order_P)


def _groups(todo_P: Tensor) -> Iterator[tuple[int, Tensor]]:
    """`(updates, who)`: agents with equally many updates to do."""
    for updates in torch.unique(todo_P).tolist():
        yield updates, (todo_P == updates).nonzero()[:, 0]


def prefixed(prefix: str, rows: Rows, part: slice = slice(None)) -> Shard:
    """Rows under names that say whose they are."""
    return {f"{prefix}/{name}": row[part] for name, row in rows.items()}


def under(prefix: str, shard: Shard) -> Rows:
    """The inverse of `prefixed`."""
    begin = f"{prefix}/"
    return {name.removeprefix(begin): row for name, row in shard.items() if name.startswith(begin)}


def _put(rows: Rows, who: Tensor, fresh: Rows) -> Rows:
    """Rows with some replaced, or new ones, if there are none yet (then all are born)."""
    if not rows:
        return fresh
    return {name: row.index_copy(0, who, fresh[name]) for name, row in rows.items()}
