"""Every MuJoCo family: its whole step against its physics, its bodies' cost, its tasks' time.

Shape legend: T steps of an episode, N worlds, U controls of the model, S numbers of its state.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import BatchEngine
from quickstudy.envs.body_family import BodyFamily
from quickstudy.envs.difficulty import differing_parameters
from quickstudy.envs.errors import MissingExtraError
from quickstudy.envs.family import Family
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.registry import FAMILIES, family_class, make_family
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks.c_loop import PhysicsLoop, physics_loop
from quickstudy.experiments.benchmarks.interleave import Case, interleave
from quickstudy.experiments.benchmarks.physics import (
    episode_slices,
    play_trials,
    random_actions,
    steps_in,
)
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare
from quickstudy.experiments.threads import ACTING, available, torch_threads

STEPS = 100
"""Steps of an episode at most: there are many families, and a short episode flatters none."""
SECONDS = 6.0
"""Of measuring at most, for each case."""


def mujoco_families() -> list[str]:
    """The registered families with physics."""
    return [name for name in FAMILIES if issubclass(family_class(name), MujocoFamily)]


def task_families() -> list[str]:
    """Those of them that have more than one task."""
    return [n for n in mujoco_families() if differing_parameters(family_class(n).task_space) > 0]


def body_families() -> list[str]:
    """Those of them whose worlds have bodies of their own."""
    return [name for name in mujoco_families() if issubclass(family_class(name), BodyFamily)]


# --- a family's step against its physics ------------------------------------------------------


def environment_benchmark(family: str, num_worlds: int, at_least: float) -> Benchmark:
    """`TrialEnv.step` against a C loop of the same physics."""
    name, bar = f"envs/{family}-{num_worlds}", Bar("at least", at_least)

    def measure(effort: Effort) -> Result:
        env = TrialEnv(family, num_worlds, episode_length=effort.episode_length)
        loop, cases = environment_cases(env, effort)
        reference, measured = interleave(cases, effort.plan)
        milliseconds = 1000.0 * num_worlds * (1.0 / measured.rate - 1.0 / reference.rate)
        details = {f"ms per step of {num_worlds} beyond the {loop.name}": milliseconds}
        return compare(name, measured, reference, bar, details=details)

    return brief_benchmark(name, bar, measure)


@dataclass(frozen=True)
class Recording:
    """What an engine was given in one episode, and where its worlds stood."""

    ctrl_TNU: np.ndarray
    states: list[np.ndarray | None]
    """The state `(N, S)` before each slice; None where physics alone leads to it."""


def environment_cases(env: TrialEnv, effort: Effort) -> tuple[PhysicsLoop, tuple[Case, Case]]:
    """The physics loop, and the two cases: it and the environment.

    Both play one recorded episode again and again. Where the environment has reset worlds (a robot
    fell), the loop is put into their states at the next slice, lest it simulate fallen robots.
    Bodies change with the tasks, but to the model's own: the loop has one model for all worlds.
    """
    family = env.family
    assert isinstance(family, MujocoFamily)
    engine = family.engine
    if isinstance(family, BodyFamily):
        level(family)
    env.reset(effort.seed)
    start = env.state_dict()
    slices = episode_slices(effort)
    action_TNA = random_actions(effort, env.num_worlds, env.blank_action.shape[1])
    recording = record(env, action_TNA, slices)
    loop = physics_loop(engine.mjmodel, env.num_worlds, engine.substeps, available())
    ours = Case(
        "TrialEnv", play_trials(env, action_TNA, slices), lambda: env.load_state_dict(start)
    )
    return loop, (Case(loop.name, play_again(loop, recording, slices)), ours)


def record(env: TrialEnv, action_TNA: np.ndarray, slices: list[slice]) -> Recording:
    """Play an episode, noting what reaches the engine."""
    assert isinstance(env.family, MujocoFamily)
    engine = env.family.engine
    assert isinstance(engine, BatchEngine)
    states: list[np.ndarray | None] = []
    was_reset = True  # the first state is needed in any case
    with controls_of(engine) as controls:
        for part in slices:
            states.append(engine.state_dict()["rows"].numpy() if was_reset else None)
            steps = [env.step(action_NA) for action_NA in torch.from_numpy(action_TNA[part])]
            was_reset = any(bool(step.episode_start.any()) for step in steps)
    assert len(controls) == len(action_TNA), "the family does not step its engine once per step"
    env.finished()
    return Recording(np.stack(controls), states)


@contextmanager
def controls_of(engine: BatchEngine) -> Iterator[list[np.ndarray]]:
    """The controls `(N, U)` of every step that the engine takes meanwhile."""
    controls: list[np.ndarray] = []
    step = engine.step

    def listening(mask: torch.Tensor | None = None) -> None:
        controls.append(engine.data["ctrl"].numpy().copy())
        step(mask)

    # An attribute of this engine alone, which hides the class's method until it is deleted.
    vars(engine)["step"] = listening
    try:
        yield controls
    finally:
        del vars(engine)["step"]


def play_again(loop: PhysicsLoop, recording: Recording, slices: list[slice]) -> Callable[[], int]:
    """Plays the next slice of the recorded episode at each call."""
    num_worlds = len(recording.ctrl_TNU[0])
    parts = itertools.cycle(zip(slices, recording.states, strict=True))

    def run() -> int:
        part, state_NS = next(parts)
        if state_NS is not None:
            loop.load(state_NS)
        loop.play(recording.ctrl_TNU[part])
        return num_worlds * steps_in(part)

    return run


# --- what bodies of their own cost ------------------------------------------------------------


def body_benchmark(family: str, num_worlds: int, at_most: float) -> Benchmark:
    """Physics with model fields of each world's own against one model for all.

    All bodies are the same one, so both engines do the same sums, bit for bit; the figure is how
    many times as long it takes.
    """
    name, bar = f"bodies/{family}-{num_worlds}", Bar("at most", at_most)

    def measure(effort: Effort) -> Result:
        own, shared = interleave(body_cases(family, num_worlds, effort), effort.plan)
        cls = family_class(family)
        assert issubclass(cls, BodyFamily)
        note = f"fields of each world's own: {', '.join(cls.body_fields)}"
        return compare(name, shared, own, bar, notes=(note,))

    return brief_benchmark(name, bar, measure)


def body_cases(family: str, num_worlds: int, effort: Effort) -> tuple[Case, Case]:
    """The engine with a body for each world, and the one with one for all."""
    own, shared = body_engines(family, num_worlds, effort.seed)
    start = own.state_dict()
    ctrl_TNU = torch.from_numpy(random_actions(effort, num_worlds, own.mjmodel.nu))
    slices = episode_slices(effort)
    cases = [
        Case(name, play_engine(engine, ctrl_TNU, slices), _loading(engine, start))
        for name, engine in (("own bodies", own), ("one body", shared))
    ]
    return cases[0], cases[1]


def body_engines(family: str, num_worlds: int, seed: int) -> tuple[BatchEngine, BatchEngine]:
    """A family's engine at the start of an episode, and another of its model, not started."""
    made = make_family(family, num_worlds)
    assert isinstance(made, BodyFamily)
    level(made)
    start_over(made, rng.world_keys(seed, rng.Stream.TASK, num_worlds))
    assert isinstance(made.engine, BatchEngine)
    return made.engine, BatchEngine(made.engine.mjmodel, num_worlds, made.engine.substeps)


