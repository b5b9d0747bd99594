"""Tensors over an engine's own memory, by name."""

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor


class LiveFields(Mapping[str, Tensor]):
    """Named zero-copy tensors over the engine's arrays, bound on first use.

    A derived field (xpos, …) is zero until the first engine call after it was bound.
    """

    def __init__(self, bind: Callable[[str], Tensor]) -> None:
        self._bind = bind
        self._tensors: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            self._tensors[name] = self._bind(name)
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
