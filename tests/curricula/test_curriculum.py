"""Where a teacher and the trials meet."""

import pytest
import torch

from quickstudy.curricula.curriculum import TRIALS_AHEAD, Curriculum, level_tasks, teaching_dim
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teacher import Teacher
from quickstudy.curricula.teachers import make_teacher
from quickstudy.envs.projection import ProjectedTasks
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.tasks import BoxTasks, ListedTasks, Parameter
from quickstudy.envs.trials import TrialEnv

BOX = BoxTasks(Parameter("speed", 0.0, 3.0, "m/s"), Parameter("width", 2.0, 2.0, "m"))
NEVER = torch.zeros(3, dtype=torch.bool)


class Counting(Teacher):
    """Proposes 1, 2, 3, … thousandths, practising the even ones; remembers what it is told."""

    def __init__(self, dim, seed=0):
        super().__init__(dim, seed)
        self.count = 0
        self.told = []

    def propose(self, n):
        number_n = torch.arange(self.count + 1, self.count + n + 1)
        self.count += n
        points = (number_n / 1000).to(torch.float64).unsqueeze(1).expand(n, self.dim)
        return Levels(points, number_n, number_n % 2 == 0)

    def observe(self, levels, score_n):
        self.told += list(zip(levels.seeds.tolist(), score_n.tolist(), strict=True))
        return {"told": float(len(self.told))}

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def numbers(curriculum, trial_N):
    """Which proposals these trials play: BOX's first parameter is 3 × its thousandths, up to the
    gaps of the test split, so levels are told apart by their seeds."""
    index = curriculum._index(torch.arange(len(trial_N)), trial_N)
    return curriculum._levels.seeds[index].tolist()


def test_the_first_proposals_are_every_worlds_next_trial():
    curriculum = Curriculum(Counting(2), BOX, 3)
    assert numbers(curriculum, torch.tensor([0, 0, 0])) == [1, 2, 3]
    assert numbers(curriculum, torch.tensor([1, 1, 1])) == [4, 5, 6]


def test_scores_go_to_the_levels_that_were_played_whatever_order_worlds_end_in():
    """World 2 ends twice, world 0 once, world 1 never; then all three once."""
    teacher = Counting(2)
    curriculum = Curriculum(teacher, BOX, 3)
    curriculum.observe(torch.tensor([2, 0, 2]), torch.tensor([0.5, 0.25, 0.75]))
    # The 24 first proposals are numbered row by row: 1 2 3 (trial 0), 4 5 6 (trial 1), …
    assert teacher.told == [(3, 0.5), (1, 0.25), (6, 0.75)]
    # World 0 is in trial 1 (4), world 1 in trial 0 (2), world 2 in trial 2 (9): these stay.
    assert numbers(curriculum, torch.tensor([1, 0, 2])) == [4, 2, 9]
    # What comes next is new.
    assert numbers(curriculum, torch.tensor([2, 1, 3])) == [25, 26, 27]
    curriculum.observe(torch.tensor([0, 1, 2]), torch.tensor([1.0, 2.0, 3.0]))
    assert teacher.told[3:] == [(4, 1.0), (2, 2.0), (9, 3.0)]


def test_a_score_that_is_not_finite_is_kept_from_the_teacher_and_counted():
    teacher = Counting(2)
    curriculum = Curriculum(teacher, BOX, 3)
    scores = torch.tensor([float("nan"), 2.0, float("inf")])
    figures = curriculum.observe(torch.tensor([0, 1, 2]), scores)
    assert teacher.told == [(2, 2.0)]
    assert figures == {"told": 1.0, "mean_score": 2.0, "lost_scores": 2.0}


def test_steps_are_for_practice_where_their_trials_level_is():
    """Odd levels are not: trials 0 of worlds 0 and 2 (1, 3), trial 1 of world 1 (5)."""
    curriculum = Curriculum(Counting(2), BOX, 3)
    ends_TN = torch.zeros(4, 3, dtype=torch.bool)
    ends_TN[1, 0] = ends_TN[2, 1] = True
    assert curriculum.practise(ends_TN).tolist() == [
        [False, True, False],
        [False, True, False],
        [True, True, False],
        [True, False, False],
    ]
    assert Curriculum(make_teacher("random", 2, 0), BOX, 3).practise(ends_TN) is None


