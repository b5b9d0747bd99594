"""RIAC: a tree of boxes, practised where progress is made (Baranes & Oudeyer 2009).

Shape legend: n levels, d dimensions, R regions, W levels that a region remembers, A attempts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.curricula.checks import require_above, require_share
from quickstudy.curricula.drawing import pick
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teacher import Teacher, Told
from quickstudy.envs.errors import require_positive


@dataclass(frozen=True)
class RIACConfig:
    """Sources: flowersteam/TeachMyAgent, `riac.py` and the values tuned there."""

    told: ClassVar[Told] = "return"
    region_size: int = 150
    """Levels after which a region splits, and that it remembers (TeachMyAgent, tuned)."""
    attempts: int = 75
    """Random splits of which the best is taken (TeachMyAgent, tuned)."""
    min_share: float = 1 / 20
    """Share of `region_size` that each half of a split must hold (TeachMyAgent)."""
    min_side: float = 1 / 10
    """Shortest side of a region, in sides of the cube (TeachMyAgent, tuned)."""
    forget: float = 1 / 4
    """Share of the oldest levels dropped by a region that cannot split (TeachMyAgent)."""
    uniform: float = 0.2
    """Chance of a uniform level (both sources)."""
    mutate: float = 0.1
    """Chance of a mutation of a region's worst level (both sources)."""
    sigma: float = 0.1
    """Standard deviation of a mutation, in sides of the cube (TeachMyAgent: in the task's unit)."""
    max_regions: int = 255
    """Regions at most, inner ones included (ours); from then on, no region can split."""

    def build(self, dim: int, seed: int) -> "RIACTeacher":
        return RIACTeacher(dim, seed, self)

    def check(self) -> None:
        """Raise `ValueError` for a constant out of its range."""
        for name in ("region_size", "attempts", "max_regions"):
            require_positive(name, getattr(self, name))
        for name in ("min_share", "min_side", "forget", "uniform", "mutate"):
            require_share(name, getattr(self, name))
        require_share("uniform + mutate", self.uniform + self.mutate)
        require_above("sigma", self.sigma, 0.0)


