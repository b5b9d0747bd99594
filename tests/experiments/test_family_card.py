"""`quickstudy list --family X`."""

import io
import re

import pytest
from rich.console import Console

from quickstudy.envs.anchors import stored_anchors
from quickstudy.envs.registry import family_class, family_entry
from quickstudy.experiments.family_card import family_card


def card(name):
    console = Console(width=160, file=io.StringIO())
    console.print(family_card(name))
    return console.file.getvalue()


@pytest.mark.parametrize("name", ["PointGoal", "GridNavi", "SparsePointGoal"])
def test_a_card_holds_what_is_known(name):
    text = card(name)
    space = family_class(name).task_space
    assert text.startswith(f"quickstudy/{name}-v0")
    for parameter in space.parameters:
        assert re.search(rf"\b{parameter.name}\b.*\b{re.escape(parameter.unit)}\b", text)
    for split in space.splits:
        assert f"{split} " in text
        assert space.digest(split) in text
    assert f"{stored_anchors(name, family_entry(name).episode_length).oracle.mean:.1f} [" in text
    assert "Source" in text
    assert "Peers" in text
    discrete = "Discrete" in str(family_class(name).action_space)
    assert discrete != ("bits with the task known" in text)


def test_the_references_of_an_exact_family_are_on_its_card():
    assert re.search(r"Bayes-optimal.*37\.21.*computed", card("GridNavi"))


def test_where_difficulty_is_undefined_the_card_says_why():
    assert "Difficulty in bits is defined for continuous actions" in card("GridNavi")


def test_an_unknown_family_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown family 'GridNav'\. Did you mean 'GridNavi'\?"):
        family_card("GridNav")
