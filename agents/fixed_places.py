"""Keeping what a step replaces where it was, since a captured graph reads and writes by address.

Code puts new tensors into attributes all the time: `self.x = self.x + 1`. Captured in a graph, the
sum would be read from where x was and written elsewhere, at every replay the same sum. So after the
step, as part of it, each replaced tensor is copied to where its forerunner is, and the forerunner
put back into the attribute. This file finds the attributes: all that can be reached from an object
through attributes, dicts, lists, tuples and frozen dataclasses.

What is not a tensor is part of the graph as it was when captured. If a step changes it, a replayed
step would differ from a real one, and an error names it.
"""

import dataclasses
import enum
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NOT_LOOKED_INTO = frozenset(
    {"builtins", "collections", "functools", "gymnasium", "mujoco", "mujoco_warp", "numpy", "torch",
     "threading", "types", "warp", "weakref"}
)  # fmt: skip
"""Packages whose objects hold nothing of ours (save for torch's modules)."""

PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), frozenset, set, range, slice, enum.Enum),
    *(np.generic, torch.dtype, torch.device, torch.Size, types.FunctionType, types.MethodType),
)
"""Types whose values are compared, rather than whether it is the same object."""


class CaptureError(RuntimeError):
    """A step does what a replayed graph cannot repeat; the message names the attribute."""


@dataclass(frozen=True)
class Place:
    """An attribute, how it is reached, and what is in it."""

    path: str
    owner: object
    name: str
    value: object
    leaves: dict[str, object]
    """All tensors and constants of the value, by path."""

    @property
    def tensors(self) -> list[Tensor]:
        return [leaf for leaf in self.leaves.values() if isinstance(leaf, Tensor)]

    def put(self, tensors: Iterable[Tensor]) -> "Place":
        """Put the value back, with these tensors in place of its own."""
        value = _with_tensors(self.value, iter(tensors))
        vars(self.owner)[self.name] = value
        return dataclasses.replace(self, value=value, leaves=dict(_leaves(value, self.path)))


Places = dict[str, Place]


def survey(roots: Mapping[str, object], skip: frozenset[str] = frozenset()) -> Places:
    """All places that can be reached from some objects.

    Args:
        roots: objects by name.
        skip: paths that are left out.
    """
    places: Places = {}
    queue, known = list(roots.items()), set()
    while queue:
        path, owner = queue.pop()
        if id(owner) in known:
            continue
        known.add(id(owner))
        for name, value in vars(owner).items():
            here = f"{path}.{name}"
            if here in skip:
                continue
            leaves = dict(_leaves(value, here))
            places[here] = Place(here, owner, name, value, leaves)
            queue += [(p, leaf) for p, leaf in leaves.items() if _is_looked_into(leaf)]
    return places


def require_same_constants(before: Places, after: Places) -> None:
    """Raise `CaptureError` if anything but the content of tensors is different."""
    changed = changed_constants(before, after)
    if changed:
        raise CaptureError(
            f"{changed[0]} changes from step to step. A captured step repeats what it was when "
            "captured: keep it in a tensor."
        )


def changed_constants(before: Places, after: Places) -> list[str]:
    """Paths of constants that differ, and of tensors that came, went or changed shape."""
    old, new = ({p: x for place in s.values() for p, x in place.leaves.items()}
                for s in (before, after))  # fmt: skip
    absent = object()
    return [p for p in (old | new) if not _same(old.get(p, absent), new.get(p, absent))]


class FixedPlaces:
    """Places whose tensors stay where they are, whatever a step puts into them."""

    def __init__(self, look: Callable[[], Places], before: Places) -> None:
        """Fix the places that a step has just changed.

        Args:
            look: surveys the places.
            before: the survey before that step.
        """
        self._look = look
        self._places = look()
        require_same_constants(before, self._places)
        self._moving = {
            path for path, place in self._places.items() if _replaced(before[path], place)
        }
        for path in self._moving:
            place = self._places[path]
            # Of one's own each: several attributes may hold the same tensor at the moment.
            clones = [x.clone(memory_format=torch.contiguous_format) for x in place.tensors]
            self._places[path] = place.put(clones)

    def hold(self) -> None:
        """Copy what the step just made to where it belongs; part of the captured step.

        Raises:
            CaptureError: naming an attribute that the steps before had left alone.
        """
        now = self._look()
        require_same_constants(self._places, now)
        for path, place in now.items():
            if path not in self._moving and _replaced(self._places[path], place):
                raise CaptureError(f"{path} is replaced in some steps, and not in others.")
        self._bring_back(now)

    def settle(self) -> bool:
        """Take over what others did between replays (a new trial, a checkpoint's state).

        Returns False if constants have changed, for which the step must be captured anew.
        """
        now = self._look()
        if changed_constants(self._places, now):
            return False
        self._bring_back(now)
        return True

    def _bring_back(self, now: Places) -> None:
        replaced = [path for path, place in now.items() if _replaced(self._places[path], place)]
        pairs = [
            (old, new)
            for path in replaced
            for old, new in zip(self._places[path].tensors, now[path].tensors, strict=True)
            if old is not new
        ]
        homes = {old.untyped_storage().data_ptr() for old, _ in pairs}
        # What lies where something else belongs is moved out of the way first.
        ready = [new.clone() if new.untyped_storage().data_ptr() in homes else new
                 for _, new in pairs]  # fmt: skip
        for (old, _), new in zip(pairs, ready, strict=True):
            old.copy_(new)
        for path in replaced:
            self._places[path].put(self._places[path].tensors)


def _replaced(before: Place, after: Place) -> bool:
    pairs = zip(before.tensors, after.tensors, strict=True)
    return any(old is not new for old, new in pairs)


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Tensors, constants and whole objects within a value."""
    parts = _parts(value)
    if parts is None:
        yield path, value
        return
    for name, part in parts:
        yield from _leaves(part, f"{path}{name}")


def _parts(value: object) -> list[tuple[str, Any]] | None:
    """What a container holds; None for anything else."""
    if type(value) is dict or isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if _is_frozen(value):
        return [(f".{name}", part) for name, part in vars(value).items()]
    return None


def _with_tensors(value: Any, tensors: Iterator[Tensor]) -> Any:
    """The value with other tensors; dicts and lists stay the same objects."""
    if isinstance(value, Tensor):
        return next(tensors)
    parts = _parts(value)
    if parts is None:
        return value
    new = [_with_tensors(part, tensors) for _, part in parts]
    if isinstance(value, dict):
        value.update(zip(value, new, strict=True))
    elif isinstance(value, list):
        value[:] = new
    elif any(part is not old for part, (_, old) in zip(new, parts, strict=True)):
        return _remade(value, new)
    return value


def _remade(value: Any, parts: list[Any]) -> Any:
    """A tuple, named tuple or frozen dataclass with other parts."""
    if not isinstance(value, tuple):
        other = object.__new__(type(value))
        vars(other).update(zip(vars(value), parts, strict=True))
        return other
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _is_frozen(value: object) -> bool:
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen and hasattr(value, "__dict__")


def _is_looked_into(value: object) -> bool:
    if isinstance(value, (*PLAIN, Tensor, type, types.ModuleType)) or not hasattr(
        value, "__dict__"
    ):
        return False
    package = type(value).__module__.partition(".")[0]
    return isinstance(value, nn.Module) or package not in NOT_LOOKED_INTO


def _same(old: object, new: object) -> bool:
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        return (old.shape, old.dtype, old.device) == (new.shape, new.dtype, new.device)
    if old is new:
        return True
    plain = type(old) is type(new) and isinstance(old, PLAIN)
    return plain and (old == new or (old != old and new != new))
