"""An agent as a student of the classrooms."""

from dataclasses import replace

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.student import described, grid_points
from quickstudy.experiments.agent_student import AgentStudentConfig

CONFIG = AgentStudentConfig(
    family="PointGoal", worlds=4, episode_length=5, episodes_per_trial=2, signal="gain"
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def levels(n, practise=True):
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    return Levels(points, torch.arange(n), torch.full((n,), practise))


def weights(student):
    return {name: p.clone() for name, p in student._agent.named_parameters()}


def moved(student, before):
    return any(not torch.equal(before[name], p) for name, p in weights(student).items())


def test_it_plays_each_level_once_in_batches_and_learns():
    """Six levels in four worlds: two batches of four trials of ten steps."""
    student = CONFIG.build(0)
    before = weights(student)
    scores = student.train(levels(6))
    assert scores.shape == (6,)
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert student.steps == 2 * 4 * 10
    assert moved(student, before)


def test_scores_belong_to_their_levels():
    """Levels far from the start pay less, whatever the order they are given in."""
    points = torch.tensor([[0.5, 0.5], [0.999, 0.999], [0.5, 0.5], [0.0, 0.0]], dtype=torch.float64)
    student = replace(CONFIG, signal="return").build(0)
    scores = student.train(Levels(points, torch.zeros(4, dtype=torch.int64), torch.ones(4) > 0))
    assert scores[0] > scores[1]
    assert scores[2] > scores[3]


def test_levels_that_are_only_to_be_scored_teach_nothing():
    student = CONFIG.build(0)
    before = weights(student)
    assert student.train(levels(4, practise=False)).isfinite().all()
    assert not moved(student, before)


def test_a_test_is_the_same_however_often_it_is_taken_and_teaches_nothing():
    student = CONFIG.build(0)
    student.train(levels(4))
    before = weights(student)
    points = grid_points(2, 3)
    first = student.test(points)
    assert first.shape == (9,)
    assert torch.equal(student.test(points), first)
    assert not moved(student, before)


def test_students_are_a_function_of_their_seed():
    def final(seed):
        student = CONFIG.build(seed)
        student.train(levels(8))
        return student.test(grid_points(2, 2))

    assert torch.equal(final(3), final(3))
    assert not torch.equal(final(3), final(4))


def test_early_ends_leave_one_score_per_level():
    """Ants that fall play their level again; the first trial counts."""
    config = AgentStudentConfig(family="AntDir", worlds=3, episode_length=60, episodes_per_trial=1)
    student = config.build(0)
    points = torch.tensor([[0.1], [0.9], [0.1]], dtype=torch.float64)
    scores = student.train(Levels(points, torch.zeros(3, dtype=torch.int64), torch.ones(3) > 0))
    assert scores.shape == (3,)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="signal regret: a test has only outcomes"):
        replace(CONFIG, signal="regret").build(0)
    with pytest.raises(ValueError, match="Did you mean 'rl2'"):
        replace(CONFIG, agent="rl3").build(0)


def test_who_it_is_and_what_it_learns_in_are_told_apart():
    assert described(CONFIG)["agent"] == "rl2"
    assert CONFIG.dim == 2
    assert CONFIG.space == replace(CONFIG, agent="s5").space
    assert CONFIG.space != replace(CONFIG, signal="return").space
    assert CONFIG.space != replace(CONFIG, episode_length=6).space
