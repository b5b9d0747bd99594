"""How many bits of inductive bias a family asks for (Boopathy et al. 2023, arXiv 2305.01034).

A learner that knew nothing but smoothness would have to be told this much, beyond its n training
frames, to act within ε of the best everywhere. The number is set almost wholly by the dimension m
of what the action depends on: it ranks families, and says little else.

Every number of bits is given as its decimal logarithm; the numbers themselves would overflow.

Shape legend: N worlds, P points, Q points with a query, O features, K neighbours.
"""

import math
from dataclasses import dataclass

import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.registry import family_class
from quickstudy.envs.tasks import TaskSpace
from quickstudy.envs.trials import TrialEnv

NEIGHBOURS = 5
"""k of the dimension's estimate, as in the paper."""
RESOLUTION = 1e-3
"""δ of the paper's control tasks: the distance over which the best action may change."""
TOLERANCE = 1e-3
"""ε of the paper's control tasks: how near the best action one should come."""
FRAMES = 1_000_000
"""n of the paper's control tasks."""

WORLDS = 128
POINTS_PER_WORLD = 32
STEPS = 200
"""Of a trial, at most, in which observations are collected."""
QUERIES = 2048


@dataclass(frozen=True)
class Difficulty:
    """What a family asks for, with everything that was assumed.

    The estimate of m moves by ± 0.1 with the seed, the logarithms by four times that.
    """

    family: str
    observation_dims: float
    """m: the intrinsic dimension of the observations that random actions visit."""
    task_dims: int
    """Parameters in which training tasks differ; each counts as one, be it real, a sign or a seed.
    """
    action_dims: int
    """D."""
    frames: int = FRAMES
    """n: training frames."""
    resolution: float = RESOLUTION
    """δ."""
    tolerance: float = TOLERANCE
    """ε."""

    @property
    def oracle(self) -> float:
        """log10 bits where the task is known: the action depends on the observation alone."""
        return self._log10_bits(self.observation_dims)

    @property
    def meta(self) -> float:
        """log10 bits where the task is hidden: it depends on observation and task."""
        return self._log10_bits(self.observation_dims + self.task_dims)

    @property
    def price(self) -> float:
        """log10 of the bits that not knowing the task costs: of `meta`'s minus `oracle`'s."""
        return log10_difference(self.meta, self.oracle)

    def __str__(self) -> str:
        found = (
            f"10^{self.oracle:.1f} bits with the task known, 10^{self.meta:.1f} with it hidden; "
            f"the difference is 10^{self.price:.1f}"
        )
        if self.task_dims == 0:
            found = f"10^{self.oracle:.1f} bits; no task is hidden"
        return (
            f"{found} (m = {self.observation_dims:.1f} observed + {self.task_dims} hidden, "
            f"D = {self.action_dims}, δ = {self.resolution:g}, ε = {self.tolerance:g}, "
            f"n = {self.frames:g})"
        )

    def _log10_bits(self, dims: float) -> float:
        return log10_bits(
            dims,
            self.action_dims,
            self.frames,
            resolution=self.resolution,
            tolerance=self.tolerance,
        )


def difficulty(family: str, *, frames: int = FRAMES, seed: int = 0) -> Difficulty:
    """Measure a family: play it with random actions, estimate its dimension.

    Args:
        family: a registered name.
        frames: n, the frames of meta-training.
        seed: decides tasks, physics noise, actions and which observations are looked at.

    Raises:
        ValueError: for an unknown family, or one whose actions are not continuous (its best return
            is computed: `quickstudy references`).
    """
    cls = family_class(family)
    if isinstance(cls.action_space, spaces.Discrete):
        raise ValueError(
            f"Difficulty in bits is defined for continuous actions; {family} has none."
        )
    return Difficulty(
        family,
        observation_dims=intrinsic_dimension(visited_observations(family, seed), seed=seed),
        task_dims=differing_parameters(cls.task_space),
        action_dims=cls.action_space.shape[0],
        frames=frames,
    )


def differing_parameters(space: TaskSpace) -> int:
    """In how many parameters the training tasks of a space differ."""
    task_ND = space.listing("train", 64, seed=0)
    return int((task_ND != task_ND[:1]).any(dim=0).sum())


