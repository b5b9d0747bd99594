"""Imports MuJoCo Warp, or says how to install it."""

from quickstudy.envs.errors import MissingExtraError

try:
    import mujoco_warp as mjw
    import warp as wp
    from mujoco_warp._src.types import ContactType  # in no public module, says MuJoCo's manual
except ImportError as error:
    raise MissingExtraError(
        "Physics on the GPU needs MuJoCo Warp: pip install 'quickstudy[gpu]'."
    ) from error

# Its greeting and a line per compiled kernel would mix with what commands print.
wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)

__all__ = ["ContactType", "mjw", "wp"]
