"""What is kept of a past student, and the file that holds it.

A file is a zip of plain arrays (`.npz`, never pickle), complete in itself. The same record makes
the same bytes.

Shape legend: P test points, d dimensions, n episodes, E tests.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.curricula.mixtures.fitted import FittedMixture, packed, unpacked

FORMAT = 1
"""The version of the files; another is refused."""

_FITS = "fits."

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class History:
    """A student's whole training."""

    point_nd: Tensor
    """Where each episode was played, float32 (levels without their seeds)."""
    score_n: Tensor
    """Its score, float32."""
    fits: list[FittedMixture]
    """What a teacher with Gaussians fitted, in order; empty for another teacher."""
    test_EP: Tensor
    """Results on the test points before the first lesson and after each epoch, float64: the
    student's knowledge components at each epoch, and in the last row what it came to."""
    test_episode_E: Tensor
    """After how many episodes each was taken, int64."""

    def before(self, episode: int) -> "History":
        """The training up to an episode."""
        tested_E = self.test_episode_E <= episode
        return History(
            self.point_nd[:episode],
            self.score_n[:episode],
            [fit for fit in self.fits if fit.episode < episode],
            self.test_EP[tested_E],
            self.test_episode_E[tested_E],
        )


@dataclass(frozen=True)
class Record:
    """A past student."""

    name: str
    student: dict[str, Any]
    """Its configuration, which teachers do not see (but for an ablation)."""
    teacher: dict[str, Any]
    """Its teacher's configuration."""
    seed: int
    history: History


def to_bytes(record: Record, room: str) -> bytes:
    """The file of a record; `room` names the classroom that it belongs to."""
    words = {name: getattr(record, name) for name in ("name", "student", "teacher", "seed")}
    text = json.dumps({"format": FORMAT, "room": room} | words, allow_nan=False)
    history = record.history
    arrays = {
        "words": np.array(text),
        "point_nd": history.point_nd.numpy().astype(np.float32),
        "score_n": history.score_n.numpy().astype(np.float32),
        "test_EP": history.test_EP.numpy(),
        "test_episode_E": history.test_episode_E.numpy(),
    }
    fitted = packed(history.fits, history.point_nd.shape[1])
    arrays |= {_FITS + name: tensor.numpy() for name, tensor in fitted.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


@contextmanager
def opened(file: Path, room: str) -> Iterator[Arrays]:
    """The arrays of a file; only those that are looked at are read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is damaged (then also while arrays are read), of another format,
            or of another classroom than `room`.
    """
    try:
        arrays = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(file, error) from error
    with arrays:
        try:
            _check(file, words(arrays), room)
            yield arrays
        except (KeyError, EOFError, zipfile.BadZipFile, zlib.error, json.JSONDecodeError) as error:
            raise _damaged(file, error) from error


def words(arrays: Arrays) -> dict[str, Any]:
    """All that a file holds besides numbers."""
    content: dict[str, Any] = json.loads(str(arrays["words"]))
    return content


def fits(arrays: Arrays) -> list[FittedMixture]:
    """The fitted mixtures of a file."""
    names = [name for name in arrays if name.startswith(_FITS)]
    return unpacked({name.removeprefix(_FITS): torch.from_numpy(arrays[name]) for name in names})


def to_record(arrays: Arrays) -> Record:
    """All of a file."""
    content = words(arrays)
    names = ("point_nd", "score_n", "test_EP", "test_episode_E")
    tensors = {name: torch.from_numpy(arrays[name]) for name in names}
    return Record(
        content["name"],
        content["student"],
        content["teacher"],
        content["seed"],
        History(fits=fits(arrays), **tensors),
    )


def require_format(file: Path, found: object) -> None:
    """Raise `ValueError` unless a file is of this version's format."""
    if found != FORMAT:
        raise ValueError(f"{file} has format {found!r}; this version reads format {FORMAT}.")


def _check(file: Path, content: Mapping[str, Any], room: str) -> None:
    require_format(file, content["format"])
    if content["room"] != room:
        raise ValueError(
            f"{file} belongs to another classroom: its students learn in another space, or are "
            "tested on other points."
        )


def _damaged(file: Path, error: Exception) -> ValueError:
    return ValueError(f"{file} is damaged, or only a part of it is there ({error}).")
