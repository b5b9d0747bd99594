"""Imports MuJoCo so that rendering works where there is no screen.

MuJoCo reads `MUJOCO_GL` once, when it is imported. Without a display its default (GLFW) cannot open
a context, so EGL is chosen where its library is installed; a value the user set is left alone.
"""

import ctypes.util
import os
import sys

if (
    sys.platform == "linux"
    and "MUJOCO_GL" not in os.environ
    and not os.environ.get("DISPLAY")
    and ctypes.util.find_library("EGL")
):
    os.environ["MUJOCO_GL"] = "egl"

import mujoco  # the variable must be set first

__all__ = ["mujoco"]
