"""Families seen through random linear maps, new ones for each trial (Lu et al. 2023, section 3.2).

Whatever a family shows and does, an agent sees 12 numbers and gives 2. The paper does not say how
the entries of its maps are distributed; here are two ways, a family names its own:

- `gaussian`: independent normal entries with mean 0 and variance 1/n, for n inputs of the map.
- `orthogonal`: orthonormal columns, or rows where there are fewer of them, uniform among all such
  maps. What is seen keeps its lengths, and any single motor can be driven to its limit.

Shape legend: N worlds, D task parameters, E features and U actions of the family behind the maps,
O = 12 features and A = 2 actions before them.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.family import Family, Outcome, unbounded_box, unit_box
from quickstudy.envs.nested_state import nested, part
from quickstudy.envs.tasks import Parameter, SeedTasks, TaskSpace

OBSERVATION_SIZE = 12
ACTION_SIZE = 2
SEED_BITS = 40
MAP_KEY = rng.root_key(0, rng.Stream.TASK)

Distribution = Literal["gaussian", "orthogonal"]


def random_maps(distribution: Distribution, key_N: Tensor, rows: int, columns: int) -> Tensor:
    """One matrix per key, float64 `(N, rows, columns)`."""
    noise_NRC = rng.normal(key_N, rows * columns).view(-1, rows, columns)
    if distribution == "gaussian":
        return noise_NRC / math.sqrt(columns)
    return orthonormal(noise_NRC) if rows >= columns else orthonormal(noise_NRC.mT).mT


def orthonormal(noise_NRC: Tensor) -> Tensor:
    """Orthonormal columns from normal ones, uniformly distributed (Mezzadri 2007)."""
    if noise_NRC.device.type != "cpu":
        return gram_schmidt(noise_NRC)
    q_NRC, r_NCC = torch.linalg.qr(noise_NRC)
    signs_N1C = r_NCC.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    maps_NRC: Tensor = q_NRC * signs_N1C
    return maps_NRC


def gram_schmidt(noise_NRC: Tensor) -> Tensor:
    """What `orthonormal` is of, column by column.

    A GPU has no batched factorisation that a captured graph could hold; there are at most a dozen
    columns. Each is freed of the others twice, which keeps them orthogonal to rounding (Giraud et
    al. 2005).
    """
    q_NRC = noise_NRC[..., :0]
    for column_NR in noise_NRC.unbind(dim=-1):
        column_NR1 = column_NR.unsqueeze(-1)
        for _ in range(2):
            column_NR1 = column_NR1 - q_NRC @ (q_NRC.mT @ column_NR1)
        length_N11 = torch.linalg.vector_norm(column_NR1, dim=-2, keepdim=True)
        q_NRC = torch.cat([q_NRC, column_NR1 / length_N11], dim=-1)
    return q_NRC


class Projection:
    """The maps of N worlds: a pure function of their trials' seeds."""

    def __init__(self, distribution: Distribution, family: Family) -> None:
        """Maps for each world of `family`, all zero until they are drawn."""
        assert isinstance(family.action_space, spaces.Box)
        (observation_size,), (num_actions,) = (
            space.shape for space in (family.observation_space, family.action_space)
        )
        self._distribution = distribution
        self._peeks = family.placement.peeks
        self._seed_N = torch.full((family.num_worlds,), -1, device=family.device)
        self._observation_NOE = self._blank(family, OBSERVATION_SIZE, observation_size)
        self._action_NUA = self._blank(family, num_actions, ACTION_SIZE)

    def redraw(self, mask_N: Tensor, seed_N: Tensor) -> None:
        """The maps of `seed_N` (whole numbers) where `mask_N` is True."""
        seed_N = seed_N.long()
        mask_N = mask_N & (seed_N != self._seed_N)
        if self._peeks and not mask_N.any():
            return
        key_N = rng.fold_in(MAP_KEY, seed_N)
        self._seed_N = torch.where(mask_N, seed_N, self._seed_N)
        self._observation_NOE = self._drawn(mask_N, self._observation_NOE, rng.fold_in(key_N, 0))
        self._action_NUA = self._drawn(mask_N, self._action_NUA, rng.fold_in(key_N, 1))

    def observation(self, observation_NE: Tensor) -> Tensor:
        """What an agent sees, `(N, O)` float64."""
        return (self._observation_NOE * observation_NE.unsqueeze(1)).sum(dim=2)

    def action(self, action_NA: Tensor) -> Tensor:
        """What the family behind the maps is given, `(N, U)` float64; it clips to its box."""
        return (self._action_NUA * action_NA.unsqueeze(1)).sum(dim=2)

    @staticmethod
    def _blank(family: Family, rows: int, columns: int) -> Tensor:
        shape = (family.num_worlds, rows, columns)
        return torch.zeros(shape, dtype=torch.float64, device=family.device)

    def _drawn(self, mask_N: Tensor, old: Tensor, key_N: Tensor) -> Tensor:
        maps = random_maps(self._distribution, key_N, *old.shape[1:])
        return torch.where(mask_N.view(-1, 1, 1), maps, old)


