"""Imports MuJoCo so that rendering works where there is no screen, and beside torch's compiler.

MuJoCo reads `MUJOCO_GL` once, when it is imported. Without a display its default (GLFW) cannot open
a context, so EGL is chosen where its library is installed; a value the user set is left alone.
"""

import contextlib
import ctypes.util
import importlib
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

__all__ = ["make_renderer", "mujoco"]


def make_renderer(model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer:
    """A renderer of pictures of `height` × `width` pixels.

    Mesa's OpenGL and Triton each bring an LLVM of their own, and a process that loads Triton after
    Mesa crashes. Torch loads it unasked whenever something is compiled; so it goes first.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")
    return mujoco.Renderer(model, height, width)
