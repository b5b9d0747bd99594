"""AGAIN: the phases, the ablations, and resuming bit for bit."""

from pathlib import Path

import pytest
import torch

from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.history import History, Record
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.student import grid_points
from quickstudy.curricula.students.toy_grid import ToyGridConfig
from quickstudy.curricula.teacher import Mixture
from quickstudy.curricula.teachers.again import AGAINConfig, Phase
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig

POINTS = grid_points(2, 20)


def gaussians(*weight_and_mean, width=0.02):
    n = len(weight_and_mean)
    return Mixture(
        torch.tensor([w for w, _ in weight_and_mean], dtype=torch.float64),
        torch.tensor([m for _, m in weight_and_mean], dtype=torch.float64),
        width**2 * torch.eye(2, dtype=torch.float64).repeat(n, 1, 1),
    )


LOW = (0.2, 0.2)


def past(name, rotation, corner, score, known):
    """A student that once learnt in a corner; `known` is its competence there after each epoch."""
    near = (POINTS - torch.tensor(corner)).abs().amax(dim=1) < 0.19
    tests = torch.stack([known_here * near.double() for known_here in (0.0, *known)])
    points = torch.tensor(corner).repeat(400, 1)
    fits = [
        FittedMixture(e, gaussians((0.3 + e / 1000, corner), (0.1, LOW))) for e in (100, 200, 300)
    ]
    taught = History(points, torch.full((400,), score), fits, tests, torch.arange(len(tests)))
    configuration = {"kind": "ToyGrid", "rotation": rotation}
    return Record(name, configuration, {"random_share": 0.1}, 0, taught)


CORNER = {"0": (0.025, 0.025), "180": (0.975, 0.975)}


@pytest.fixture(name="room", scope="module")
def _room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again") / "room"
    room = Classroom.create(folder, {"name": "toy-grid", "side": 20}, POINTS, {})
    room.add(past("low-weak", "0", CORNER["0"], 0.6, (0.101, 0.3)))
    room.add(past("low-strong", "0", CORNER["0"], 0.6, (0.1, 0.6)))
    room.add(past("high", "180", CORNER["180"], 0.6, (0.1, 0.9)))
    lazy = past("lazy", "180", CORNER["180"], 0.6, (0.2, 1.0))
    lazy.history.fits.clear()
    room.add(lazy)
    return str(folder)


def drive(teacher, student, episodes, block=25, epoch=500):
    """The school's loop; returns the levels."""
    played, count = [torch.zeros(0, 2)], 0
    teacher.examine(student.test(POINTS), {"kind": "ToyGrid", "rotation": "0"}, student.steps)
    while count < episodes:
        levels = teacher.propose(block)
        played.append(levels.points)
        teacher.observe(levels, student.train(levels))
        count += block
        if count % epoch == 0:
            teacher.examine(
                student.test(POINTS), {"kind": "ToyGrid", "rotation": "0"}, student.steps
            )
    return torch.cat(played)


def near(points, corner):
    """The share of points within 0.1 of it."""
    return float(((points - torch.tensor(corner)).abs().amax(dim=1) < 0.1).double().mean())


def test_the_pretest_is_alp_gmm(room):
    """Until the test after the pre-test, level for level."""
    again = AGAINConfig(room, pretest=400).build(2, 7)
    alone = ALPGMMConfig(random_share=0.1).build(2, 7)
    first, second = (ToyGridConfig().build(0) for _ in range(2))
    again.examine(first.test(POINTS), {}, first.steps)
    for _ in range(0, 490, 10):
        assert again.phase is Phase.PRETEST
        levels, others = again.propose(10), alone.propose(10)
        assert torch.equal(levels.points, others.points)
        again.observe(levels, first.train(levels))
        alone.observe(others, second.train(others))
    again.examine(first.test(POINTS), {}, first.steps)
    assert again.phase is Phase.TEACH


def test_the_pretest_ends_by_the_students_steps_not_by_its_episodes(room):
    """An episode of a walker is hundreds of steps: tests before 100 000 steps choose nobody."""
    again = AGAINConfig(room, pretest=100_000, neighbours=1).build(2, 0)
    phases = []
    for steps in (0, 50_000, 100_000):
        again.examine(torch.zeros(400), {}, steps)
        phases.append(again.phase)
    assert phases == [Phase.PRETEST, Phase.PRETEST, Phase.TEACH]