def log10_bits(
    dims: float,
    action_dims: int,
    frames: int,
    *,
    resolution: float = RESOLUTION,
    tolerance: float = TOLERANCE,
) -> float:
    """log10 of the bits for m `dims`, D `action_dims` and n `frames`; −inf where data suffice.

    D (2 (2π/δ)^m π^(m/2) / Γ(m/2 + 1) − n)
      · (log2(4π²/√6) + log2 D + ½ log2 m − log2 δ − (log2 n)/m − log2 ε),

    the formula of the authors' published code for MuJoCo; theirs for cartpole with T observations
    is this one with m = 2T and D = 1.
    """
    assert dims > 0
    # Degrees of freedom of the functions of that resolution on an m-dimensional ball.
    log_freedom = (
        math.log(2.0)
        + dims * math.log(2.0 * math.pi / resolution)
        + dims / 2.0 * math.log(math.pi)
        - math.lgamma(dims / 2.0 + 1.0)
    )
    bits_per_freedom = (
        math.log2(4.0 * math.pi**2 / math.sqrt(6.0))
        + math.log2(action_dims)
        + 0.5 * math.log2(dims)
        - math.log2(resolution)
        - math.log2(frames) / dims
        - math.log2(tolerance)
    )
    log10_untaught = log10_difference(log_freedom / math.log(10.0), math.log10(frames))
    if bits_per_freedom <= 0.0:
        return -math.inf
    return math.log10(action_dims) + log10_untaught + math.log10(bits_per_freedom)


def log10_difference(larger: float, smaller: float) -> float:
    """log10(10^larger − 10^smaller); −inf unless that is positive."""
    if larger <= smaller:
        return -math.inf
    return larger + math.log1p(-(10.0 ** (smaller - larger))) / math.log(10.0)


def intrinsic_dimension(point_PO: Tensor, *, neighbours: int = NEIGHBOURS, seed: int = 0) -> float:
    """The maximum-likelihood estimate of the dimension that points lie on (Levina & Bickel 2004).

    One over the mean, over points and neighbours j < k, of log(distance to the k-th neighbour /
    distance to the j-th): averaged before it is inverted (MacKay & Ghahramani 2005), as in Boopathy
    et al. 2023. Features are first divided by their standard deviations, so that units do not
    matter. Finite samples bias it downwards, the more the higher the dimension.

    Args:
        point_PO: `(P, O)`; of equal points only one counts.
        neighbours: k.
        seed: decides which 2048 points (all, if there are fewer) are asked for their neighbours.

    Raises:
        ValueError: for fewer than k + 1 different points.
    """
    point_PO = torch.unique(point_PO.to(torch.float64), dim=0)
    if len(point_PO) <= neighbours:
        raise ValueError(f"{len(point_PO)} different points have no {neighbours} neighbours each.")
    spread_O = point_PO.std(dim=0)
    point_PO = point_PO / torch.where(spread_O > 0, spread_O, 1.0)
    order_P = rng.permutation(rng.root_key(seed, rng.Stream.EVALUATION), len(point_PO))
    query_QO = point_PO[order_P[:QUERIES]]
    # Exact differences: the faster way by matrix products loses the nearest neighbours' digits.
    distance_QP = torch.cdist(query_QO, point_PO, compute_mode="donot_use_mm_for_euclid_dist")
    # The nearest is the point itself.
    nearest_QK = distance_QP.topk(neighbours + 1, largest=False).values[:, 1:]
    return 1.0 / float((nearest_QK[:, -1:] / nearest_QK[:, :-1]).log().mean())


def visited_observations(family: str, seed: int = 0) -> Tensor:
    """Observations under random actions, `(P, O)`: up to 32 of each of 128 worlds.

    They are taken at times spread over the first 200 steps of a trial, another set in each world:
    successive ones would be each other's neighbours, and the dimension seen that of a path.
    """
    env = TrialEnv(family, WORLDS)
    action_key_N = rng.world_keys(seed, rng.Stream.ACTION, WORLDS)
    num_steps = min(STEPS, env.trial_length)
    chosen_NP = _spread_times(num_steps, seed)
    action_dims = env.blank_action.shape[1]
    time_step = env.reset(seed)
    seen = []
    for step in range(num_steps):
        seen.append(time_step.observation[(chosen_NP == step).any(dim=1)])
        u_NA = rng.uniform(rng.fold_in(action_key_N, step), action_dims)
        time_step = env.step((2.0 * u_NA - 1.0).to(torch.float32))
    env.close()
    return torch.cat(seen)


def _spread_times(num_steps: int, seed: int) -> Tensor:
    """A random step in each of 32 equal parts of these, `(N, 32)`, by world."""
    key_N = rng.world_keys(seed, rng.Stream.EVALUATION, WORLDS)
    part_P = torch.arange(POINTS_PER_WORLD)
    u_NP = rng.uniform(key_N, POINTS_PER_WORLD)
    return ((part_P + u_NP) / POINTS_PER_WORLD * num_steps).long()