def play_engine(
    engine: BatchEngine, ctrl_TNU: torch.Tensor, slices: list[slice]
) -> Callable[[], int]:
    """Steps an engine through the next slice of an episode at each call."""
    parts = itertools.cycle(slices)

    def run() -> int:
        part = next(parts)
        for ctrl_NU in ctrl_TNU[part]:
            engine.data["ctrl"].copy_(ctrl_NU)
            engine.step()
        return engine.num_worlds * steps_in(part)

    return run


def level(family: BodyFamily) -> None:
    """Let every world have fields of its own that are the model's, whatever its task says.

    From the next task on; what the task asks for is still computed, for the time it takes.
    """
    # Another engine of the same model knows the fields as they were.
    base = BatchEngine(family.engine.mjmodel, 1, 1).model
    compute = family._body

    def same_for_all(task_ND: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: base[name].expand_as(field) for name, field in compute(task_ND).items()}

    vars(family)["_body"] = same_for_all


def _loading(engine: BatchEngine, start: dict[str, torch.Tensor]) -> Callable[[], None]:
    return lambda: engine.load_state_dict(start)


# --- new tasks --------------------------------------------------------------------------------


def task_benchmark(family: str, num_worlds: int, at_most: float) -> Benchmark:
    """Milliseconds that new tasks for all worlds add to a new episode in all of them."""
    name, bar = f"tasks/{family}-{num_worlds}", Bar("at most", at_most)

    def measure(effort: Effort) -> Result:
        plan = replace(effort.plan, rounds=5, seconds=1.0)
        names = ("the same tasks", "new tasks")
        cases = [Case(n, new_episodes(family, num_worlds, n == names[1])) for n in names]
        same, new = (1000.0 / measured.rate for measured in interleave(cases, plan))
        return Result(name, new - same, bar, "ms", details={"ms with the episode's start": new})

    return brief_benchmark(name, bar, measure)


def new_episodes(family: str, num_worlds: int, new_tasks: bool) -> Callable[[], int]:
    """Starts an episode in all worlds at each call, on other tasks or the same; returns 1."""
    made = make_family(family, num_worlds)
    key_N = rng.world_keys(0, rng.Stream.TASK, num_worlds)
    everywhere = torch.ones(num_worlds, dtype=torch.bool)
    times = itertools.count()

    def run() -> int:
        episode_key_N = rng.fold_in(key_N, next(times))
        if new_tasks:
            start_over(made, episode_key_N)
        else:
            made.reset(everywhere, made.task_ND, episode_key_N)
        return 1

    return run


def start_over(family: Family, key_N: torch.Tensor) -> None:
    """Start an episode on a training task drawn by each world's key."""
    task_ND = family.task_space.sample("train", key_N)
    family.reset(torch.ones(family.num_worlds, dtype=torch.bool), task_ND, key_N)


def brief_benchmark(name: str, bar: Bar, measure: Callable[[Effort], Result]) -> Benchmark:
    """Runs `measure` briefly on the threads that act; says what is not installed."""

    def run(effort: Effort) -> list[Result]:
        try:
            with torch_threads(ACTING):
                return [measure(brief(effort))]
        except MissingExtraError as error:
            return [Result(name, None, bar, notes=(f"skipped: {error}",))]

    return Benchmark(name, run)


def brief(effort: Effort) -> Effort:
    """As much as each of many families is given."""
    seconds = min(SECONDS, effort.plan.seconds)
    plan = replace(
        effort.plan, seconds=seconds, min_repetitions=min(2, effort.plan.min_repetitions)
    )
    return replace(effort, plan=plan, episode_length=min(STEPS, effort.episode_length))
