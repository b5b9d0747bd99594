"""Options given as text."""

from dataclasses import dataclass
from typing import Literal

import pytest

from quickstudy.envs.from_text import from_text


@dataclass(frozen=True)
class Options:
    count: int = 3
    share: float = 0.5
    on: bool = False
    mode: Literal["paper", "batched"] = "paper"
    corner: tuple[float, ...] = ()
    most: int | None = None


def test_each_field_is_read_as_its_own_type_and_the_others_keep_their_defaults():
    text = {"count": "7", "on": "True", "mode": "batched", "corner": "0.5,1", "most": "9"}
    assert from_text(Options, text) == Options(7, 0.5, True, "batched", (0.5, 1.0), 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"cuont": "1"}, "Unknown option 'cuont'. Did you mean 'count'"),
        ({"count": "many"}, "option count must be of type int, got 'many'"),
        ({"on": "perhaps"}, "option on must be of type bool, got 'perhaps'"),
        ({"mode": "bached"}, "Unknown value of option mode 'bached'. Did you mean 'batched'"),
        ({"corner": "1,x"}, "option corner must be of type tuple"),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        from_text(Options, text)
