"""Imports Meta-World, which is optional, and makes it run on MuJoCo 4."""

import importlib
import importlib.metadata
from functools import cache
from types import ModuleType
from typing import Any

from quickstudy.envs.errors import MissingExtraError
from quickstudy.envs.headless import mujoco

INSTALL = 'pip install "quickstudy[metaworld]"'

VERSION = "3.0.0"
"""Any other may reward differently (3.1.1 does, in button-press-topdown-wall) under our ids."""

WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)
"""What Meta-World writes over each weld: anchor, relative pose (take the present), torque scale."""


@cache
def load_metaworld() -> ModuleType:
    """The `metaworld` module.

    Raises:
        MissingExtraError: where it is missing.
        ValueError: where it is of another version.
    """
    version = installed_version()
    if version is None:
        raise MissingExtraError(f"Meta-World's families need the package metaworld: {INSTALL}.")
    if version != VERSION:
        raise ValueError(
            f"Meta-World's families are defined by metaworld {VERSION}, {version} is installed. "
            f"To change it: {INSTALL}."
        )
    module = importlib.import_module("metaworld")
    _fit_weld_rows(importlib.import_module("metaworld.sawyer_xyz_env").SawyerMocapBase)
    return module


def installed_version() -> str | None:
    """The version of `metaworld` that is installed, None where there is none."""
    try:
        return importlib.metadata.version("metaworld")
    except importlib.metadata.PackageNotFoundError:
        return None


def _fit_weld_rows(environment_class: Any) -> None:
    """Replace the one method that fails.

    It assigns rows of 11 numbers to `eq_data`, whose rows have had 12 since MuJoCo 4.0. The last
    stays as it was compiled.
    """

    def reset_mocap_welds(self: Any) -> None:
        welds = self.model.eq_type == mujoco.mjtEq.mjEQ_WELD
        self.model.eq_data[welds, : len(WELD)] = WELD

    environment_class.reset_mocap_welds = reset_mocap_welds
