"""Lifetimes of several kinds in one population: each agent's key chooses the kind.

Shape legend: P agents, M parameters of a rule.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Lifetimes, Rows, rows_of
from quickstudy.envs import rng
from quickstudy.envs.nested_state import nested, part

_KIND = 8
"""The branch of a key that chooses; the kinds' own are below it."""


class MixedLifetimes(Lifetimes):
    """Agents of one kind are computed together. Scores must be on one scale, or compared only
    between agents of the same key.

    Rows: `kind` (P,), and those of every kind under its number, of all agents; an agent's own kind
    alone has meaning. All are born in each, so that rows are the same whoever is there.
    """

    def __init__(self, kinds: Sequence[Lifetimes]) -> None:
        """Of these kinds, equally likely.

        Raises:
            ValueError: unless rules have as many parameters in one kind as in the others.
        """
        sizes = [kind.num_parameters for kind in kinds]
        if len(set(sizes)) != 1:
            raise ValueError(f"Rules must be of one size, got {sizes} parameters.")
        self._kinds = kinds
        self.num_parameters = sizes[0]

    def first_rule(self, seed: int) -> Tensor:
        """The first kind's."""
        return self._kinds[0].first_rule(seed)

    def total(self, key_P: Tensor) -> Tensor:
        total_KP = torch.stack([kind.total(key_P) for kind in self._kinds])
        return total_KP.gather(0, self._chosen(key_P).unsqueeze(0))[0]

    def begin(self, key_P: Tensor) -> Rows:
        rows: Rows = {
            "kind": self._chosen(key_P),
            "updates": torch.zeros_like(key_P),
            "total": self.total(key_P),
            "steps": torch.zeros_like(key_P),
        }
        for number, kind in enumerate(self._kinds):
            rows |= nested(str(number), kind.begin(key_P))
        return rows

    def learn(self, rule_PM: Tensor, rows: Rows, num_updates: int) -> Rows:
        rows = rows | {"updates": rows["updates"] + num_updates}
        for number, index in self._present(rows):
            own = rows_of(part(str(number), rows), index)
            learned = self._kinds[number].learn(rule_PM[index], own, num_updates)
            changed = nested(str(number), learned) | {"steps": learned["steps"]}
            rows |= _put(rows, index, changed)
        return rows

    def score(self, rows: Rows) -> tuple[Tensor, Tensor]:
        score_P = torch.zeros(len(rows["kind"]), dtype=torch.float64)
        steps_P = torch.zeros_like(rows["kind"])
        for number, index in self._present(rows):
            own = rows_of(part(str(number), rows), index)
            score_P[index], steps_P[index] = self._kinds[number].score(own)
        return score_P, steps_P

    def _chosen(self, key_P: Tensor) -> Tensor:
        """The number of each agent's kind, all equally likely."""
        draw_P = rng.uniform(rng.fold_in(key_P, _KIND), 1)[:, 0]
        return (draw_P * len(self._kinds)).long()

    def _present(self, rows: Rows) -> Iterator[tuple[int, Tensor]]:
        """The kinds that are there, each with its agents' places."""
        for number in range(len(self._kinds)):
            index = (rows["kind"] == number).nonzero()[:, 0]
            if len(index):
                yield number, index


def _put(rows: Rows, index: Tensor, changed: Rows) -> Rows:
    """Copies of the tensors named in `changed`, with new rows at these places."""
    return {name: rows[name].index_copy(0, index, value) for name, value in changed.items()}
