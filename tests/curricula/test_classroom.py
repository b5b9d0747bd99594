"""The classroom's files: what goes in comes out, what does not belong is refused."""

import json

import pytest
import torch

from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.history import History, Record
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.student import grid_points
from quickstudy.curricula.teacher import Mixture

SPACE = {"name": "plane"}
OPTIONS = {"course": {"steps": 100}}
POINTS = grid_points(2, 2)


def fitted(episode, *weights):
    n = len(weights)
    mixture = Mixture(
        torch.tensor(weights, dtype=torch.float64),
        torch.linspace(0, 1, 2 * n, dtype=torch.float64).view(n, 2),
        0.01 * torch.eye(2, dtype=torch.float64).repeat(n, 1, 1),
    )
    return FittedMixture(episode, mixture)


def record(name="anna", tests=((0, 0, 0, 0), (1, 0, 0, 0)), fits=(), **student):
    tests = torch.tensor(tests, dtype=torch.float64)
    points = grid_points(2, 10).float()
    history = History(points, points[:, 0], list(fits), tests, 50 * torch.arange(len(tests)))
    return Record(
        name, {"kind": "Toy"} | student, {"kind": "ALPGMM", "random_share": 0.1}, 3, history
    )


@pytest.fixture(name="room")
def _room(tmp_path):
    return Classroom.create(tmp_path / "room", SPACE, POINTS, OPTIONS)


def assert_same(a, b):
    assert (a.name, a.student, a.teacher, a.seed) == (b.name, b.student, b.teacher, b.seed)
    for name in ("point_nd", "score_n", "test_EP", "test_episode_E"):
        mine, other = getattr(a.history, name), getattr(b.history, name)
        assert mine.dtype == other.dtype
        assert torch.equal(mine, other)
    assert [fit.episode for fit in a.history.fits] == [fit.episode for fit in b.history.fits]
    for mine, other in zip(a.history.fits, b.history.fits, strict=True):
        for name in ("weight_G", "mean_Gd", "covariance_Gdd"):
            assert torch.equal(getattr(mine.mixture, name), getattr(other.mixture, name))


@pytest.mark.parametrize("fits", [[], [fitted(25, 0.1, 0.5), fitted(50, 0.3)]])
def test_a_student_comes_back_as_it_was(room, fits):
    added = record(fits=fits, leg=0.5, body="biped", sizes=[4, 3])
    room.add(added)
    again = Classroom(room.folder)
    assert again.names == ["anna"]
    assert_same(again.student("anna"), added)
    assert_same(next(again.students()), added)
    assert again.configuration("anna") == {
        "kind": "Toy",
        "leg": 0.5,
        "body": "biped",
        "sizes": [4, 3],
    }
    assert torch.equal(again.tests("anna"), added.history.test_EP)
    assert [f.episode for f in again.fits("anna")] == [f.episode for f in fits]


def test_the_same_student_makes_the_same_bytes(room, tmp_path):
    room.add(record(fits=[fitted(25, 0.1, 0.5)]))
    other = Classroom.create(tmp_path / "other", SPACE, POINTS, {"another": 1})
    other.add(record(fits=[fitted(25, 0.1, 0.5)]))
    files = [r.folder / "anna.npz" for r in (room, other)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_truncated_file_is_refused(room):
    room.add(record(fits=[fitted(25, 0.1, 0.5)]))
    file = room.folder / "anna.npz"
    data = file.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"anna\.npz is damaged"):
            room.student("anna")


def test_a_changed_file_is_refused(room):
    """The zip's checksums tell."""
    room.add(record())
    file = room.folder / "anna.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"anna\.npz is damaged"):
        room.student("anna")


def test_another_format_is_refused(room, monkeypatch):
    monkeypatch.setattr("quickstudy.curricula.classrooms.history.FORMAT", 2)
    room.add(record())
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"anna\.npz has format 2; this version reads format 1"):
        room.student("anna")
    header = room.folder / "classroom.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"format": 7}))
    with pytest.raises(ValueError, match=r"classroom\.json has format 7; .* format 1"):
        Classroom(room.folder)


