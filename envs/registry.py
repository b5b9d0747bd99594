"""The families by name, with the trial each is played in by default.

Importing this module imports neither torch nor MuJoCo: classes are named by strings and loaded when
an environment is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.from_text import from_text

if TYPE_CHECKING:
    from quickstudy.envs.family import Family

DEVICES = ("cpu", "cuda", "warp-cpu")
"""Names of devices; `envs/devices.py` says what they are."""


@dataclass(frozen=True)
class FamilyEntry:
    """Where a family's class is, and its default trial."""

    path: str
    """`module:Class` below `quickstudy.envs.families`."""
    episode_length: int
    """Steps after which an episode is truncated."""
    episodes_per_trial: int
    """Episodes on one hidden task."""
    version: int = 0
    """Raised whenever reward, physics, observation, tasks or splits change."""
    cpu_only: bool = False
    """True where physics runs in processes of its own, which no other device can take over."""


FAMILIES: dict[str, FamilyEntry] = {
    "PointGoal": FamilyEntry("point_goal:PointGoal", 20, 2),
    "SparsePointGoal": FamilyEntry("sparse_point_goal:SparsePointGoal", 20, 5),
    "HalfCheetahDir": FamilyEntry("half_cheetah_dir:HalfCheetahDir", 200, 2),
    "HalfCheetahVel": FamilyEntry("half_cheetah_vel:HalfCheetahVel", 200, 2),
    "HalfCheetahVelWide": FamilyEntry("half_cheetah_vel_wide:HalfCheetahVelWide", 200, 2),
    "AntDir": FamilyEntry("ant_dir:AntDir", 200, 2),
    "AntDir2D": FamilyEntry("ant_dir_2d:AntDir2D", 200, 2),
    "AntVel": FamilyEntry("ant_vel:AntVel", 200, 2),
    "AntGoal": FamilyEntry("ant_goal:AntGoal", 200, 2),
    "AntGoalSparse": FamilyEntry("ant_goal_sparse:AntGoalSparse", 200, 2),
    "HumanoidDir": FamilyEntry("humanoid_dir:HumanoidDir", 200, 2),
    "AntDir1Rad-legacy": FamilyEntry("ant_dir_1rad_legacy:AntDir1RadLegacy", 200, 2),
    "HalfCheetahDir-legacy": FamilyEntry("half_cheetah_legacy:HalfCheetahDirLegacy", 200, 2),
    "HalfCheetahVel-legacy": FamilyEntry("half_cheetah_legacy:HalfCheetahVelLegacy", 200, 2),
    "HalfCheetahDirSparse": FamilyEntry("half_cheetah_dir_sparse:HalfCheetahDirSparse", 200, 2),
    "Wind": FamilyEntry("wind:Wind", 75, 2),
    "CartPole": FamilyEntry("cart_pole:CartPole", 500, 1),
    "Pendulum": FamilyEntry("pendulum:Pendulum", 200, 1),
    "ReacherGoal": FamilyEntry("reacher_goal:ReacherGoal", 50, 2),
    "ReacherGoalSparse": FamilyEntry("reacher_goal_sparse:ReacherGoalSparse", 50, 3),
    "WalkerVel": FamilyEntry("walker_vel:WalkerVel", 200, 2),
    "Walker2dRandParams": FamilyEntry("walker2d_rand_params:Walker2dRandParams", 200, 2),
    "HopperRandParams": FamilyEntry("hopper_rand_params:HopperRandParams", 200, 2),
    "HalfCheetahBody": FamilyEntry("half_cheetah_body:HalfCheetahBody", 200, 2),
    "AntCrippled": FamilyEntry("ant_crippled:AntCrippled", 200, 2),
    "Bandit2": FamilyEntry("bandits:Bandit2", 100, 1),
    "Bandit5": FamilyEntry("bandits:Bandit5", 10, 1),
    "Bandit10": FamilyEntry("bandits:Bandit10", 10, 1),
    "Bandit50": FamilyEntry("bandits:Bandit50", 10, 1),
    "TabularMDP": FamilyEntry("tabular_mdp:TabularMDP", 10, 10),
    "PointRecall": FamilyEntry("point_recall:PointRecall", 100, 1),
    "GridNavi": FamilyEntry("grid_navi:GridNavi", 15, 4),
    "DarkRoom": FamilyEntry("dark_room:DarkRoom", 20, 5),
    "KeyToDoor": FamilyEntry("key_to_door:KeyToDoor", 50, 4),
    "MemoryChain": FamilyEntry("memory_chain:MemoryChain", 64, 1),
    "MetaWorldML1Reach": FamilyEntry("metaworld:MetaWorldML1Reach", 500, 10, cpu_only=True),
    "MetaWorldML1Push": FamilyEntry("metaworld:MetaWorldML1Push", 500, 10, cpu_only=True),
    "MetaWorldML1PickPlace": FamilyEntry("metaworld:MetaWorldML1PickPlace", 500, 10, cpu_only=True),
    "MetaWorldML10": FamilyEntry("metaworld:MetaWorldML10", 500, 10, cpu_only=True),
    "MetaWorldML45": FamilyEntry("metaworld:MetaWorldML45", 500, 10, cpu_only=True),
    "MetaWorldMT1Reach": FamilyEntry("metaworld:MetaWorldMT1Reach", 500, 1, cpu_only=True),
    "MetaWorldMT1Push": FamilyEntry("metaworld:MetaWorldMT1Push", 500, 1, cpu_only=True),
    "MetaWorldMT1PickPlace": FamilyEntry("metaworld:MetaWorldMT1PickPlace", 500, 1, cpu_only=True),
    "MetaWorldMT10": FamilyEntry("metaworld:MetaWorldMT10", 500, 1, cpu_only=True),
    "MetaWorldMT50": FamilyEntry("metaworld:MetaWorldMT50", 500, 1, cpu_only=True),
    "DMCAcrobotSwingup": FamilyEntry("dmc_acrobot:DMCAcrobotSwingup", 1000, 1),
    "DMCBallInCupCatch": FamilyEntry("dmc_ball_in_cup:DMCBallInCupCatch", 1000, 1),
    "DMCCartpoleBalance": FamilyEntry("dmc_cartpole:DMCCartpoleBalance", 1000, 1),
    "DMCCartpoleSwingup": FamilyEntry("dmc_cartpole:DMCCartpoleSwingup", 1000, 1),
    "DMCFingerSpin": FamilyEntry("dmc_finger:DMCFingerSpin", 1000, 1),
    "DMCFingerTurnEasy": FamilyEntry("dmc_finger:DMCFingerTurnEasy", 1000, 1),
    "DMCFingerTurnHard": FamilyEntry("dmc_finger:DMCFingerTurnHard", 1000, 1),
    "DMCPendulumSwingup": FamilyEntry("dmc_pendulum:DMCPendulumSwingup", 1000, 1),
    "DMCPointMassEasy": FamilyEntry("dmc_point_mass:DMCPointMassEasy", 1000, 1),
    "DMCPointMassHard": FamilyEntry("dmc_point_mass:DMCPointMassHard", 1000, 1),
    "DMCReacherEasy": FamilyEntry("dmc_reacher:DMCReacherEasy", 1000, 1),
    "DMCReacherHard": FamilyEntry("dmc_reacher:DMCReacherHard", 1000, 1),
    "ProjectedDMC": FamilyEntry("projected_dmc:ProjectedDMC", 1000, 1),
    "ProjectedDMCBodies": FamilyEntry("projected_dmc:ProjectedDMCBodies", 1000, 1),
    "ProjectedDMCGaussian": FamilyEntry("projected_dmc:ProjectedDMCGaussian", 1000, 1),
    "ProjectedPointGoal": FamilyEntry("projected_point_goal:ProjectedPointGoal", 20, 2),
    "ParkourStumps": FamilyEntry("parkour_stumps:ParkourStumps", 500, 1),
    "ParkourGates": FamilyEntry("parkour_gates:ParkourGates", 500, 1),
    "ParkourRough": FamilyEntry("parkour_rough:ParkourRough", 500, 1),
    "ProbeValue": FamilyEntry("probes:ProbeValue", 1, 2),
    "ProbeObservation": FamilyEntry("probes:ProbeObservation", 1, 2),
    "ProbeDelay": FamilyEntry("probes:ProbeDelay", 2, 2),
    "ProbeAction": FamilyEntry("probes:ProbeAction", 1, 2),
    "ProbeMatch": FamilyEntry("probes:ProbeMatch", 1, 2),
    "ProbeArm": FamilyEntry("probes:ProbeArm", 1, 8),
    "ProbeRecall": FamilyEntry("probes:ProbeRecall", 5, 2),
    "ProbeReach": FamilyEntry("probes:ProbeReach", 1, 2),
}


