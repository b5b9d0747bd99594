"""The strongest known strategies of each family, computed or played: what an agent can reach.

`references_of` computes them; a family's line in `REFERENCES` says by which function.
"""

from collections.abc import Callable

from quickstudy.envs.errors import require_positive, unknown
from quickstudy.envs.references.bandits import bandit_references
from quickstudy.envs.references.grids import (
    dark_room_references,
    grid_navi_references,
    key_to_door_references,
)
from quickstudy.envs.references.recall import memory_chain_references, point_recall_references
from quickstudy.envs.references.reference import Reference, Trials
from quickstudy.envs.references.tabular_mdp import tabular_mdp_references

REFERENCES: dict[str, Callable[[Trials], list[Reference]]] = {
    "Bandit2": bandit_references,
    "Bandit5": bandit_references,
    "Bandit10": bandit_references,
    "Bandit50": bandit_references,
    "TabularMDP": tabular_mdp_references,
    "PointRecall": point_recall_references,
    "GridNavi": grid_navi_references,
    "DarkRoom": dark_room_references,
    "KeyToDoor": key_to_door_references,
    "MemoryChain": memory_chain_references,
}
"""What computes the references of a family."""


def references_of(
    family: str, episode_length: int, episodes_per_trial: int, trials: int, seed: int
) -> list[Reference]:
    """The references of a family for one kind of trial, best-informed first.

    Args:
        family: a name in `REFERENCES`.
        episode_length: steps per episode.
        episodes_per_trial: K.
        trials: how many trials each played reference is a mean over.
        seed: of the tasks, of the worlds' chance and of the players' own.

    Raises:
        ValueError: for a family without references, a length or count below 1,
            or fewer than two trials.
    """
    if family not in REFERENCES:
        raise unknown("family with references", family, REFERENCES)
    require_positive("episode_length", episode_length)
    require_positive("episodes_per_trial", episodes_per_trial)
    if trials < 2:
        raise ValueError(f"trials must be at least 2, for a standard error; got {trials!r}.")
    return REFERENCES[family](Trials(family, episode_length, episodes_per_trial, trials, seed))
