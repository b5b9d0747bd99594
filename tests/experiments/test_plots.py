"""The plot of a comparison over lengths: what it draws, point by point."""

import pytest

from quickstudy.experiments import plots
from quickstudy.experiments.compare import Row
from quickstudy.experiments.statistics import Interval


def make_row(arena: str, agent: str, mean: float) -> Row:
    interval = Interval(mean, mean - 0.1, mean + 0.1)
    return Row(arena, agent, 10, interval, interval, interval, interval, [mean], 1.0)


ROWS = [
    make_row("MemoryChain/32x1", "s5", 1.0),
    make_row("MemoryChain/8x1", "s5", 0.9),
    make_row("MemoryChain/8x1", "rl2", 0.8),
    make_row("MemoryChain/32x1", "rl2", 0.1),
]


def test_points_are_ordered_by_length():
    points = plots._points(ROWS, "MemoryChain", "s5")
    assert points == [(8, 0.9, pytest.approx(0.8), 1.0), (32, 1.0, 0.9, 1.1)]


def test_the_file_holds_a_line_for_each_agent(tmp_path):
    """Text stays text in an SVG."""
    pytest.importorskip("matplotlib")
    import matplotlib as mpl

    path = tmp_path / "lengths.svg"
    with mpl.rc_context({"svg.fonttype": "none"}):
        plots.plot_by_length(ROWS, path)
    drawing = path.read_text()
    for text in ("s5", "rl2", "MemoryChain", "8", "32", "steps of an episode"):
        assert f">{text}<" in drawing


def test_without_matplotlib_the_command_that_mends_it_is_named(monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'quickstudy\[plots\]'"):
        plots.plot_by_length(ROWS, "x.png")