def family_entry(name: str) -> FamilyEntry:
    """The registry line of a family.

    Raises:
        ValueError: for an unknown name; it lists the families and suggests the nearest.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        raise unknown("family", name, FAMILIES)
    return FAMILIES[name]


def family_class(name: str) -> type[Family]:
    """The class of a family, imported on demand."""
    module, _, attribute = family_entry(name).path.partition(":")
    loaded = importlib.import_module(f"quickstudy.envs.families.{module}")
    cls: type[Family] = getattr(loaded, attribute)
    return cls


def make_family(
    name: str,
    num_worlds: int,
    device: str = "cpu",
    *,
    episode_length: int | None = None,
    options: Mapping[str, object] | None = None,
) -> Family:
    """Build `num_worlds` worlds of a family.

    Args:
        name: a registered name.
        num_worlds: N.
        device: see `envs/devices.py`.
        episode_length: for families whose rules depend on it; the default trial's if None.
        options: what the family lets a user choose (`Family.options_type`), by name; values may be
            text.

    Raises:
        ValueError: for an unknown family or device, a device that is not there or that the family
            cannot run on, a count below 1, too many worlds for the device's memory, or an option
            that the family does not have or take.
    """
    cls = family_class(name)
    require_positive("num_worlds", num_worlds)
    if episode_length is not None:
        require_positive("episode_length", episode_length)
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device != "cpu" and family_entry(name).cpu_only:
        raise ValueError(f"{name} does not run on device {device!r}, only on 'cpu'.")
    family = cls(num_worlds, device, **_chosen(name, cls, options or {}))
    family.episode_length = episode_length or family_entry(name).episode_length
    return family


def _chosen(name: str, cls: type[Family], options: Mapping[str, object]) -> dict[str, Any]:
    """The options as an argument of the family's class, none if none are given."""
    if not options:
        return {}
    if cls.options_type is None:
        raise ValueError(f"{name} has no options, got {', '.join(map(repr, options))}.")
    text = {option: str(value) for option, value in options.items()}
    return {"options": from_text(cls.options_type, text)}