def test_it_goes_on_where_it_was_saved():
    def make():
        return Curriculum(make_teacher("random", 2, seed=5), BOX, 3)

    curriculum, restored = make(), make()
    curriculum.observe(torch.tensor([2, 2, 0]), torch.zeros(3))
    state = curriculum.state_dict()
    curriculum.observe(torch.tensor([1]), torch.zeros(1))
    restored.load_state_dict(state)
    restored.observe(torch.tensor([1]), torch.zeros(1))
    trial_N = torch.tensor([5, 6, 7])
    expected = curriculum.source.tasks(trial_N, trial_N, NEVER)
    assert torch.equal(restored.source.tasks(trial_N, trial_N, NEVER), expected)


def test_a_world_that_runs_ahead_of_its_plan_plays_it_again():
    curriculum = Curriculum(Counting(2), BOX, 3)
    trial_N = torch.tensor([0, 1, 2])
    again = curriculum.source.tasks(trial_N, trial_N + TRIALS_AHEAD, NEVER)
    assert torch.equal(again, curriculum.source.tasks(trial_N, trial_N, NEVER))


def test_a_task_that_switches_switches_to_the_next_trials():
    curriculum = Curriculum(make_teacher("random", 2, 0), BOX, 3)
    trial_N = torch.tensor([0, 0, 0])
    switched = curriculum.source.tasks(trial_N, trial_N, ~NEVER)
    assert torch.equal(switched, curriculum.source.tasks(trial_N, trial_N + 1, NEVER))


def test_trials_play_what_the_teacher_proposed_and_come_back_with_their_scores():
    """Through a TrialEnv: tasks of finished trials are those of the levels that are scored."""
    space = family_class("PointGoal").task_space
    curriculum = Curriculum(make_teacher("random", 2, 0), space, 4)
    env = TrialEnv("PointGoal", 4, episode_length=3, task_source=curriculum.source)
    env.reset(0)
    for _ in range(3):
        for _ in range(6):
            env.step(torch.zeros(4, 2))
        trials = env.finished()
        assert len(trials.worlds) == 4
        played = level_tasks(space, "train", curriculum.levels(trials.worlds))
        assert torch.equal(played, trials.tasks)
        curriculum.observe(trials.worlds, trials.returns[:, -1])


@pytest.mark.parametrize("name", list(FAMILIES))
def test_any_familys_train_tasks_are_within_reach_and_no_others(name):
    """Corners of the cube included: what is held out stays so."""
    space = family_class(name).task_space
    dim = teaching_dim(space)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(300, dim, generator=generator, dtype=torch.float64)
    points[:2] = torch.tensor([[0.0], [1.0]])
    levels = Levels(points, torch.arange(300) * 14316557, torch.ones(300, dtype=torch.bool))
    tasks = level_tasks(space, "train", levels)
    assert space.contains("train", tasks).all()


def test_one_parameter_rises_with_its_coordinate_and_zero_width_is_no_matter():
    u = torch.linspace(0, 1, 500, dtype=torch.float64).unsqueeze(1).expand(500, 2)
    tasks = BOX.from_unit("train", u)
    assert (tasks[1:, 0] > tasks[:-1, 0]).all()
    assert (tasks[:, 1] == 2.0).all()


def test_a_seed_is_not_the_teachers_to_choose():
    space = ProjectedTasks(ListedTasks(Parameter("side", -1.0, 1.0, "1"), (-1.0, 1.0)))
    assert teaching_dim(space) == 1
    levels = Levels(torch.full((2, 1), 0.9), torch.tensor([0, 2**31]), NEVER[:2])
    tasks = level_tasks(space, "train", levels)
    assert tasks[:, 0].tolist() == [1.0, 1.0]
    assert tasks[0, 1] == 0.0
    assert tasks[1, 1] > 0.0
