"""Training under a teacher: what it leaves behind, and that going on changes nothing."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from quickstudy.curricula.teacher import Mixture
from quickstudy.envs.registry import family_class
from quickstudy.envs.tasks import BoxTasks, ListedTasks, Parameter
from quickstudy.experiments import curriculum_maps
from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.curriculum_log import Gaussians, Lesson, append_lesson, read_lessons
from quickstudy.experiments.curriculum_maps import curriculum_pictures
from quickstudy.experiments.run_folder import MetricsLog, RunFolder
from quickstudy.experiments.train import resume, train
from quickstudy.experiments.training import Training

SMALL = TrainConfig(
    family="SparsePointGoal",
    frames=4800,
    worlds=8,
    checkpoint_interval=3,
    eval_interval=4,
    eval_tasks=4,
    video=False,
    teacher="random",
    signal="gain",
)
"""6 updates of 800 frames."""
SILENT = Console(quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(SMALL, tmp_path_factory.mktemp("run") / "whole", SILENT)


def test_a_run_under_a_teacher_keeps_its_lessons_and_draws_them(finished):
    lessons = read_lessons(RunFolder(finished).curriculum)
    assert [lesson.frames for lesson in lessons] == [800 * n for n in range(1, 7)]
    space = family_class("SparsePointGoal").task_space
    for lesson in lessons:
        assert lesson.task_nD.shape == (8, 1)
        assert space.contains("train", torch.from_numpy(lesson.task_nD)).all()
        assert np.isfinite(lesson.score_n).all()
    rows = RunFolder(finished).metrics.rows()
    gains = [row["adapt/gain"] for row in rows]
    assert [row["curriculum/mean_score"] for row in rows] == pytest.approx(gains)
    picture = Image.open(io.BytesIO((finished / "curriculum.gif").read_bytes()))
    assert picture.n_frames == 3


def test_a_run_cut_in_two_goes_on_bit_for_bit(finished, tmp_path):
    """Stopped after update 3, checkpointed there, and resumed from disk."""
    run = tmp_path / "cut"
    config = resolve(SMALL)
    training = Training(config)
    with RunFolder.create(run, config.to_dict(), ["test"]) as folder:
        for _ in range(3):
            training.update()
        Checkpoints(folder.checkpoints).save(training.state_dict(), 3, best=False)
    resume(run, SILENT)
    states = [Checkpoints(path / "checkpoints").load_latest()[0] for path in (finished, run)]
    for name, value in states[0]["agent"].items():
        assert torch.equal(value, states[1]["agent"][name]), name
    for name in ("points", "seeds", "ended"):
        assert torch.equal(*(state["curriculum"][name] for state in states)), name


def test_the_teacher_sees_the_signal_that_was_asked_for():
    training = Training(resolve(SMALL))
    progress = training.update()
    returns = progress.trials.returns
    assert torch.equal(progress.scores, returns[:, -1] - returns[:, 0])


@pytest.mark.parametrize(
    ("teacher", "signal", "told"),
    [
        ("none", "auto", "return"),
        ("alp-gmm", "auto", "return"),
        ("plr", "auto", "regret"),
        ("plr", "gain", "gain"),
    ],
)
def test_a_teacher_is_told_what_it_is_made_for_unless_something_else_is_asked_for(
    teacher, signal, told
):
    assert resolve(replace(SMALL, teacher=teacher, signal=signal)).signal == told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "randm"}, "Unknown teacher 'randm'. Did you mean 'random'"),
        ({"teacher_options": {"share": "1"}}, "Unknown option 'share'"),
        ({"teacher": "none", "teacher_options": {"a": "1"}}, "teacher_options are given, but no"),
        ({"signal": "success"}, "signal success: SparsePointGoal has no notion"),
        ({"teacher": "learnability", "signal": "auto"}, "teacher learnability with signal success"),
        ({"signal": "gian"}, "Unknown signal 'gian'. Did you mean 'gain'"),
    ],
)
def test_a_mistake_is_named_before_anything_is_built(changes, message):
    with pytest.raises(ValueError, match=message):
        resolve(replace(SMALL, **changes))


def lesson(frames, tasks, scores, gaussians=None):
    return Lesson(frames, np.array(tasks, float), np.array(scores, float), gaussians)


def test_what_was_logged_comes_back(tmp_path):
    log = MetricsLog(tmp_path / "curriculum.jsonl")
    weight, mean = torch.tensor([1.0, 0.5]), torch.rand(2, 1)
    mixture = Mixture(weight, mean, torch.full((2, 1, 1), 0.1))
    scores = torch.tensor([float("nan"), 2.0])
    append_lesson(log, 1, 10, torch.tensor([[1.0], [2.0]]), scores, mixture)
    append_lesson(log, 2, 20, torch.zeros(0, 1), torch.zeros(0), None)  # no trial ended
    (read,) = read_lessons(log)
    assert read.frames == 10
    assert read.task_nD.tolist() == [[1.0], [2.0]]
    np.testing.assert_array_equal(read.score_n, [np.nan, 2.0])
    np.testing.assert_allclose(read.gaussians.mean_Gd, mean.numpy())


def test_the_maps_of_one_part_worked_by_hand():
    """Four trials in two of 40 cells: scores 1, 2 | 3, 6; one is unknown."""
    space = BoxTasks(Parameter("speed", 0.0, 4.0, "m/s"))
    one = lesson(5, [[0.05], [2.05], [0.05], [2.05], [2.05]], [1, 2, 3, 6, np.nan])
    maps = curriculum_maps._Maps([one], curriculum_maps._Axes(space))
    assert maps.density[0] == pytest.approx(2 / 5)
    assert maps.density[20] == pytest.approx(3 / 5)
    assert maps.score[[0, 20]].tolist() == [2.0, 4.0]  # (1 + 3) / 2, (2 + 6) / 2
    # The first half is the first two: changes 3 − 1 and 6 − 2.
    assert maps.progress[[0, 20]].tolist() == [2.0, 4.0]
    assert np.isnan(maps.score[1])


SPACES = {
    "one": BoxTasks(Parameter("a", 0.0, 1.0, "m")),
    "two": BoxTasks(Parameter("a", 0.0, 1.0, "m"), Parameter("b", -1.0, 1.0, "rad")),
    "zero width": BoxTasks(Parameter("a", 0.0, 1.0, "m"), Parameter("b", 2.0, 2.0, "rad")),
    "three": BoxTasks(*(Parameter(name, 0.0, 1.0, "m") for name in "abc")),
    "two values": ListedTasks(Parameter("side", -1.0, 1.0, "1"), (-1.0, 1.0)),
}


@pytest.mark.parametrize("name", list(SPACES))
def test_any_space_can_be_drawn(name):
    space = SPACES[name]
    d = space.dim
    gaussians = Gaussians(np.ones(1), np.full((1, d), 0.5), 0.01 * np.eye(d)[None])
    task = torch.from_numpy(np.random.default_rng(0).random((12, d)))
    tasks = space.from_unit("train", task).numpy()
    lessons = [lesson(n, tasks, np.arange(12.0), gaussians) for n in range(4)]
    pictures = curriculum_pictures(lessons, space, "A title")
    assert len(pictures) == 2
    assert pictures[0].shape == pictures[1].shape
    assert pictures[0].std() > 10


def test_without_any_trial_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="no trial has ended"):
        curriculum_pictures([], SPACES["one"], "")