@pytest.mark.parametrize(
    ("neighbours", "chosen", "corner"),
    [(1, "low-weak", "0"), (2, "low-strong", "0"), (3, "high", "180")],
)
def test_it_follows_the_best_of_those_that_knew_the_same(room, neighbours, chosen, corner):
    """To what low-weak knew after one epoch, low-strong was nearer than high, which ended best."""
    again = AGAINConfig(room, pretest=500, neighbours=neighbours).build(2, 0)
    student = ToyGridConfig(corner).build(0)
    drive(again, student, 475)
    again.observe(again.propose(25), torch.zeros(25, dtype=torch.float64))
    again.examine(Classroom(Path(room)).tests("low-weak")[1], {}, 500)
    assert again.chosen == chosen
    assert near(again.propose(500).points, CORNER[corner]) > 0.3


def test_neighbours_are_compared_at_the_same_epoch(room):
    """Knowing 0.6 around the corner is what low-strong knew after two epochs, none after one."""
    for epochs, chosen in [(1, "low-weak"), (2, "low-strong")]:
        again = AGAINConfig(room, pretest=1, neighbours=1).build(2, 0)
        for _ in range(epochs):
            again.examine(torch.zeros(400), {}, 0)
        levels = again.propose(1)
        again.observe(levels, torch.zeros(1, dtype=torch.float64))
        again.examine(Classroom(Path(room)).tests("low-strong")[2], {}, 1)
        assert again.chosen == chosen


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ("best", {"high"}),
        ("ground-truth", {"low-strong"}),
        ("random", {"high", "low-weak", "low-strong"}),
    ],
)
def test_ablations_of_the_selection(room, selection, chosen):
    """Without a pre-test they choose before the first lesson; `lazy` has nothing to follow."""
    found = set()
    for seed in range(12 if selection == "random" else 1):
        again = AGAINConfig(room, pretest=0, selection=selection).build(2, seed)
        again.examine(torch.zeros(400), {"kind": "ToyGrid", "rotation": "0"}, 0)
        assert again.phase is Phase.TEACH
        found.add(again.chosen)
    assert found == chosen


def test_a_smaller_classroom(room):
    found = set()
    for seed in range(12):
        again = AGAINConfig(room, pretest=0, selection="best", classroom_size=1).build(2, seed)
        again.examine(torch.zeros(400), {}, 0)
        found.add(again.chosen)
    assert found == {"high", "low-weak", "low-strong"}


@pytest.mark.parametrize(("youth", "niches"), [(0, 3), (301, 3), (300, 2), (200, 1)])
def test_only_a_past_students_youth(room, youth, niches):
    """Fitted after 100, 200 and 300 episodes, one niche each; all of them pooled."""
    config = AGAINConfig(room, "P", pretest=0, selection="best", mixed=False, youth=youth)
    again = config.build(2, 0)
    again.examine(torch.zeros(400), {}, 0)
    assert len(again.mixture().weight_G) == niches


@pytest.mark.parametrize("mixed", [True, False])
def test_mixed_or_not(room, mixed):
    config = AGAINConfig(room, pretest=0, selection="best", mixed=mixed, random_share=0.0)
    again = config.build(2, 0)
    played = drive(again, ToyGridConfig().build(0), 600)
    # The student learns nothing there; without ALP-GMM, all is from the past student's corner.
    assert near(played[300:], CORNER["180"]) == 1.0 or mixed
    assert len(again.mixture().weight_G) > 1 or not mixed


def test_uniform_levels_after_the_pretest(room):
    config = AGAINConfig(room, pretest=0, selection="best", mixed=False, random_share=0.5)
    again = config.build(2, 0)
    again.examine(torch.zeros(400), {}, 0)
    points = again.propose(2000).points
    assert abs(near(points, CORNER["180"]) - 0.5 - 0.5 * 0.125**2) < 0.05


def test_r_counts_the_guides_own_episodes_alone(room):
    """Levels from elsewhere, and from a mixture already left, do not move it."""
    config = AGAINConfig(room, pretest=0, selection="best", mixed=False, random_share=0.0)
    again = config.build(2, 0)
    again.examine(torch.zeros(400), {}, 0)
    foreign = Levels(torch.full((50, 2), 0.975).double(), torch.arange(50), torch.ones(50).bool())
    assert again.observe(foreign, torch.ones(50, dtype=torch.float64))["step"] == 0
    levels = again.propose(40)
    assert again.observe(levels, torch.ones(40, dtype=torch.float64))["step"] == 1
    assert again.observe(levels, torch.ones(40, dtype=torch.float64))["step"] == 1
    levels = again.propose(10)
    assert again.observe(levels, torch.full((10,), 0.59).double())["step"] == 1
    levels = again.propose(10)
    assert again.observe(levels, torch.full((10,), 0.61).double())["step"] == 2


