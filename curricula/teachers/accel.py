"""ACCEL: levels that grow by small edits of replayed ones (Parker-Holder et al. 2022).

Shape legend: n levels, d dimensions, E edits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.curricula.checks import corner, require_above
from quickstudy.curricula.drawing import either
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers.plr import PLRConfig, RobustPLRTeacher
from quickstudy.envs.errors import require_positive


@dataclass(frozen=True)
class ACCELConfig(PLRConfig):
    """PLR's constants with those of `bipedal_accel.json` in facebookresearch/dcd."""

    replay: float = 0.9
    """Chance that a level is an old one rather than a new one near `easy`; children come on top."""
    children: float = 1.0
    """Children per replayed level (dcd: `level_editor_prob`)."""
    edits: int = 3
    """Edits per child: a dimension at random moves by −`size`, 0 or +`size`."""
    size: float = 0.04
    """One edit, in sides of the cube (dcd's bipedal walker: 0.4 of 10, 0.2 of 5)."""
    easy: tuple[float, ...] = ()
    """The corner that new levels lie at, one number per dimension; by default all 0."""
    spread: float = 0.08
    """How far from `easy` a new level may lie in each dimension (dcd: 0.8 of 10, 0.4 of 5)."""

    def build(self, dim: int, seed: int) -> "ACCELTeacher":
        return ACCELTeacher(dim, seed, self)

    def check(self) -> None:
        super().check()
        require_positive("edits", self.edits)
        for name in ("children", "size", "spread"):
            require_above(name, getattr(self, name), 0.0)


class ACCELTeacher(RobustPLRTeacher):
    """Robust PLR whose new levels are easy ones, and children of what it replays.

    A child is its parent's point after a few edits, under a fresh seed, as in dcd. It is scored
    without being practised, and enters the buffer by the rules of any new level. Parents are drawn
    as replayed levels are. In dcd each replay is followed by its children; here replays, children
    and new levels come mixed in the same shares, so that nothing is lost with proposals that are
    never played.
    """

    def __init__(self, dim: int, seed: int, config: ACCELConfig) -> None:
        super().__init__(dim, seed, config)
        easy_d = corner("easy", config.easy, dim, 0.0)
        self._low_d = (easy_d - config.spread).clamp(min=0.0)
        self._high_d = (easy_d + config.spread).clamp(max=1.0)
        self._children, self._edits, self._size_of_edit = config.children, config.edits, config.size

    def propose(self, n: int) -> Levels:
        if not self._may_replay():
            return self._new(n)
        old, child = self._config.replay, self._config.replay * self._children
        kind_n = self._uniform(n, 1)[:, 0] * (1.0 + child)  # old, then child, then new
        grown = either(kind_n < old, self._old(n), self._child(n))
        return either(kind_n < old + child, grown, self._new(n))

    def _new(self, n: int) -> Levels:
        u_nd = self._uniform(n, self.dim)
        return self._scored(self._levels(self._low_d + u_nd * (self._high_d - self._low_d)))

    def _child(self, n: int) -> Levels:
        return self._scored(self._levels(self._old(n).points + self._mutation(n)))

    def _mutation(self, n: int) -> Tensor:
        """Edits of n points, summed, `(n, d)`."""
        dim_nE = (self._uniform(n, self._edits) * self.dim).long()
        sign_nE = (self._uniform(n, self._edits) * 3).floor() - 1.0
        zero_nd = torch.zeros(n, self.dim, dtype=torch.float64)
        return zero_nd.scatter_add(1, dim_nE, self._size_of_edit * sign_nE)
