"""A classroom: the histories of past students, as a folder of files that can be read anywhere.

`classroom.json` says what all students share: the format's version, the space, the test points, and
options. `<name>.npz` holds one student (`history.py`), `<name>.crash.json` one that
crashed. Every file is written whole or not at all, and none depends on the others: several
processes may add students, and whatever was cut off can go on.

Shape legend: P test points, d dimensions, E tests, S students.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.curricula.classrooms import history
from quickstudy.curricula.classrooms.history import FORMAT, Record, require_format
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.student import unlikeness
from quickstudy.envs.atomic_files import read_json, write_atomically, write_json

HEADER = "classroom.json"
CRASH = ".crash.json"

_NAME = re.compile(r"\w[\w.-]*")


class Classroom:
    """Past students of one space, all tested on the same points."""

    def __init__(self, folder: Path) -> None:
        """Open a classroom.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if its header is damaged or of another format.
        """
        if not (folder / HEADER).is_file():
            raise FileNotFoundError(f"{folder} is no classroom: it has no {HEADER}.")
        header = read_json(folder / HEADER)
        require_format(folder / HEADER, header.get("format"))
        self.folder = folder
        self.space: dict[str, Any] = header["space"]
        self.options: dict[str, Any] = header["options"]
        self.point_Pd = torch.tensor(header["test_points"], dtype=torch.float64)
        self.digest = _digest(header)

    @classmethod
    def create(
        cls, folder: Path, space: Mapping[str, Any], point_Pd: Tensor, options: Mapping[str, Any]
    ) -> "Classroom":
        """A new classroom, or the one that is there, if it was created just so.

        Args:
            folder: made if it is missing.
            space: what points and scores mean, as plain JSON types.
            point_Pd: the test points, float64 in the unit cube.
            options: how its students are taught, as plain JSON types.

        Raises:
            ValueError: if there is one of another space, test set or options; it says which.
        """
        if not (folder / HEADER).exists():
            folder.mkdir(parents=True, exist_ok=True)
            header = {"format": FORMAT, "space": space, "options": options}
            write_json(folder / HEADER, header | {"test_points": point_Pd.tolist()})
        room = cls(folder)
        room.require(space, point_Pd)
        if room.options != options:
            raise ValueError(f"{folder} was made with other options: {room.options}, not {options}")
        return room

    def require(self, space: Mapping[str, Any], point_Pd: Tensor) -> None:
        """Raise `ValueError`, saying which, unless the classroom has this space and test set."""
        if self.space != space:
            raise ValueError(f"{self.folder} is of another space: {self.space}, not {space}.")
        if not torch.equal(self.point_Pd, point_Pd):
            raise ValueError(
                f"{self.folder} has another test set: {len(self.point_Pd)} points, not these "
                f"{len(point_Pd)}."
            )

    def add(self, record: Record) -> None:
        """Keep a student; a crash of the same name is forgotten.

        Raises:
            ValueError: for a name that is no file's, or another number of test points.
        """
        require_name(record.name)
        self._require_points(record.history.test_EP.shape[1])
        write_atomically(self._file(record.name), history.to_bytes(record, self.digest))
        self._crash_file(record.name).unlink(missing_ok=True)

    def add_crash(self, name: str, student: Mapping[str, Any], error: str) -> None:
        """Keep what became of a student that crashed, with the text of its error."""
        require_name(name)
        write_json(self._crash_file(name), {"student": student, "error": error})

    @property
    def names(self) -> list[str]:
        """The students, sorted."""
        return sorted(file.stem for file in self.folder.glob("[!.]*.npz"))

    @property
    def crashes(self) -> dict[str, str]:
        """The errors of the students that crashed."""
        files = sorted(self.folder.glob(f"[!.]*{CRASH}"))
        return {file.name.removesuffix(CRASH): read_json(file)["error"] for file in files}

    def student(self, name: str) -> Record:
        """A student's whole record.

        Raises:
            FileNotFoundError: if there is no such student.
            ValueError: for a file that is damaged, of another format, or of another classroom. So
                do all other readers.
        """
        with history.opened(self._file(name), self.digest) as arrays:
            return history.to_record(arrays)

    def students(self) -> Iterator[Record]:
        """All of them, one by one."""
        return (self.student(name) for name in self.names)

    def about(self, name: str) -> dict[str, Any]:
        """A student's and its teacher's configuration and seed (the rest is not read)."""
        with history.opened(self._file(name), self.digest) as arrays:
            return history.words(arrays)

    def configuration(self, name: str) -> dict[str, Any]:
        """A student's hidden configuration (the rest is not read)."""
        configuration: dict[str, Any] = self.about(name)["student"]
        return configuration

    def fits(self, name: str) -> list[FittedMixture]:
        """What a student's teacher fitted (the rest is not read)."""
        with history.opened(self._file(name), self.digest) as arrays:
            return history.fits(arrays)

    def tests(self, name: str) -> Tensor:
        """A student's results on the test points, `(E, P)` (the rest is not read)."""
        with history.opened(self._file(name), self.digest) as arrays:
            return torch.from_numpy(arrays["test_EP"])

    def nearest(
        self, test_P: Tensor, epoch: int, k: int, among: list[str] | None = None
    ) -> list[str]:
        """The k students whose knowledge after as many epochs was most like this, nearest first.

        Args:
            test_P: results on the test points.
            epoch: after how many epochs; 0 is before the first lesson.
            k: how many; there may be fewer.
            among: the students to choose from; all if None.

        Raises:
            ValueError: for another number of test points, or a student without that epoch.
        """
        self._require_points(len(test_P))
        names = self.names if among is None else among
        known_SP = torch.stack([self._knowledge(name, epoch) for name in names])
        distance_S = torch.linalg.vector_norm(known_SP - test_P, dim=1)
        return [names[i] for i in torch.argsort(distance_S, stable=True)[:k].tolist()]

    def alike(self, student: Mapping[str, Any], k: int, among: list[str]) -> list[str]:
        """The k students `among` these whose hidden configurations are most like this one."""
        distance = {name: unlikeness(student, self.configuration(name)) for name in among}
        possible = [name for name in among if distance[name] < float("inf")]
        return sorted(possible, key=distance.__getitem__)[:k]

    def _knowledge(self, name: str, epoch: int) -> Tensor:
        test_EP = self.tests(name)
        if epoch >= len(test_EP):
            raise ValueError(
                f"{self._file(name)} has no test after epoch {epoch}, only up to {len(test_EP) - 1}"
            )
        return test_EP[epoch]

    def _require_points(self, count: int) -> None:
        if count != len(self.point_Pd):
            raise ValueError(
                f"{count} results were given for the {len(self.point_Pd)} test points of "
                f"{self.folder}."
            )

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _crash_file(self, name: str) -> Path:
        return self.folder / f"{name}{CRASH}"


def require_name(name: str) -> None:
    """Raise `ValueError` unless a student can be called so."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"A student's name is of letters, digits, '_', '.' and '-', not {name!r}.")


def _digest(header: Mapping[str, Any]) -> str:
    """SHA-256 of what students must share to be compared: space and test points."""
    text = json.dumps([header["space"], header["test_points"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