class ProjectedTasks(TaskSpace):
    """The tasks of a space, each with an integer seed of its maps.

    Even seeds are `train`'s; `test` and `ood` have odd ones: no map of training is met again.
    """

    seeded = True

    def __init__(self, base: TaskSpace) -> None:
        self._base = base
        self._seeds = SeedTasks(SEED_BITS)
        ((low, high),) = self._seeds.ranges
        self.parameters = (*base.parameters, Parameter("projection", low, high, "1"))

    @property
    def splits(self) -> tuple[str, ...]:
        return self._base.splits

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        return self._base.ranges + self._seeds.ranges

    def _draw(self, split: str, u_ND: Tensor) -> Tensor:
        seed_N1 = self._seeds._draw(_parity(split), u_ND[:, -1:])
        return torch.cat([self._base._draw(split, u_ND[:, :-1]), seed_N1], dim=1)

    def _list(self, split: str, num_tasks: int, key: Tensor) -> Tensor:
        seed_N1 = self._seeds._list(_parity(split), num_tasks, rng.fold_in(key, 1))
        return torch.cat([self._base._list(split, num_tasks, key), seed_N1], dim=1)

    def contains(self, split: str, task_ND: Tensor) -> Tensor:
        seed_is_N = self._seeds.contains(_parity(split), task_ND[:, -1:])
        return seed_is_N & self._base.contains(split, task_ND[:, :-1])

    def _definition(self) -> object:
        return {"base": self._base._definition(), "projection": self._seeds._definition()}


def _parity(split: str) -> str:
    return "train" if split == "train" else "test"


class Projected(Family):
    """One family behind random maps: `class ProjectedX(Projected, base=X)`.

    Its task is X's with one more parameter, the seed of the maps.
    """

    base: ClassVar[type[Family]]
    distribution: ClassVar[Distribution] = "orthogonal"
    observation_space = unbounded_box(OBSERVATION_SIZE)
    action_space = unit_box(ACTION_SIZE)

    def __init_subclass__(cls, *, base: type[Family]) -> None:
        """Raises `ValueError` for a family with a finite set of actions."""
        super().__init_subclass__()
        if not isinstance(base.action_space, spaces.Box):
            raise ValueError(f"{base.__name__} has no box of actions, so none to project.")
        cls.base = base
        cls.task_space = ProjectedTasks(base.task_space)
        cls.render_fps = base.render_fps
        cls.shows_action = base.shows_action
        cls.reports_success = base.reports_success

    def __init__(self, num_worlds: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_worlds, device)
        self._base = self.base(num_worlds, self.placement.name)
        self._maps = Projection(self.distribution, self._base)

    @property
    def episode_length(self) -> int:
        """That of the family behind the maps."""
        return self._base.episode_length

    @episode_length.setter
    def episode_length(self, steps: int) -> None:
        self._base.episode_length = steps

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        self._maps.redraw(mask_N, self.task_ND[:, -1])
        self._base.reset(mask_N, self.task_ND[:, :-1], key_N)

    def _advance(self, action: Tensor) -> Outcome:
        return self._base.step(self._maps.action(action))

    def _observe(self) -> Tensor:
        return self._maps.observation(self._base.observe())

    def state_dict(self) -> dict[str, Tensor]:
        own = {"task": self.task_ND.clone(), "diverged": self._diverged_N.clone()}
        return own | nested("base", self._base.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.task_ND = self._restored(state["task"])
        self._diverged_N = self._restored(state["diverged"])
        self._maps.redraw(torch.ones_like(self._diverged_N), self.task_ND[:, -1])
        self._base.load_state_dict(part("base", state))

    def render(self, world: int = 0) -> np.ndarray:
        return self._base.render(world)

    def check_capacity(self) -> None:
        self._base.check_capacity()

    def close(self) -> None:
        self._base.close()
