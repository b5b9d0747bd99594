"""State dicts within state dicts."""

import torch

from quickstudy.envs.nested_state import nested, part

STATE = {"x": torch.tensor(1.0), "y.z": torch.tensor(2.0)}


def test_a_part_is_what_was_nested():
    whole = nested("1", STATE) | nested("10", {"x": torch.tensor(3.0)}) | {"x": torch.tensor(4.0)}
    assert whole.keys() == {"1.x", "1.y.z", "10.x", "x"}
    assert part("1", whole) == STATE
    assert part("10", whole) == {"x": torch.tensor(3.0)}


def test_a_part_that_is_not_there_is_empty():
    assert part("y", {"x": torch.tensor(1.0)}) == {}
