"""Figures of a drift, its distillation, and its heat maps."""

import math

import numpy as np
import pytest
import torch

from quickstudy.agents.objectives.dpo_family import DPOFamily, DPOFamilyConfig
from quickstudy.agents.objectives.drifts import (
    LearnedDrift,
    LearnedDriftConfig,
    dpo_drift,
    ppo_drift,
)
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.experiments.discovery.distillation import distil
from quickstudy.experiments.discovery.drift_figures import (
    drift_figures,
    gradients,
    ratio_gradient,
    reference_drifts,
    situations,
)
from quickstudy.experiments.discovery.drift_pictures import heat_map
from quickstudy.experiments.discovery.drift_report import bound_drift

BIRTH = Lifetime(torch.tensor(0), torch.tensor(100))
PPO, DPO = reference_drifts(0.2).values()


def ageing(log_ratio, advantage, lifetime):
    """PPO's drift, times n/N."""
    return lifetime.fraction * ppo_drift(log_ratio, advantage, 0.2)


def rms(drift):
    return float(gradients(drift, situations(100)).square().mean().sqrt())


@pytest.mark.parametrize(
    ("drift", "ratio", "advantage", "expected"),
    [
        # D = (r − 1.2)·2 beyond the clip.
        (PPO, 1.5, 2.0, 2.0),
        (PPO, 1.1, 2.0, 0.0),
        # D = (r − 0.8)·(−3).
        (PPO, 0.5, -3.0, -3.0),
        # A tanh²((r − 1)A/α) = 2 tanh²(1) = 2·0.580026.
        (DPO, 2.0, 2.0, 1.160051),
        # (A/r) tanh²(log(r)A/β) = −2 tanh²(0.693147/0.6) = −2·0.671554.
        (DPO, 0.5, -1.0, -1.343108),
    ],
)
def test_gradients_by_hand(drift, ratio, advantage, expected):
    point = torch.tensor([math.log(ratio), advantage], dtype=torch.float64)
    found = ratio_gradient(drift, point[0], point[1], BIRTH)
    assert float(found) == pytest.approx(expected, abs=2e-5)


def test_gradients_are_those_of_differences():
    learned = LearnedDrift(LearnedDriftConfig(hidden_size=4))
    rule_M = learned.first_rule(1) + 0.3 * torch.arange(learned.layout.num_parameters).cos()
    drift = bound_drift(learned, rule_M)
    ratio = torch.tensor([0.6, 0.9, 1.1, 1.7], dtype=torch.float64)
    advantage = torch.tensor([-1.0, 0.5, -2.0, 1.5], dtype=torch.float64)
    above, below = (drift((ratio + h).log(), advantage, BIRTH) for h in (1e-6, -1e-6))
    found = ratio_gradient(drift, ratio.log(), advantage, BIRTH)
    torch.testing.assert_close(found, (above - below) / 2e-6, atol=1e-6, rtol=1e-5)
    assert int((found != 0.0).sum()) > 1


