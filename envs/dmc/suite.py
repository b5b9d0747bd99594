"""The models of the DeepMind Control Suite, from where dm_control is installed."""

import copy
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from quickstudy.envs.batch_engine import load_model
from quickstudy.envs.errors import MissingExtraError
from quickstudy.envs.headless import mujoco


def load_suite_model(file: str) -> mujoco.MjModel:
    """A model of the suite, say `cartpole.xml`, of the caller's own.

    Raises:
        MissingExtraError: if dm_control is not installed.
    """
    return copy.copy(_compiled(_suite_folder() / file))


@cache
def _compiled(file: Path) -> mujoco.MjModel:
    # Painting their skies takes a third of a second.
    return load_model(file)


def _suite_folder() -> Path:
    # Looked up, not imported: dm_control's own bindings do not know MuJoCo 4.
    package = find_spec("dm_control")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError(
            "The DMC families need the models of dm_control: pip install 'quickstudy[dmc]'."
        )
    return Path(package.submodule_search_locations[0]) / "suite"
