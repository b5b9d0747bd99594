"""Stable-Baselines3's learners as students."""

import gc
import threading

import numpy as np
import pytest
import torch

from quickstudy.curricula.classrooms.school import Course, Lesson, teach
from quickstudy.curricula.curriculum import level_tasks
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.student import described, grid_points
from quickstudy.curricula.students import student_config
from quickstudy.curricula.students.sb3 import SB3Config
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig
from quickstudy.envs.registry import family_class

FAST = {"episode_length": 10, "rollout_steps": 32, "learning_starts": 30, "hidden_size": 8}
SPACE = family_class("PointGoal").task_space


def config(algorithm="ppo", **options):
    return SB3Config("PointGoal", algorithm, **{"low": -20.0, "high": 0.0} | FAST | options)


def levels(n, seed=0, practise=True):
    points = grid_points(2, 10)[seed : seed + n] if SPACE.dim == 2 else grid_points(SPACE.dim, n)
    return Levels(points[:n], torch.arange(n), torch.full((n,), practise))


def weights(student):
    return torch.cat([p.detach().flatten().clone() for p in student._model.policy.parameters()])


@pytest.fixture(autouse=True)
def _one_torch_thread():
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_it_plays_each_level_once_and_learns(algorithm):
    """7 levels of 10 steps: 70 steps, over two rollouts of 32."""
    student = config(algorithm).build(0)
    before = weights(student)
    played = []
    reset = student._desk._world.reset

    def watched(**arguments):
        played.append(arguments["options"]["task"])
        return reset(**arguments)

    student._desk._world.reset = watched
    scores = student.train(levels(7))
    assert scores.shape == (7,)
    assert scores.dtype == torch.float64
    assert ((scores >= 0) & (scores <= 1)).all()
    assert student.steps == 70
    np.testing.assert_array_equal(played, level_tasks(SPACE, "train", levels(7)).numpy())
    assert (weights(student) != before).any()
    student.train(levels(3, seed=50))
    assert student.steps == 100


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_same_seed_is_the_same_student(algorithm):
    runs = []
    for _ in range(2):
        student = config(algorithm).build(3)
        parts = [
            student.train(levels(4)),
            student.test(grid_points(2, 2)),
            student.train(levels(4)),
        ]
        runs.append(torch.cat(parts))
    assert torch.equal(*runs)


def test_tests_change_nothing_and_repeat():
    student = config().build(0)
    student.train(levels(4))
    before, steps = weights(student), student.steps
    points = grid_points(2, 9)  # 81: more than there are test worlds
    first = student.test(points)
    assert torch.equal(first, student.test(points))
    assert torch.equal(first[70:], student.test(points)[70:])
    assert first.std() > 0
    assert torch.equal(weights(student), before)
    assert student.steps == steps


def test_a_tested_return_by_a_slow_reference():
    """One task after the other in the single environment, with the most likely action."""
    student = config(low=-1e6, high=1e6).build(0)
    points = grid_points(2, 2)
    tested = student.test(points) * 2e6 - 1e6
    world = student._desk._world
    for seed, (point, result) in enumerate(zip(points, tested, strict=True)):
        one = Levels(point[None], torch.zeros(1).long(), torch.ones(1).bool())
        observation, _ = world.reset(
            seed=seed, options={"task": level_tasks(SPACE, "train", one)[0].numpy()}
        )
        total = 0.0
        for _ in range(10):
            action, _ = student._model.predict(observation, deterministic=True)
            observation, reward, terminated, _, _ = world.step(action)
            total += reward
            if terminated:
                break
        assert total == pytest.approx(float(result), abs=1e-5)


def test_evaluations_are_episodes_of_their_own():
    """The mean of two episodes per task: under seeds 0 … 63, then 64 … 127."""
    points = grid_points(2, 8)
    one, two = (config(evaluations=n, low=-1e3, high=1e3).build(0) for n in (1, 2))
    tasks = level_tasks(
        SPACE, "train", Levels(points, torch.zeros(64).long(), torch.ones(64).bool())
    )
    again = one._play_together(tasks, 64)
    expected = (one.test(points) + one._scores(again)) / 2
    assert torch.allclose(two.test(points), expected)


def test_scores_by_hand():
    """Between −20 and 0, a return of −5 is 0.75; what is outside is cut."""
    student = config().build(0)
    returns = torch.tensor([-5.0, -30.0, 4.0])
    assert student._scores(returns).tolist() == [0.75, 0.0, 1.0]


def test_what_is_not_practised_is_not_learnt():
    student = config(rollout_steps=2).build(0)
    before = weights(student)
    scores = student.train(levels(4, practise=False))
    assert torch.equal(scores, student.train(levels(4, practise=False)))
    assert torch.equal(weights(student), before)
    assert student.steps == 0
    mixed = levels(4)
    mixed.practise[1] = False
    student.train(mixed)
    assert student.steps == 30


def test_an_error_of_the_learner_reaches_the_teacher():
    student = config().build(0)
    student._desk.step = lambda action: 1 / 0
    with pytest.raises(ZeroDivisionError):
        student.train(levels(2))


def test_its_thread_ends_with_it():
    gc.collect()
    before = set(threading.enumerate())
    student = config().build(0)
    student.train(levels(2))
    (thread,) = set(threading.enumerate()) - before
    del student
    gc.collect()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_it_goes_to_school():
    course = Course(steps=200, epoch=100, block=5, tests_per_axis=2)
    record = teach(Lesson("s", config(), ALPGMMConfig(fit_rate=10), 0), course)
    assert record.history.score_n.shape == (20,)
    assert record.history.test_episode_E.tolist() == [0, 10, 20]
    assert len(record.history.fits) == 2
    assert record.student["kind"] == "SB3"


def test_options_as_text():
    given = student_config("sb3", {"family": "PointGoal", "algorithm": "sac", "family.leg": "0.5"})
    assert given.family_options == (("leg", "0.5"),)
    assert described(given)["family.leg"] == 0.5
    assert "family_options" not in described(given)
    with pytest.raises(ValueError, match=r"'toy-grid' learns no family: leg"):
        student_config("toy-grid", {"family.leg": "1"})


def test_bad_students_are_refused():
    with pytest.raises(ValueError, match="Unknown algorithm 'dqn'"):
        config("dqn").build(0)
    with pytest.raises(ValueError, match="low must be below high"):
        config(low=1.0, high=1.0).build(0)
    with pytest.raises(ValueError, match="Unknown family 'PointGaol'"):
        SB3Config("PointGaol").build(0)