@pytest.mark.parametrize("variant", ["R", "T"])
def test_all_phases_in_order(room, variant):
    again = AGAINConfig(room, variant, pretest=300, selection="ground-truth").build(2, 0)
    student = ToyGridConfig().build(0)
    phases = [again.phase]
    again.examine(student.test(POINTS), {"kind": "ToyGrid", "rotation": "0"}, student.steps)
    for episode in range(25, 3000, 25):
        levels = again.propose(25)
        again.observe(levels, student.train(levels))
        phases.append(again.phase)
        if episode % 500 == 0:
            again.examine(student.test(POINTS), {"kind": "ToyGrid", "rotation": "0"}, student.steps)
            phases.append(again.phase)
    in_order = list(dict.fromkeys(phases))
    # T counts episodes from the first: after 500, its last mixture of three is due at once.
    expected = [p for p in Phase if not (variant == "T" and p is Phase.TEACH)]
    assert in_order == expected
    weight = again.mixture().weight_G[0]
    assert weight != pytest.approx(0.6), "the last niche was measured anew"


@pytest.mark.parametrize("episodes", [0, 200, 450, 1200])
@pytest.mark.parametrize("variant", ["R", "P"])
def test_resuming_is_bit_exact(room, variant, episodes):
    config = AGAINConfig(room, variant, pretest=300, neighbours=2)
    teachers, students = [config.build(2, 3)], [ToyGridConfig().build(0) for _ in range(2)]
    drive(teachers[0], students[0], episodes)
    drive(config.build(2, 3), students[1], episodes)
    resumed = config.build(2, 3)
    resumed.load_state_dict(teachers[0].state_dict())
    rest = [drive(t, s, 800) for t, s in zip([teachers[0], resumed], students, strict=True)]
    assert torch.equal(*rest)
    assert teachers[0].phase is resumed.phase


def test_resuming_amid_a_block(room):
    """What was proposed before the state was taken is still known to be the guide's."""
    config = AGAINConfig(room, pretest=0, selection="best", mixed=False, random_share=0.0)
    teachers = [config.build(2, 0) for _ in range(2)]
    teachers[0].examine(torch.zeros(400), {}, 0)
    levels = teachers[0].propose(10)
    teachers[1].load_state_dict(teachers[0].state_dict())
    steps = [t.observe(levels, torch.ones(10, dtype=torch.float64))["step"] for t in teachers]
    assert steps == [1, 1]


def test_dropped_proposals_are_forgotten(room, monkeypatch):
    monkeypatch.setattr("quickstudy.curricula.teachers.again._PENDING", 100)
    again = AGAINConfig(room, pretest=0, selection="best").build(2, 0)
    again.examine(torch.zeros(400), {}, 0)
    seeds = torch.cat([again.propose(10).seeds for _ in range(50)])
    kept = [origin[0] for origin in again.state_dict()["origins"]]
    assert len(kept) == 100
    assert set(kept) <= set(seeds[-110:].tolist())  # a few are uniform, and so nobody's


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "Q"}, "Unknown variant 'Q'"),
        ({"selection": "kcs"}, "Unknown selection 'kcs'.*'kc'"),
        ({"neighbours": 0}, "neighbours must be an integer of at least 1"),
        ({"pretest": 0}, "Without a pre-test nothing is known"),
        ({"pretest": -1}, "pretest must be above -1"),
        ({"random_share": 2.0}, "random_share must be a number from 0 to 1"),
        ({"tolerance": 0.0}, "tolerance must be above 0"),
    ],
)
def test_bad_constants_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AGAINConfig("", **options).build(2, 0)


def test_a_classroom_without_niches_is_refused(tmp_path):
    room = Classroom.create(tmp_path, {}, POINTS, {})
    lazy = past("lazy", "0", CORNER["0"], 0.6, (0.2, 1.0))
    lazy.history.fits.clear()
    room.add(lazy)
    again = AGAINConfig(str(tmp_path), pretest=0, selection="best").build(2, 0)
    with pytest.raises(ValueError, match="has 0 students with niches to follow"):
        again.examine(torch.zeros(400), {}, 0)


def test_a_youth_without_niches_is_refused(room):
    again = AGAINConfig(room, pretest=0, selection="best", youth=100).build(2, 0)
    with pytest.raises(ValueError, match="has 0 students with niches to follow"):
        again.examine(torch.zeros(400), {}, 0)


def test_a_classroom_too_small_is_refused(room):
    again = AGAINConfig(room, pretest=0, selection="best", classroom_size=9).build(2, 0)
    with pytest.raises(ValueError, match="has 3 students with niches to follow, 9 are asked for"):
        again.examine(torch.zeros(400), {}, 0)
