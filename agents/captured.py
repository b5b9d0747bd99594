"""Acting with a step captured once as a CUDA graph, and replayed for every step of every rollout.

A step of policy, worlds and storage is hundreds of small kernels; launched one by one, a GPU would
mostly wait for them. A graph launches all at once, but repeats them as they were: on the same
addresses and with the same constants. `fixed_places.py` sees to that, and tensors say which step it
is: the row to write and the noise to read.

Shape legend: T time, B worlds, A action dimensions.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from quickstudy.agents.fixed_places import FixedPlaces, Places, survey
from quickstudy.agents.rollout import Actor, Rows
from quickstudy.envs import rng

WARM_UP = 3
"""Steps of a rollout taken before one is captured: the first as ever, two more by `recorded`."""

KEYS_AT_ONCE = 2**20
"""Keys from which noise is drawn at a time, in float64 on its way to float32."""


class Graph(Protocol):
    """Records what a function does on the device, to do it again."""

    def warm_up(self) -> AbstractContextManager[None]:
        """Where to take steps before recording."""

    def record(self, step: Callable[[], None]) -> None:
        """Take a step down, without its taking effect."""

    def replay(self) -> None:
        """Do what was recorded."""


class CudaGraph:
    """`Graph` by `torch.cuda.graph`."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # Torch tells a capture's allocations by the capture's number, which changes when Warp
        # pauses it for the solver's loop. A pool of the thread's own takes them all.
        self._pool = torch.cuda.MemPool()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """On the stream that will be captured, which CUDA asks for."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, step: Callable[[], None]) -> None:
        # A collection would free memory of others, which is not allowed during a capture.
        gc.collect()
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            # The pool first: torch looks for a taker in the order in which they came.
            with (
                torch.cuda.use_mem_pool(self._pool),
                torch.cuda.graph(self._graph, stream=self._stream),
            ):
                step()
        finally:
            if was_enabled:
                gc.enable()

    def replay(self) -> None:
        self._graph.replay()


def recorded(graph: Graph, step: Callable[[], None], look: Callable[[], Places]) -> FixedPlaces:
    """Record a step, whose state stays where it is.

    Two steps are taken before: kernels are loaded and caches filled, and what moves is seen.

    Args:
        graph: takes it down.
        step: puts new tensors into attributes.
        look: surveys these.

    Raises:
        CaptureError: if a step changes what a graph cannot.
    """
    with graph.warm_up():
        step()
        before = look()
        step()
    places = FixedPlaces(look, before)

    def step_in_place() -> None:
        step()
        places.hold()

    graph.record(step_in_place)
    return places


class Storage:
    """A rollout's rows and its noise, at fixed addresses, and the step that they are at."""

    def __init__(self, num_steps: int, noise_size: int, like: Rows) -> None:
        """`like`: rows of one step `(B, …)`."""
        self.rows = {name: row.new_empty(num_steps, *row.shape) for name, row in like.items()}
        num_worlds, device = like["value"].shape[0], like["value"].device
        self.noise_TBA = torch.empty(num_steps, num_worlds, noise_size, device=device)
        self._step_1 = torch.zeros(1, dtype=torch.int64, device=device)

    @property
    def num_steps(self) -> int:
        return len(self.noise_TBA)

    def noise(self) -> Tensor:
        """Of the present step, `(B, A)`."""
        return self.noise_TBA.index_select(0, self._step_1).squeeze(0)

    def write(self, rows: Rows) -> None:
        """The present step's rows; on to the next step."""
        for name, row in rows.items():
            self.rows[name].index_copy_(0, self._step_1, row.unsqueeze(0))
        self._step_1 += 1

    def rewind(self) -> None:
        self._step_1.zero_()


@dataclass
class Captured:
    """A recorded step, and what it writes to."""

    graph: Graph
    storage: Storage
    places: FixedPlaces


@dataclass
class CapturedActor(Actor):
    """An actor for devices that do not peek. Its rollouts lie where the next one will be written.

    Everything else is as in `Actor`, number for number.
    """

    make_graph: Callable[[], Graph] = CudaGraph
    captured: Captured | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        assert not self.env.peeks, "a step that looks at its tensors cannot be captured"

    def _play(self, num_steps: int) -> Rows:
        if num_steps <= WARM_UP:
            return super()._play(num_steps)
        captured = self.captured
        if captured is None or captured.storage.num_steps != num_steps or not self._settle():
            captured, taken = self._capture(num_steps), WARM_UP
        else:
            captured.storage.rewind()
            self._draw_noise(captured.storage.noise_TBA)
            taken = 0
        for _ in range(taken, num_steps):
            captured.graph.replay()
        return dict(captured.storage.rows)

    def _settle(self) -> bool:
        """Go on from the present state, whoever changed it; False if that takes another graph."""
        assert self.captured is not None
        # What memories keep of their parameters is renewed when these have changed.
        self.agent.step(self.time_step, self._state_copy())
        return self.captured.places.settle()

    def _capture(self, num_steps: int) -> Captured:
        """Take the first steps of a rollout, and record one more without taking it."""
        self.captured = None  # frees its memory
        graph = self.make_graph()
        first = self.act(self._first_noise())
        storage = Storage(num_steps, self.agent.noise_size, first)
        self._draw_noise(storage.noise_TBA)
        storage.write(first)

        def step() -> None:
            storage.write(self.act(storage.noise()))

        places = recorded(graph, step, self._places)
        self.captured = Captured(graph, storage, places)
        return self.captured

    def _places(self) -> Places:
        """All that may live from step to step."""
        between_rollouts = {"key_B", "step_count", "make_graph", "captured"}
        return survey({"actor": self}, frozenset(f"actor.{name}" for name in between_rollouts))

    def _first_noise(self) -> Tensor:
        return self.agent.noise(rng.fold_in(self.key_B, self.step_count))

    def _draw_noise(self, noise_TBA: Tensor) -> None:
        """All noise of a rollout, some steps at a time."""
        at_once = max(1, KEYS_AT_ONCE // noise_TBA.shape[1])
        for start in range(0, len(noise_TBA), at_once):
            part = noise_TBA[start : start + at_once]
            steps = torch.arange(len(part), device=part.device) + (self.step_count + start)
            part.copy_(self.agent.noise(rng.fold_in(self.key_B, steps.unsqueeze(1))))
