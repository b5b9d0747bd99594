"""What the nearest earlier level scored: over all of history, exactly, or over its last part.

Shape legend: n points added at once, d dimensions, m points in memory.
"""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

_LEAF = 512
"""Points that are searched one by one before they go into a tree."""
_TIE = 1 + 1e-9
"""Distances within this factor may be equal but for rounding."""
_BLOCK = 2**20
"""Distances computed at once."""


class NearestEarlier:
    """For each point, in order, the value of the nearest of all points that came before it.

    Of equally near points the latest counts: points clipped to a corner of the cube coincide, and
    what a level scored long ago says nothing of progress. So the answer does not depend on how many
    points are added at once.

    The points stand in k-d trees over 512, 1024, 2048, … points, as the binary digits of their
    number say (Bentley & Saxe 1980); the newest, fewer than 512, are searched one by one.
    """

    def __init__(self, dim: int) -> None:
        self._point_md = np.empty((_LEAF, dim))
        self._value_m = np.empty(_LEAF)
        self._count = 0
        self._trees: list[_Tree] = []

    def __len__(self) -> int:
        return self._count

    def add(self, point_nd: Tensor, value_n: Tensor) -> Tensor:
        """Values of the nearest earlier points, float64 `(n,)`; NaN where there is none."""
        nearest = []
        while len(point_nd):
            room = _LEAF - self._count % _LEAF
            nearest.append(self._add(point_nd[:room].numpy(), value_n[:room].numpy()))
            point_nd, value_n = point_nd[room:], value_n[room:]
        return torch.from_numpy(np.concatenate(nearest or [np.empty(0)]))

    def state_dict(self) -> dict[str, Tensor]:
        """All points and values, in order."""
        kept = slice(self._count)
        return {
            "points": torch.from_numpy(self._point_md[kept].copy()),
            "values": torch.from_numpy(self._value_m[kept].copy()),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken."""
        self._point_md, self._value_m = state["points"].numpy(), state["values"].numpy()
        self._count = len(self._value_m)
        self._trees = []
        leaves = self._count // _LEAF
        for digit in reversed(range(leaves.bit_length())):
            if leaves >> digit & 1:
                self._plant((leaves >> digit << digit) * _LEAF, _LEAF << digit)

    def _add(self, point_nd: np.ndarray, value_n: np.ndarray) -> np.ndarray:
        """`add`, for at most as many points as a leaf has room for."""
        before, self._count = self._count, self._count + len(point_nd)
        self._point_md = _with_room(self._point_md, self._count)
        self._value_m = _with_room(self._value_m, self._count)
        self._point_md[before : self._count] = point_nd
        self._value_m[before : self._count] = value_n
        index_n = self._nearest(point_nd, before)
        if self._count % _LEAF == 0:
            leaves = self._count // _LEAF
            self._plant(self._count, (leaves & -leaves) * _LEAF)
        nearest_n: np.ndarray = np.where(index_n < 0, np.nan, self._value_m[index_n])
        return nearest_n

    def _nearest(self, point_nd: np.ndarray, before: int) -> np.ndarray:
        """Indices of the nearest earlier points `(n,)`; -1 where there is none."""
        gap_n, index_n = _latest_nearest(point_nd, self._point_md, before - before % _LEAF, before)
        for tree in reversed(self._trees):
            tree_gap_n, tree_index_n = tree.nearest(point_nd)
            index_n = np.where(tree_gap_n < gap_n, tree_index_n, index_n)
            gap_n = np.minimum(tree_gap_n, gap_n)
        return index_n

    def _plant(self, stop: int, size: int) -> None:
        """A tree over the `size` points before `stop`, in place of those it covers."""
        self._trees = [tree for tree in self._trees if tree.start < stop - size]
        self._trees.append(_Tree(self._point_md[stop - size : stop], stop - size))


class _Tree:
    """A k-d tree over points of which the latest counts where several coincide."""

    def __init__(self, point_md: np.ndarray, start: int) -> None:
        latest = _latest_of_each(point_md)
        self.start = start
        self._index_m = start + latest
        self._point_md = point_md[latest]
        self._tree = cKDTree(self._point_md)

    def nearest(self, point_nd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances to the nearest points, and their indices, each `(n,)`."""
        distance_n2, row_n2 = self._tree.query(point_nd, k=2)
        row_n = row_n2[:, 0]
        for n in (distance_n2[:, 1] <= distance_n2[:, 0] * _TIE).nonzero()[0]:
            row_n[n] = self._latest_within(point_nd[n], distance_n2[n, 0] * _TIE)
        return _squared_distance(point_nd, self._point_md[row_n]), self._index_m[row_n]

    def _latest_within(self, point_d: np.ndarray, distance: float) -> int:
        """Of the points that are nearest but for rounding, the nearest, and then the latest."""
        row_m = np.array(self._tree.query_ball_point(point_d, distance))
        gap_m = _squared_distance(point_d, self._point_md[row_m])
        return int(row_m[np.lexsort((-self._index_m[row_m], gap_m))[0]])


def _latest_nearest(
    point_nd: np.ndarray, point_md: np.ndarray, start: int, before: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of the points from `start` up to each point itself, which stands at `before` + n.

    Returns:
        Squared distances (infinite where there is none) and indices (-1), each `(n,)`.
    """
    end = before + len(point_nd)
    # Backwards, as the first of equals is found.
    index_m = np.arange(start, end)[::-1]
    gap_nm = _squared_distance(point_nd[:, None], point_md[index_m])
    gap_nm[index_m >= np.arange(before, end)[:, None]] = np.inf
    best_n = gap_nm.argmin(axis=1)
    gap_n = gap_nm[np.arange(len(best_n)), best_n]
    return gap_n, np.where(np.isinf(gap_n), -1, index_m[best_n])


def _squared_distance(point_nd: np.ndarray, other_nd: np.ndarray) -> np.ndarray:
    """Summed in the order of the dimensions, so that it is the same whatever the shapes."""
    total_n: np.ndarray = (point_nd[..., 0] - other_nd[..., 0]) ** 2
    for i in range(1, point_nd.shape[-1]):
        total_n += (point_nd[..., i] - other_nd[..., i]) ** 2
    return total_n


def _latest_of_each(point_md: np.ndarray) -> np.ndarray:
    """The last index of each distinct point."""
    order_m = np.lexsort(point_md.T)
    ends_m = (point_md[order_m[1:]] != point_md[order_m[:-1]]).any(axis=1)
    latest_k: np.ndarray = order_m[np.append(ends_m, True)]
    return latest_k


def _with_room(array: np.ndarray, count: int) -> np.ndarray:
    """The array, or a longer copy where it is too short for `count` rows."""
    if count <= len(array):
        return array
    longer = np.empty((max(2 * len(array), count, _LEAF), *array.shape[1:]))
    longer[: len(array)] = array
    return longer


class NearestRecent:
    """For each of a batch of points the value of the nearest point of earlier batches.

    Only the last `memory` points are kept; of equally near ones the latest counts.
    """

    def __init__(self, dim: int, memory: int) -> None:
        self._memory = memory
        self._point_md = torch.empty(0, dim, dtype=torch.float64)
        self._value_m = torch.empty(0, dtype=torch.float64)

    def add(self, point_nd: Tensor, value_n: Tensor) -> Tensor:
        """Values of the nearest points, float64 `(n,)`; NaN where there is none."""
        nearest_n = self._nearest(point_nd)
        self._point_md = torch.cat([self._point_md, point_nd])[-self._memory :]
        self._value_m = torch.cat([self._value_m, value_n])[-self._memory :]
        return nearest_n

    def state_dict(self) -> dict[str, Tensor]:
        """The points and values kept, in order."""
        return {"points": self._point_md.clone(), "values": self._value_m.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken."""
        self._point_md, self._value_m = state["points"], state["values"]

    def _nearest(self, point_nd: Tensor) -> Tensor:
        if not len(self._value_m):
            return torch.full((len(point_nd),), torch.nan, dtype=torch.float64)
        # Backwards, as the first of equals is found.
        point_md, value_m = self._point_md.flip(0), self._value_m.flip(0)
        blocks = torch.split(point_nd, max(1, _BLOCK // len(value_m)))
        return torch.cat([value_m[_distance(block, point_md).argmin(1)] for block in blocks])


def _distance(point_nd: Tensor, point_md: Tensor) -> Tensor:
    """Computed from differences: a product of matrices would lose those between near points."""
    return torch.cdist(point_nd, point_md, compute_mode="donot_use_mm_for_euclid_dist")
