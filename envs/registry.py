"""The families by name, with the trial each is played in by default.

Importing this module imports neither torch nor MuJoCo: classes are named by strings and loaded when
an environment is made.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quickstudy.envs.errors import require_positive, unknown

if TYPE_CHECKING:
    from quickstudy.envs.family import Family

DEVICES = ("cpu",)


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


FAMILIES: dict[str, FamilyEntry] = {
    "PointGoal": FamilyEntry("point_goal:PointGoal", 20, 2),
    "SparsePointGoal": FamilyEntry("sparse_point_goal:SparsePointGoal", 20, 5),
    "HalfCheetahDir": FamilyEntry("half_cheetah_dir:HalfCheetahDir", 200, 2),
    "HalfCheetahVel": FamilyEntry("half_cheetah_vel:HalfCheetahVel", 200, 2),
    "AntDir": FamilyEntry("ant_dir:AntDir", 200, 2),
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
    name: str, num_worlds: int, device: str = "cpu", *, episode_length: int | None = None
) -> Family:
    """Build `num_worlds` worlds of a family.

    `episode_length` is for families whose rules depend on it; the default trial's if None.

    Raises:
        ValueError: for an unknown family or device, or a count below 1.
    """
    cls = family_class(name)
    require_positive("num_worlds", num_worlds)
    if episode_length is not None:
        require_positive("episode_length", episode_length)
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    family = cls(num_worlds, device)
    family.episode_length = episode_length or family_entry(name).episode_length
    return family
