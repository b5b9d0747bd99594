"""Learnability sampling: levels solved now and then are kept, others are not."""

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers.learnability import LearnabilityConfig
from quickstudy.envs import rng


def kept(teacher) -> dict[float, tuple[float, float]]:
    """Success and number of tries by point, of the levels that are kept."""
    state = teacher.state_dict()
    rows = state["buffer"]["used"][: teacher._config.kept].nonzero()[:, 0]
    columns = (state["buffer"]["points"][rows, 0], state["success"][rows], state["tries"][rows])
    point, success, tries = (column.tolist() for column in columns)
    return dict(zip(point, zip(success, tries, strict=True), strict=True))


def play(teacher, levels: Levels, *score: float) -> dict[str, float]:
    return teacher.observe(levels, torch.tensor(score, dtype=torch.float64))


def test_what_is_tried_often_enough_is_judged_by_hand():
    config = LearnabilityConfig(kept=2, candidates=4, tries=2)
    teacher = config.build(1, seed=0)
    first = teacher.propose(4)
    a, b, c, d = first.points[:, 0].tolist()
    play(teacher, first, 1, 0, 1, 0.5)
    assert kept(teacher) == {}
    # p: a (1 + 0) / 2, b (0 + 0) / 2, c (1 + 0.5) / 2; d was tried once. b teaches nothing.
    figures = play(teacher, first.rows(torch.tensor([0, 1, 2])), 0, 0, 0.5)
    assert kept(teacher) == {a: (0.5, 2.0), c: (0.75, 2.0)}
    # 1/2 · 1/2 = 1/4 and 3/4 · 1/4 = 3/16, a mean of 7/32.
    assert figures == {"kept_levels": 2.0, "learnability": 7 / 32}
    # d: p = (0.5 + 0.7) / 2 = 0.6, 0.24 > 3/16: it takes the place of c.
    play(teacher, first.rows(torch.tensor([3])), 0.7)
    assert set(kept(teacher)) == {a, d}
    assert b not in kept(teacher)


def test_a_level_no_better_than_those_kept_is_dropped():
    teacher = LearnabilityConfig(kept=1, candidates=3, tries=1).build(1, seed=0)
    three = teacher.propose(3)
    never, good, alike = (three.rows(torch.tensor([k])) for k in range(3))
    play(teacher, never, 0)  # p(1 − p) is 0, as a free place's
    assert kept(teacher) == {}
    play(teacher, good, 0.25)
    play(teacher, alike, 0.75)
    assert list(kept(teacher)) == [good.points[0, 0]]
    fresh = {x for x in teacher.propose(200).points[:, 0].tolist() if x not in kept(teacher)}
    assert len(fresh) == 3
    assert not fresh & set(three.points[:, 0].tolist())


def test_a_kept_levels_estimate_follows_the_student():
    # 3 of 4 so far; then memory counts as 4: (4 · 0.75 + 1) / 5 = 0.8, (4 · 0.8 + 0) / 5 = 0.64.
    config = LearnabilityConfig(kept=1, candidates=1, tries=4, memory=4)
    teacher = config.build(1, seed=0)
    level = teacher.propose(1)
    play(teacher, level.rows(torch.zeros(4, dtype=torch.int64)), 1, 1, 0, 1)
    x = float(level.points[0, 0])
    assert kept(teacher) == {x: (0.75, 4.0)}
    play(teacher, level, 1)
    assert kept(teacher)[x][0] == pytest.approx(0.8)
    play(teacher, level, 0)
    assert kept(teacher)[x][0] == pytest.approx(0.64)


def test_the_random_share_are_candidates_and_the_rest_kept_ones():
    teacher = LearnabilityConfig(kept=2, candidates=8, tries=1, random=0.25).build(2, seed=0)
    played = teacher.propose(2)
    play(teacher, played, 0.5, 0.5)
    proposed = teacher.propose(4000)
    is_kept_nk = (proposed.points.unsqueeze(1) == played.points).all(2)
    assert [int(count) for count in is_kept_nk.sum(0)] == pytest.approx([1500, 1500], abs=150)
    candidates = proposed.points[~is_kept_nk.any(1)]
    assert len(candidates.unique(dim=0)) == 8
    assert proposed.practise.all()


def test_the_candidate_tried_most_comes_first():
    """A curriculum plays the first of the proposals alone: so trials of a level do not lie far
    apart."""
    teacher = LearnabilityConfig(candidates=20, tries=3).build(1, seed=0)
    first = teacher.propose(20).rows(torch.tensor([7, 3, 7]))
    play(teacher, first, 0, 0, 0)
    again = teacher.propose(20).points[:2, 0].tolist()
    assert again == [first.points[0, 0], first.points[1, 0]]


@pytest.mark.parametrize("score", [-0.01, 1.01, 30.0])
def test_scores_that_are_no_success_are_refused_and_change_nothing(score):
    teacher = LearnabilityConfig(tries=1).build(1, seed=0)
    levels = teacher.propose(2)
    with pytest.raises(ValueError, match=rf"learnability needs scores from 0 to 1.*got {score}"):
        play(teacher, levels, 0.5, score)
    assert kept(teacher) == {}


def test_levels_solved_half_of_the_time_are_practised():
    """The chance of success falls from 1 to 0 around 0.7: p(1 − p) is large near there alone."""
    teacher = LearnabilityConfig(kept=20, candidates=40).build(1, seed=0)
    for moment in range(60):
        proposed = teacher.propose(60)
        chance_n = torch.sigmoid((0.7 - proposed.points[:, 0]) / 0.03)
        key = rng.fold_in(rng.root_key(0, rng.Stream.TASK), moment)
        draw_n = rng.uniform(rng.fold_in(key, torch.arange(60)), 1)[:, 0]
        teacher.observe(proposed, (draw_n < chance_n).double())
    # From p = 1/8 to 7/8 it is 0.7 ± 0.058, of which a uniform teacher would propose 0.117.
    x_n = teacher.propose(2000).points[:, 0]
    share = float(((x_n - 0.7).abs() < 0.058).double().mean())
    assert share > 0.45, f"half are kept levels, got {share}"


@pytest.mark.parametrize("name", ["kept", "candidates", "tries", "memory"])
def test_senseless_numbers_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
        LearnabilityConfig(**{name: 0}).build(2, seed=0)


def test_a_senseless_share_is_named():
    with pytest.raises(ValueError, match="random must be a number from 0 to 1"):
        LearnabilityConfig(random=1.5).build(2, seed=0)
