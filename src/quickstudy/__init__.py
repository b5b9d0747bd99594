"""A meta-reinforcement-learning suite: importing it registers every task family with Gymnasium.

`gymnasium.make("quickstudy/HalfCheetahVel-v0")` and `gymnasium.make_vec` then work; torch and
MuJoCo are imported only when an environment is made.
"""

import gymnasium

from quickstudy._version import __version__
from quickstudy.envs.registry import FAMILIES

__all__ = ["__version__"]


def _register_families() -> None:
    """Name both views of each family by strings, so that their specs serialise to JSON."""
    for name, entry in FAMILIES.items():
        env_id = f"quickstudy/{name}-v{entry.version}"
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point="quickstudy.envs.gymnasium_env:FamilyEnv",
                vector_entry_point="quickstudy.envs.vector_env:FamilyVectorEnv",
                max_episode_steps=entry.episode_length,
                kwargs={"family": name},
            )


_register_families()
