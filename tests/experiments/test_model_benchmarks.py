"""The arithmetic of the models' benchmark; nothing here asserts how fast anything is."""

import pytest
import torch
from torch import nn

from quickstudy.agents.models import MODELS
from quickstudy.experiments.benchmarks import models
from quickstudy.experiments.benchmarks.interleave import Plan
from quickstudy.experiments.benchmarks.result import Effort, Result


@pytest.mark.parametrize("name", MODELS)
def test_every_memory_is_built_at_the_common_width(name):
    model = models.build(name, horizon=16)
    assert model.input_size == models.WIDTH
    assert model.output_size == models.WIDTH


def test_a_training_pass_forms_the_gradients_of_input_and_parameters():
    model = models.build("gru", horizon=4)
    x_TBD = torch.randn(4, 2, models.WIDTH, requires_grad=True)
    assert models.training_pass(model, x_TBD)() == 8
    assert all(p.grad is not None for p in [x_TBD, *model.parameters()])


def test_peak_growth_sees_a_large_tensor_and_forgets_earlier_peaks():
    torch.zeros(2**26).add_(1.0)  # 256 MiB, freed before the measurement
    growth = models.peak_growth(lambda: int(torch.ones(2**24).sum() > 0))
    assert 60 <= growth / models.MIB < 200  # 64 MiB of float32


def test_the_floor_counts_the_products_of_forward_and_backward(monkeypatch):
    """y = x W of (5, 128) by (128, 128): 3 products of 2 · 5 · 128² operations, one of them being
    what the speed of a large product is measured by; with 5 frames the floor is 3 of its times."""
    ticks = iter(range(1000))
    monkeypatch.setattr(models.time, "perf_counter", lambda: float(next(ticks)))
    layer = nn.Linear(models.WIDTH, models.WIDTH, bias=False)
    x_ND = torch.randn(5, models.WIDTH, requires_grad=True)

    def run() -> int:
        layer(x_ND).sum().backward()
        return 5

    assert models.gemm_floor(run, 5) == pytest.approx(3.0)


def test_growth_by_hand():
    """8 times as long: 16 times the time is a growth of 2, 8 times the memory one of 1."""
    before = Result("x", 1.0, details={"forward and backward ms": 1.0, "peak MiB": 10.0})
    last = Result("x", 1.0, details={"forward and backward ms": 16.0, "peak MiB": 80.0})
    time, memory = models._growth("models/x", "x", [before, last])
    assert (time.value, memory.value) == pytest.approx((2.0, 1.0))
    assert models._growth("models/x", "x", [last]) == []


def test_a_quick_run_measures_one_length(monkeypatch):
    monkeypatch.setattr(models, "QUICK_LENGTHS", (3,))
    effort = Effort(plan=Plan(max_repetitions=2), epochs=1)
    (result,) = models.model_benchmark("gru").run(effort)
    assert result.case == "models/gru-3"
    assert set(result.details) == {
        "forward and backward ms",
        "÷ GEMM floor",
        "acting ms",
        "peak MiB",
    }
    assert all(value > 0 for name, value in result.details.items() if name != "peak MiB")
