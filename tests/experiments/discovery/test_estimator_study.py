"""Estimators against the exact gradient, in small."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from quickstudy.agents.lifetimes.exact import ExactConfig
from quickstudy.agents.lifetimes.exact_gradient import exact_gradient, smoothed_gradient
from quickstudy.envs import rng
from quickstudy.experiments.discovery import estimator_study
from quickstudy.experiments.discovery.estimator_cases import estimator_cases
from quickstudy.experiments.discovery.estimator_plots import lines, plot_alignment
from quickstudy.experiments.discovery.estimator_study import EstimatorStudy, ascended, study
from quickstudy.experiments.discovery.gradient_quality import Reference, bias

SMALL = EstimatorStudy(num_updates=4, pairs=2, estimates=4, ascent=1, reference_lives=8)
CHAIN = ExactConfig().build()
CASES = {case.name: case for case in estimator_cases(40, 0.02)}


@pytest.fixture(scope="module")
def result():
    return study(SMALL, Console(file=io.StringIO()))


def test_the_result_is_complete_and_plain(result):
    """Lives of 4 updates: windows of at most 4, and nothing that JSON would not take."""
    assert json.loads(json.dumps(result, allow_nan=False))["config"]["num_updates"] == 4
    assert list(result["rules"]) == ["generation 0", "after 1 exact steps"]
    names = {case.name for case in estimator_cases(4, SMALL.sigma)}
    assert {"ES, raw", "SNES", "truncated ES, K = 2", "BMG, K = 1, L = 20"} < names
    assert "meta-gradient, K = 5" not in names
    for measured in result["rules"].values():
        assert set(measured["estimators"]) == names


def test_all_spend_the_same_steps_where_chance_is_in_play(result):
    """2 pairs of whole lives: 4 · (4 updates + 1 score) · 320 steps, up to half an agent's."""
    for row in result["rules"]["generation 0"]["estimators"].values():
        if row["direction"]["noise"]["point"] > 0:
            share = row["steps"] / row["size"]
            assert abs(row["steps"] - 4 * 5 * 320) <= share / 2


def test_the_same_study_again_gives_the_same_figures(result):
    again = study(SMALL, Console(file=io.StringIO()))
    assert again | {"seconds": 0} == result | {"seconds": 0}


def test_a_meta_gradient_through_a_whole_life_is_the_oracle():
    """Up to float32, in which rules are kept."""
    rule = CHAIN.first_rule(0) + 0.05
    case = CASES["meta-gradient, K = 40"]
    draws, steps, size = estimator_study.estimates(case, CHAIN, rule, EstimatorStudy())
    exact = exact_gradient(CHAIN, rule, rng.world_keys(0, rng.Stream.TASK, 1))[1]
    assert (len(draws), steps, size) == (1, 41 * 320, 1)
    np.testing.assert_allclose(case.scale * draws, exact.numpy(), rtol=1e-5, atol=1e-7)


def test_meta_gradients_through_short_windows_are_the_sum_over_a_life():
    """Against windows cut by hand, of 20 updates each."""
    rule = CHAIN.first_rule(0) + 0.05
    case = CASES["meta-gradient, K = 20"]
    draws, _, _ = estimator_study.estimates(case, CHAIN, rule, EstimatorStudy())
    rows, total = CHAIN.begin(torch.zeros(1, dtype=torch.int64)), torch.zeros(len(rule)).double()
    for _ in range(2):
        leaf = rule.double().requires_grad_()
        rows = {name: row.detach() for name, row in rows.items()}
        rows = CHAIN.learn(leaf.unsqueeze(0), rows, 20)
        total += torch.autograd.grad(CHAIN.score(rows)[0].sum(), leaf)[0]
    np.testing.assert_allclose(case.scale * draws[0], total.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "unbiased"),
    [("ES, raw", True), ("PES, K = 5", True), ("truncated ES, K = 5", False)],
)
def test_who_is_unbiased_for_the_smoothed_score(name, unbiased):
    """Lives of 10 updates, 16 estimates; the reference from exact gradients at perturbed rules."""
    lifetimes = ExactConfig(num_updates=10).build()
    config = EstimatorStudy(num_updates=10, pairs=64, estimates=16, sigma=0.1)
    case = {case.name: case for case in estimator_cases(10, config.sigma)}[name]
    rule = lifetimes.first_rule(0)
    assert case.smooth is not None
    smooth = smoothed_gradient(
        lifetimes,
        rule,
        torch.zeros(256, dtype=torch.int64),
        deviation=config.sigma,
        window=case.smooth,
        seed=7,
    )
    reference = Reference.of(0.5 * (smooth[:128] + smooth[128:]).numpy())
    draws, _, _ = estimator_study.estimates(case, lifetimes, rule, config)
    assert bias(case.scale * draws, reference).unbiased is unbiased


def test_ascent_along_the_exact_gradient_ascends():
    lifetimes = ExactConfig(num_updates=10).build()
    config = dataclasses.replace(SMALL, num_updates=10, ascent=5)
    both = torch.stack([lifetimes.first_rule(0), ascended(lifetimes, config)])
    before, after = lifetimes.live(both, torch.zeros(2, dtype=torch.int64)).score_P.tolist()
    assert after > before


def test_the_picture_holds_a_line_for_each_kind(result, tmp_path):
    pytest.importorskip("matplotlib")
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        plot_alignment(result, tmp_path / "alignment.svg")
    drawing = (tmp_path / "alignment.svg").read_text()
    for text in ("meta-gradient", "truncated ES", "SNES", "cosine with the exact gradient"):
        assert f">{text}<" in drawing


def test_lines_are_ordered_by_window():
    def row(kind, window, cosine):
        interval = {"point": cosine, "low": cosine - 0.1, "high": cosine + 0.1}
        return {"kind": kind, "window": window, "direction": {"cosine_of_mean": interval}}

    rows = [row("a", 10, 0.5), row("b", 4, 0.25), row("a", 2, 0.0)]
    found = lines({"estimators": dict(enumerate(rows))})
    assert found == {"a": [(2, 0.0, -0.1, 0.1), (10, 0.5, 0.4, 0.6)], "b": [(4, 0.25, 0.15, 0.35)]}


def test_sizes_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="estimates must be at least 4, got 3"):
        study(dataclasses.replace(SMALL, estimates=3), Console())
    with pytest.raises(ValueError, match="reference_lives must be even and at least 4, got 5"):
        study(dataclasses.replace(SMALL, reference_lives=5), Console())
    with pytest.raises(ValueError, match="ascent must be at least 0, got -1"):
        study(dataclasses.replace(SMALL, ascent=-1), Console())
    with pytest.raises(ValueError, match="pairs must be an integer of at least 1, got 0"):
        study(dataclasses.replace(SMALL, pairs=0), Console())