def test_situations_are_as_stated():
    """Log-ratios uniform within ± log 2 (variance log²2/3), advantages standard normal."""
    seen = situations(100)
    assert float(seen.log_ratio_RA.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(seen.log_ratio_RA.var()) == pytest.approx(math.log(2.0) ** 2 / 3.0, rel=0.01)
    assert float(seen.advantage_RA.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(seen.advantage_RA.std()) == pytest.approx(1.0, abs=0.03)
    assert [int(moment.updates) for moment in seen.moments] == list(range(5, 100, 10))


def test_ppo_is_no_way_from_itself():
    figures = drift_figures(PPO, 0.2, 100)
    assert figures.to_ppo == 0.0
    assert figures.to_dpo == pytest.approx(drift_figures(DPO, 0.2, 100).to_ppo)
    assert figures.size == pytest.approx(rms(PPO))
    assert figures.amplitude < 1e-12
    assert figures.valid


def test_a_rule_at_birth_is_ppo_of_its_clip():
    learned = LearnedDrift(LearnedDriftConfig(clip=0.3))
    drift = bound_drift(learned, learned.first_rule(0))
    assert drift_figures(drift, 0.3, 10).to_ppo == 0.0
    assert drift_figures(drift, 0.2, 10).to_ppo > 0.1


def test_what_changes_has_an_amplitude():
    """n/N = 0.05, 0.15, …, 0.95 has the standard deviation √(mean of (k − 4.5)²)/10 = 0.287228."""
    assert drift_figures(ageing, 0.2, 100).amplitude == pytest.approx(0.287228 * rms(PPO), rel=1e-5)


def test_what_is_no_drift_is_told():
    figures = drift_figures(lambda r, a, age: dpo_drift(r, a) + 0.1 * r, 0.2, 10)
    assert not figures.valid
    # At r = 1, ∂(0.1 log r)/∂r = 0.1; below 0 farthest at log r = −3.
    assert figures.check.slope_at_one == pytest.approx(0.1, rel=1e-3)
    assert figures.check.below_zero == pytest.approx(0.3)


def test_distilling_dpo_gives_its_constants():
    found = distil(DPO, 100)
    assert found.alpha == pytest.approx((2.0, 2.0), abs=1e-3)
    assert found.beta == pytest.approx((0.6, 0.6), abs=1e-3)
    assert found.r2_gradient == pytest.approx(1.0)
    assert found.r2_drift == pytest.approx(1.0)


def test_distilling_a_member_that_changes_gives_it_back():
    family = DPOFamily(DPOFamilyConfig())
    ends = torch.tensor([1.5 / 2.0, 3.0 / 2.0, 0.9 / 0.6, 0.4 / 0.6])
    found = distil(bound_drift(family, ends.log()), 50, entropy_coefficient=0.02)
    assert found.alpha == pytest.approx((1.5, 3.0), abs=1e-3)
    assert found.beta == pytest.approx((0.9, 0.4), abs=1e-3)
    torch.testing.assert_close(found.rule_M, ends.log(), atol=1e-3, rtol=0.0)
    assert found.family.config.entropy_coefficient == 0.02
    assert found.formula()[0].endswith("α = 1.5 + 1.5·n/N")
    assert found.formula()[1].endswith("β = 0.9 − 0.5·n/N")


def test_distilling_is_the_nearest_member():
    """Whichever way the constants move from there, the error grows."""
    found, seen = distil(PPO, 20), situations(20)
    wanted = gradients(PPO, seen)

    def error(rule_M):
        return float((gradients(bound_drift(found.family, rule_M), seen) - wanted).square().sum())

    best = error(found.rule_M)
    moved = 0.05 * torch.eye(4)
    assert all(error(found.rule_M + sign * way) > best for way in moved for sign in (-1.0, 1.0))
    variance = float((wanted - wanted.mean()).square().sum())
    assert found.r2_gradient == pytest.approx(1.0 - best / variance, abs=1e-6)
    assert 0.5 < found.r2_gradient < 1.0


def test_a_drift_of_nothing_has_no_r2():
    found = distil(lambda r, a, age: 0.0 * r, 10)
    assert math.isnan(found.r2_gradient)
    assert min(*found.alpha, *found.beta) > 50.0  # next to nothing


def test_heat_maps_share_their_colours():
    figure = heat_map(ageing, 0.2, 50)
    assert tuple(figure.get_size_inches() * figure.dpi) == (800.0, 900.0)
    blocks = [[axes for axes in block.axes if axes.get_title()] for block in figure.subfigs]
    titles = ["n/N = 0", "n/N = 0.24", "n/N = 0.5", "n/N = 0.74", "n/N = 0.98", "PPO", "DPO"]
    for block in blocks:
        assert [axes.get_title() for axes in block] == [*titles, "0.98 minus 0"]
        assert len({axes.images[0].get_clim() for axes in block}) == 1
    values = {axes.get_title(): axes.images[0].get_array() for axes in blocks[1]}
    # A = 3 at the top, r = 2 to the right: PPO's gradient there is 3.
    assert values["PPO"][-1, -1] == pytest.approx(3.0)
    assert values["PPO"][0, 0] == pytest.approx(-3.0)
    assert np.abs(values["n/N = 0"]).max() == 0.0
    assert values["n/N = 0.98"][-1, -1] == pytest.approx(2.94)
    assert values["0.98 minus 0"][-1, -1] == pytest.approx(2.94)
