"""Films of an agent adapting: the episodes of one trial, several tasks side by side."""

import io
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from quickstudy.envs.errors import unknown
from quickstudy.envs.play import Policy
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.envs.trials import FixedTasks, TrialEnv

Frame = NDArray[np.uint8]

GL_PACKAGE_HINT = (
    "no OpenGL library for off-screen rendering; on Debian or Ubuntu: apt-get install -y libegl1"
)
CAPTION_HEIGHT = 34
"""Pixels of the two lines above each world."""
FORMATS = (".mp4", ".gif")
MAX_FRAMES = 240
"""Longer trials are filmed with every second, third, … step left out."""


class RenderingUnavailableError(RuntimeError):
    """MuJoCo found no OpenGL to render with."""


def film(
    policy: Policy, setup: TrialSetup, task_ND: Tensor, seed: int = 0, name: str = ""
) -> tuple[list[Frame], float]:
    """Play one trial on each task and film it.

    Args:
        policy: whoever acts; an agent must be on the setup's device.
        setup: what is played.
        task_ND: the tasks, `(N, D)`, shown from left to right.
        seed: of physics noise.
        name: what to call the policy above each world; nothing if empty.

    Returns:
        RGB frames (even height and width, as video encoders want), and their number per second of
        the task's own time.

    Raises:
        RenderingUnavailableError: saying which package gives OpenGL.
    """
    env = setup.env(len(task_ND), FixedTasks(task_ND))
    stride = -(-env.trial_length // MAX_FRAMES)
    time_step = env.reset(seed)
    policy.begin(env)
    captions = _Captions(env, name)
    frames = []
    for step in range(env.trial_length):
        if step % stride == 0:
            frames.append(_picture(env, captions))
        time_step = env.step(policy.act(time_step))
        captions.count(time_step.reward, time_step.episode_start)
    env.close()
    return frames, env.family.render_fps / stride


def require_film(path: Path) -> None:
    """Raise `ValueError` if the path's ending is of no film that can be written."""
    if path.suffix not in FORMATS:
        raise unknown("film format", path.suffix, FORMATS)


def write_film(path: Path, frames: list[Frame], fps: float) -> None:
    """Encode an MP4, or a GIF if the path ends so."""
    if path.suffix == ".gif":
        path.write_bytes(gif_bytes(frames, fps))
    else:
        _write_mp4(path, frames, fps)


def _write_mp4(path: Path, frames: list[Frame], fps: float) -> None:
    """Encode H.264 through PyAV, whose wheel carries the encoder."""
    iio.imwrite(path, np.stack(frames), plugin="pyav", fps=round(fps), codec="libx264")


def gif_bytes(frames: list[Frame], fps: float) -> bytes:
    """Encode an endlessly repeating GIF."""
    buffer = io.BytesIO()
    iio.imwrite(buffer, np.stack(frames), extension=".gif", duration=1000.0 / fps, loop=0)
    return buffer.getvalue()


class _Captions:
    """Who acts, episode number and return so far of each world, and below that its task."""

    def __init__(self, env: TrialEnv, name: str) -> None:
        self._tasks = env.tasks.tolist()
        self._name = f"{name}:  " if name else ""
        self._parameters = env.family.task_space.parameters
        self._last_episode = env.episodes_per_trial
        self._episode = [1] * env.num_worlds
        self._return = [0.0] * env.num_worlds

    def count(self, reward_N: Tensor, episode_start_N: Tensor) -> None:
        for world, (reward, start) in enumerate(
            zip(reward_N.tolist(), episode_start_N.tolist(), strict=True)
        ):
            self._return[world] = 0.0 if start else self._return[world] + reward
            self._episode[world] += start

    def text(self, world: int) -> str:
        pairs = zip(self._parameters, self._tasks[world], strict=True)
        task = ", ".join(f"{p.name} {p.shown(value)}" for p, value in pairs)
        episode = min(self._episode[world], self._last_episode)
        earned = self._return[world]
        digits = 0 if abs(earned) >= 100.0 else 2
        return f"{self._name}episode {episode}   return {earned:.{digits}f}\n{task}"


def _picture(env: TrialEnv, captions: _Captions) -> Frame:
    panes = [_captioned(_render(env, w), captions.text(w)) for w in range(env.num_worlds)]
    wide = np.concatenate(panes, axis=1)
    return wide[: wide.shape[0] // 2 * 2, : wide.shape[1] // 2 * 2]


def _render(env: TrialEnv, world: int) -> Frame:
    try:
        return env.family.render(world)
    except Exception as error:
        # Which exception depends on the GL platform MuJoCo tried: FatalError, AttributeError, …
        raise RenderingUnavailableError(f"{GL_PACKAGE_HINT} ({error})") from error


def _captioned(frame: Frame, text: str) -> Frame:
    image = Image.new("RGB", (frame.shape[1], frame.shape[0] + CAPTION_HEIGHT), "white")
    image.paste(Image.fromarray(frame), (0, CAPTION_HEIGHT))
    ImageDraw.Draw(image).text((6, 4), text, fill="black")
    return np.asarray(image)
