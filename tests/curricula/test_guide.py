"""A past student's curriculum and the guide along it, by hand."""

import pytest
import torch

from quickstudy.curricula.classrooms.guide import Guide
from quickstudy.curricula.classrooms.history import History
from quickstudy.curricula.classrooms.niches import Step, has_niches, niches, origin, pooled
from quickstudy.curricula.mixtures.fitted import FittedMixture
from quickstudy.curricula.teacher import Mixture


def gaussians(*weight_and_mean, width=0.02):
    n = len(weight_and_mean)
    return Mixture(
        torch.tensor([w for w, _ in weight_and_mean], dtype=torch.float64),
        torch.tensor([m for _, m in weight_and_mean], dtype=torch.float64),
        width**2 * torch.eye(2, dtype=torch.float64).repeat(n, 1, 1),
    )


LOW, HIGH = (0.2, 0.2), (0.8, 0.8)


# --- niches -----------------------------------------------------------------------------------


def test_origin_is_the_likeliest():
    """Far from every Gaussian it is the uniform part; between two equals the heavier one."""
    mixture = gaussians((0.1, LOW), (0.3, HIGH), (0.6, HIGH))
    points = torch.tensor([LOW, HIGH, (0.2, 0.8), (0.22, 0.2)])
    assert origin(mixture, points, 0.1).tolist() == [0, 2, -1, 0]


def history(fits, points, scores):
    points = torch.tensor(points, dtype=torch.float32)
    scores = torch.tensor(scores, dtype=torch.float32)
    return History(points, scores, fits, torch.zeros(1, 400), torch.zeros(1).long())


def test_niches_by_hand():
    """Fit 0 holds episodes 2 … 5. Of its Gaussians only HIGH has made progress (0.5 > 0.2), which
    earned 0.4 and 0.8 there: 0.6 on average. Fit 1 has no niche, fit 2 no episode.
    """
    fits = [
        FittedMixture(2, gaussians((0.2, LOW), (0.5, HIGH))),
        FittedMixture(6, gaussians((0.1, LOW))),
        FittedMixture(8, gaussians((0.9, LOW))),
    ]
    points = [HIGH, HIGH, HIGH, LOW, HIGH, (0.1, 0.9), LOW, LOW]
    scores = [1.0, 1.0, 0.4, 0.0, 0.8, 0.9, 0.0, 0.0]
    (step,) = niches(history(fits, points, scores), 0.1)
    assert step.threshold == pytest.approx(0.6)
    assert step.mixture.weight_G.tolist() == [0.5]
    assert step.mixture.mean_Gd.tolist() == [list(HIGH)]
    assert step.mixture.covariance_Gdd.shape == (1, 2, 2)


def test_a_threshold_is_of_the_last_fifty_scores():
    """Of 80 scores 0 … 79, the last fifty are 30 … 79: 54.5 on average."""
    fits = [FittedMixture(0, gaussians((0.5, HIGH)))]
    (step,) = niches(history(fits, [HIGH] * 80, [float(i) for i in range(80)]), 0.1)
    assert step.threshold == pytest.approx(54.5)


def test_a_niche_that_earned_nothing_takes_all_scores():
    fits = [FittedMixture(0, gaussians((0.5, HIGH)))]
    (step,) = niches(history(fits, [(0.1, 0.9)] * 2, [0.2, 0.4]), 0.1)
    assert step.threshold == pytest.approx(0.3)


def test_has_niches():
    assert not has_niches([])
    assert not has_niches([FittedMixture(0, gaussians((0.2, LOW)))])
    assert has_niches(
        [FittedMixture(0, gaussians((0.2, LOW))), FittedMixture(0, gaussians((0.21, LOW)))]
    )


# --- the guide --------------------------------------------------------------------------------

STEPS = [
    Step(gaussians((0.5, LOW)), 0.5),
    Step(gaussians((0.4, LOW), (0.6, HIGH)), 0.7),
    Step(gaussians((0.3, HIGH), (0.9, LOW)), 0.9),
]


def guide(variant, **options):
    defaults = {"num_scores": 2, "tolerance": 1.0, "period": 250, "fades": True}
    return Guide(STEPS, variant, **defaults | options)


def test_r_steps_when_as_good_as_the_past_student():
    """Means of the last two: 0.45 < 0.5, then 0.55 ≥ 0.5; the next step needs two new scores."""
    g = guide("R")
    for score, index in [(0.4, 0), (0.5, 0), (0.6, 1), (1.0, 1), (0.3, 1), (0.9, 1), (0.5, 2)]:
        g.tell(0, score, 0.0)
        assert g.index == index
    assert g.at_end


def test_r_tolerates():
    """A tolerance of 0.8 asks for 0.4 instead of 0.5."""
    g = guide("R", num_scores=1, tolerance=0.8)
    g.tell(0, 0.39, 0.0)
    assert g.index == 0
    g.tell(0, 0.41, 0.0)
    assert g.index == 1


def test_t_steps_with_time():
    g = guide("T")
    for episodes, index in [(1, 0), (249, 0), (250, 1), (499, 1), (500, 2), (10_000, 2)]:
        g.clock(episodes)
        g.tell(0, 1.0, 0.0)
        assert g.index == index


def test_p_pools_and_stays():
    g = guide("P")
    assert g.mixture.weight_G.tolist() == [0.5, 0.4, 0.6, 0.3, 0.9]
    assert torch.equal(g.mixture.mean_Gd, pooled(STEPS).mixture.mean_Gd)
    for _ in range(300):
        g.tell(1, 1.0, 0.0)
        g.clock(10_000)
    assert g.index == 0
    assert not g.at_end
    assert g.mixture.weight_G[1] == 0.4


@pytest.mark.parametrize("variant", ["R", "T"])
def test_at_the_end_progress_is_measured_anew(variant):
    """100 episodes of Gaussian 0, of which 60 made 0.5 and 40 none: 0.3; nothing of Gaussian 1."""
    g = guide(variant, num_scores=1)
    g.clock(10_000)
    while not g.at_end:
        g.tell(0, 1.0, 0.0)
    for i in range(99):
        g.tell(0, 1.0, 0.5 if i < 60 else 0.0)
    assert g.mixture.weight_G.tolist() == [0.3, 0.9]
    g.tell(0, 1.0, 0.0)
    assert g.mixture.weight_G.tolist() == [0.3, 0.0]
    for _ in range(100):  # the window holds the last hundred
        g.tell(0, 1.0, 0.25)
    assert g.mixture.weight_G.tolist() == [0.25, 0.0]


def test_progress_is_the_mean_of_what_was_measured():
    """Of 100 episodes, 60 of Gaussian 0 made 0.5 and 40 of Gaussian 1 made 0.25."""
    g = guide("T")
    g.clock(10_000)
    for i in range(100):
        g.tell(int(i >= 60), 1.0, 0.5 if i < 60 else 0.25)
    assert g.mixture.weight_G.tolist() == [0.5, 0.25]


def test_alone_it_does_not_fade():
    g = guide("T", fades=False)
    g.clock(10_000)
    for _ in range(200):
        g.tell(0, 1.0, 0.0)
    assert not g.at_end
    assert g.mixture.weight_G.tolist() == [0.3, 0.9]