class RIACTeacher(Teacher):
    """Levels from boxes drawn in proportion to absolute learning progress (ALP).

    A region's ALP is the difference between the mean scores of the earlier and the later half of
    what it remembers. As in TeachMyAgent, inner regions are drawn from too, and remember as the
    leaves do. As in the paper, and other than in that code (where the sizes in the formula are
    always 2), the best split is the one with the largest |R₁||R₂||ALP₁ − ALP₂|. An attempt that
    splits off too few levels, or too thin a box, counts as one of the attempts.
    """

    def __init__(self, dim: int, seed: int, config: RIACConfig) -> None:
        super().__init__(dim, seed)
        config.check()
        self._config = config
        shape = (config.max_regions, config.region_size)
        self._point_RWd = torch.zeros(*shape, dim, dtype=torch.float64)
        self._score_RW = torch.zeros(shape, dtype=torch.float64)
        self._count_R = torch.zeros(config.max_regions, dtype=torch.int64)
        self._low_Rd = torch.zeros(config.max_regions, dim, dtype=torch.float64)
        self._high_Rd = torch.ones(config.max_regions, dim, dtype=torch.float64)
        self._child_R = torch.zeros(config.max_regions, dtype=torch.int64)  # the lower part, or 0
        self._cut_dim_R = torch.zeros(config.max_regions, dtype=torch.int64)
        self._cut_R = torch.zeros(config.max_regions, dtype=torch.float64)
        self._num_regions = 1

    def propose(self, n: int) -> Levels:
        if not self._count_R[0]:
            return self._anywhere(n)
        mode_n1 = self._uniform(n, 1)
        region_n = pick(self.progress(), self._uniform(n, 1)[:, 0])
        inside_nd = self._inside(region_n)
        mutated_nd = self._mutated(region_n)
        anywhere_nd = self._uniform(n, self.dim)
        mutate, uniform = self._config.mutate, self._config.uniform
        point_nd = anywhere_nd.where(mode_n1 < mutate + uniform, inside_nd)
        return self._levels(mutated_nd.where(mode_n1 < mutate, point_nd))

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        self._add(0, levels.points, score_n)
        progress = float(self.progress().max())
        return {"regions": float(self._num_regions), "best_progress": progress}

    def progress(self) -> Tensor:
        """Absolute learning progress of each region, `(R,)`."""
        held_RW = self._held()
        return learning_progress(self._score_RW[: len(held_RW)], held_RW)

    def boxes(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest corner of each region, `(R, d)` each; row 0 is the cube."""
        return self._low_Rd[: self._num_regions].clone(), self._high_Rd[: self._num_regions].clone()

    def state_dict(self) -> dict[str, Any]:
        tensors = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return super().state_dict() | tensors | {"num_regions": self._num_regions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])
        self._num_regions = state["num_regions"]

    def _tensors(self) -> dict[str, Tensor]:
        return {
            "point": self._point_RWd,
            "score": self._score_RW,
            "count": self._count_R,
            "low": self._low_Rd,
            "high": self._high_Rd,
            "child": self._child_R,
            "cut_dim": self._cut_dim_R,
            "cut": self._cut_R,
        }

    def _held(self) -> Tensor:
        """Which places of each region's memory are filled, `(R, W)`."""
        count_R = self._count_R[: self._num_regions]
        return torch.arange(self._config.region_size) < count_R.unsqueeze(1)

    def _inside(self, region_n: Tensor) -> Tensor:
        low_nd, high_nd = self._low_Rd[region_n], self._high_Rd[region_n]
        return low_nd + self._uniform(len(region_n), self.dim) * (high_nd - low_nd)

    def _mutated(self, region_n: Tensor) -> Tensor:
        """Gaussian steps from these regions' worst levels, not out of the region."""
        held_RW = self._held()
        worst_R = self._score_RW[: len(held_RW)].where(held_RW, torch.inf).argmin(1)
        step_nd = self._config.sigma * self._normal(len(region_n), self.dim)
        point_nd = self._point_RWd[region_n, worst_R[region_n]] + step_nd
        return point_nd.clamp(self._low_Rd[region_n], self._high_Rd[region_n])

    def _add(self, region: int, point_nd: Tensor, score_n: Tensor) -> None:
        """Levels of a region, and so of its parts; it splits as soon as it is full."""
        while len(score_n) and not self._child_R[region]:
            room = self._config.region_size - int(self._count_R[region])
            self._remember(region, point_nd[:room], score_n[:room])
            point_nd, score_n = point_nd[room:], score_n[room:]
            if self._count_R[region] == self._config.region_size and not self._split(region):
                self._forget(region)
        if len(score_n):
            self._remember(region, point_nd, score_n)
            self._share_out(region, point_nd, score_n)

    def _share_out(self, region: int, point_nd: Tensor, score_n: Tensor) -> None:
        """Give levels of a region to its two parts."""
        child = int(self._child_R[region])
        lower_n = point_nd[:, self._cut_dim_R[region]] < self._cut_R[region]
        self._add(child, point_nd[lower_n], score_n[lower_n])
        self._add(child + 1, point_nd[~lower_n], score_n[~lower_n])

    def _remember(self, region: int, point_nd: Tensor, score_n: Tensor) -> None:
        """Add to a region's memory, in place of the oldest where there is no room."""
        held = int(self._count_R[region])
        point_nd = torch.cat([self._point_RWd[region, :held], point_nd])
        self._write(region, point_nd, torch.cat([self._score_RW[region, :held], score_n]))

    def _write(self, region: int, point_nd: Tensor, score_n: Tensor) -> None:
        """Make the last of these levels a region's memory."""
        first = max(0, len(score_n) - self._config.region_size)
        held = len(score_n) - first
        self._point_RWd[region, :held] = point_nd[first:]
        self._score_RW[region, :held] = score_n[first:]
        self._count_R[region] = held

    def _forget(self, region: int) -> None:
        """Drop the oldest levels of a full region."""
        drop = max(1, int(self._config.forget * self._config.region_size))
        self._write(
            region, self._point_RWd[region, drop:].clone(), self._score_RW[region, drop:].clone()
        )

    def _split(self, region: int) -> bool:
        """Cut a full region in two by the best of some random cuts; False if none will do."""
        if self._num_regions + 2 > self._config.max_regions:
            return False
        low_d, high_d = self._low_Rd[region], self._high_Rd[region]
        dim_A, share_A = self._uniform(self._config.attempts, 2).unbind(1)
        dim_A = (dim_A * self.dim).long()
        cut_A = low_d[dim_A] + share_A * (high_d - low_d)[dim_A]
        thinner_A = torch.minimum(cut_A - low_d[dim_A], high_d[dim_A] - cut_A)
        lower_AW = self._point_RWd[region].T[dim_A] < cut_A.unsqueeze(1)
        gain_A = self._gain(region, lower_AW).where(thinner_A >= self._config.min_side, -1.0)
        best = int(gain_A.argmax())
        if gain_A[best] >= 0:
            self._cut(region, int(dim_A[best]), cut_A[best])
        return bool(gain_A[best] >= 0)

    def _gain(self, region: int, lower_AW: Tensor) -> Tensor:
        """|R₁||R₂||ALP₁ − ALP₂| of each cut, −1 where a part would hold too few levels."""
        num_A = lower_AW.sum(1)
        score_AW = self._score_RW[region].expand(lower_AW.shape)
        alp_A, other_A = (learning_progress(score_AW, part) for part in (lower_AW, ~lower_AW))
        gain_A = num_A * (self._config.region_size - num_A) * (alp_A - other_A).abs()
        fewer_A = torch.minimum(num_A, self._config.region_size - num_A)
        least = max(1.0, self._config.min_share * self._config.region_size)
        return gain_A.where(fewer_A >= least, -1.0)

    def _cut(self, region: int, dim: int, cut: Tensor) -> None:
        """Make two parts of a full region, each with its share of the memory."""
        child = self._num_regions
        self._num_regions += 2
        self._child_R[region], self._cut_dim_R[region], self._cut_R[region] = child, dim, cut
        self._low_Rd[child : child + 2] = self._low_Rd[region]
        self._high_Rd[child : child + 2] = self._high_Rd[region]
        self._high_Rd[child, dim] = self._low_Rd[child + 1, dim] = cut
        self._share_out(region, self._point_RWd[region], self._score_RW[region])


def learning_progress(score_KW: Tensor, is_part_KW: Tensor) -> Tensor:
    """|mean of the earlier half − mean of the later half| of each row's part, `(K,)`.

    Rows are in the order of time; of an odd number the earlier half has one more. Parts of up to
    two make no progress.
    """
    rank_KW = is_part_KW.cumsum(1)
    num_K1 = is_part_KW.sum(1, keepdim=True)
    num_later_K1 = num_K1 // 2
    is_later_KW = is_part_KW & (rank_KW > num_K1 - num_later_K1)
    is_earlier_KW = is_part_KW & ~is_later_KW
    later_K = (score_KW * is_later_KW).sum(1) / num_later_K1[:, 0].clamp(min=1)
    earlier_K = (score_KW * is_earlier_KW).sum(1) / (num_K1 - num_later_K1)[:, 0].clamp(min=1)
    return (earlier_K - later_K).abs() * (num_K1[:, 0] > 2)