def test_a_damaged_header_is_refused(room):
    header = room.folder / "classroom.json"
    header.write_text(header.read_text()[:-20])
    with pytest.raises(ValueError, match=r"classroom\.json is damaged"):
        Classroom(room.folder)


def test_no_classroom(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no classroom"):
        Classroom(tmp_path)


def test_what_does_not_belong_is_refused(room, tmp_path):
    with pytest.raises(ValueError, match=r"is of another space: .*plane.*, not .*line"):
        Classroom.create(room.folder, {"name": "line"}, POINTS, OPTIONS)
    with pytest.raises(ValueError, match="has another test set: 4 points, not these 9"):
        Classroom.create(room.folder, SPACE, grid_points(2, 3), OPTIONS)
    with pytest.raises(ValueError, match="was made with other options"):
        Classroom.create(room.folder, SPACE, POINTS, {})
    with pytest.raises(ValueError, match=r"3 results were given for the 4 test points"):
        room.add(record(tests=((0, 0, 0),)))
    other = Classroom.create(tmp_path / "other", {"name": "line"}, POINTS, OPTIONS)
    other.add(record())
    (room.folder / "anna.npz").write_bytes((other.folder / "anna.npz").read_bytes())
    with pytest.raises(ValueError, match=r"anna\.npz belongs to another classroom"):
        room.tests("anna")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../a", "-x", "a b"])
def test_names_are_file_names(room, name):
    with pytest.raises(ValueError, match="name is of letters"):
        room.add(record(name))


def test_created_twice_is_opened(room):
    room.add(record())
    assert Classroom.create(room.folder, SPACE, POINTS, OPTIONS).names == ["anna"]


def test_a_crash_is_kept_until_the_student_finishes(room):
    room.add_crash("anna", {"kind": "Toy"}, "Traceback: it broke")
    assert room.crashes == {"anna": "Traceback: it broke"}
    assert room.names == []
    room.add(record())
    assert room.crashes == {}
    assert room.names == ["anna"]


def test_half_written_files_are_not_students(room, monkeypatch):
    def killed(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        room.add(record())
    assert room.names == []
    assert len(list(room.folder.iterdir())) == 2  # the header and the scratch file


def test_nearest_by_hand(room):
    """At epoch 1 the distances to (0, 0, 0, 0) are 1, 0.5 and √(0.6² + 0.6²) = 0.85."""
    first = (9, 9, 9, 9)
    room.add(record("anna", (first, (1, 0, 0, 0), (0, 0, 0, 0))))
    room.add(record("bob", (first, (0, 0.5, 0, 0), (0, 0, 0, 0))))
    room.add(record("carl", (first, (0, 0, 0.6, 0.6), (0, 0, 0, 0))))
    nothing = torch.zeros(4)
    assert room.nearest(nothing, 1, 2) == ["bob", "carl"]
    assert room.nearest(nothing, 1, 9) == ["bob", "carl", "anna"]
    assert room.nearest(nothing, 1, 1, among=["anna", "carl"]) == ["carl"]
    assert room.nearest(torch.tensor([1.0, 0, 0, 0]), 1, 1) == ["anna"]
    with pytest.raises(ValueError, match="has no test after epoch 3, only up to 2"):
        room.nearest(nothing, 3, 1)
    with pytest.raises(ValueError, match="5 results were given for the 4"):
        room.nearest(torch.zeros(5), 1, 1)


def test_alike_by_hand(room):
    for name, body, leg in [
        ("anna", "biped", 0.5),
        ("bob", "climber", 0.7),
        ("carl", "biped", 0.9),
    ]:
        room.add(record(name, body=body, leg=leg))
    like = {"kind": "Toy", "body": "biped", "leg": 0.8}
    assert room.alike(like, 5, room.names) == ["carl", "anna"]
    assert room.alike(like, 1, room.names) == ["carl"]
