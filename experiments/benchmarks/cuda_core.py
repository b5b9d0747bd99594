"""Acting and training on a GPU, in ever more worlds: physics, environments, policy, updates.

All of a family's cases with so many worlds are timed in turns: a captured step of physics alone, of
the whole environment, and of agents in it. Each takes the same kind of random (or sampled)
actions. Training is timed by itself, over whole updates, since one lasts seconds.

Shape legend: T steps, N worlds, A action dimensions.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.agents.captured import CapturedActor, CudaGraph, Graph, recorded
from quickstudy.agents.fixed_places import survey
from quickstudy.envs import rng
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.trials import TrialEnv
from quickstudy.experiments.benchmarks.cuda_clock import counting, cuda_clock
from quickstudy.experiments.benchmarks.cuda_models import Clock, brief_plan, timed
from quickstudy.experiments.benchmarks.interleave import Case, Plan, interleave
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result, compare
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.training import Training, build_agent

WORLDS = (1024, 4096, 16_384, 65_536)
FAMILIES = ("HalfCheetahVel", "AntDir")
AGENTS = ("rl2", "s5")
NUM_ACTIONS = 16
"""Random actions of each world, taken in turn."""
EPISODES = 2
MOST_FRAMES = 3_276_800
"""Frames of a training update; in more worlds, episodes are shorter than 200 steps."""
MINIBATCHES = 8
ENVIRONMENT_SHARE = 0.9
"""Bar: of the physics' speed, from this many worlds on."""
SHARE_FROM = 4096
ENVIRONMENT_RATE = {"HalfCheetahVel": 1.0}
"""Bar: millions of environment steps per second."""
TRAINING_RATE = {"HalfCheetahVel": 0.3}
"""Bar: millions of frames per second."""
GIB = 2**30

OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where to measure, how to capture a step, and what tells the time."""

    device: str
    make_graph: Callable[[], Graph]
    clock: Clock


def cuda_core_benchmarks() -> list[Benchmark]:
    """Acting in 1 k … 65 k worlds, then training in them."""
    acting = [acting_benchmark(family, n) for family in FAMILIES for n in WORLDS]
    return [*acting, *(training_benchmark(f, a, n)
                       for f, a in training_pairs() for n in WORLDS)]  # fmt: skip


def training_pairs() -> list[tuple[str, str]]:
    """Families and agents that are trained."""
    first, *others = FAMILIES
    return [(first, agent) for agent in AGENTS] + [(family, AGENTS[0]) for family in others]


def on_cuda() -> Machine:
    """The present GPU."""
    return Machine("cuda", CudaGraph, cuda_clock())


# --- acting -----------------------------------------------------------------------------------


def acting_benchmark(family: str, num_worlds: int) -> Benchmark:
    """Physics, environment and agents, in turns."""
    title = f"{family}-{num_worlds}"

    def run(effort: Effort) -> list[Result]:
        return measure_acting(family, num_worlds, effort, on_cuda())

    return Benchmark(f"acting/{title}", run)


def measure_acting(family: str, num_worlds: int, effort: Effort, machine: Machine) -> list[Result]:
    """One result each for the environment and the agents; the reference is the physics."""
    title = f"{family}-{num_worlds}"
    free_before = free_memory(machine)
    try:
        env = make_env(family, num_worlds, effort, machine)
        walk = RandomWalk(env, effort.seed)
        runs = {
            "physics": captured(walk.push, walk.engine, machine),
            "environment": captured(walk.step, walk, machine),
        } | {f"policy-{name}": acting_agent(name, family, num_worlds, effort, machine)
             for name in AGENTS}  # fmt: skip
        counted = {name: counting(run, num_worlds) for name, run in runs.items()}
        physics, *measured = timed(counted, brief_plan(effort, 4.0), machine.clock)
        env.family.check_capacity()
    except (*OUT_OF_MEMORY, ValueError) as error:
        return [could_not_run(f"environment/{title}", error)]
    used = (free_before - free_memory(machine)) / GIB
    shared = ENVIRONMENT_SHARE if num_worlds >= SHARE_FROM else None
    results = []
    for m in measured:
        bar = Bar("at least", shared) if m.name == "environment" and shared else None
        details = {"M steps/s": m.rate / 1e6, "GPU memory of all GiB": used}
        results.append(compare(f"{m.name}/{title}", m, physics, bar, details=details))
    return [*results, *_rate_result(family, title, measured[0].rate)]


def _rate_result(family: str, title: str, rate: float) -> list[Result]:
    """The environment's own speed, where a bar is on it."""
    if family not in ENVIRONMENT_RATE:
        return []
    bar = Bar("at least", ENVIRONMENT_RATE[family])
    return [Result(f"environment-rate/{title}", rate / 1e6, bar, "M/s")]


class RandomWalk:
    """Random actions in an environment, or on its physics alone, without a look."""

    def __init__(self, env: TrialEnv, seed: int) -> None:
        self.env = env
        key_N = rng.world_keys(seed, rng.Stream.ACTION, env.num_worlds, env.device)
        number_T1 = torch.arange(NUM_ACTIONS, device=env.device).unsqueeze(1)
        size = env.blank_action.shape[1]
        u_TNA = rng.uniform(rng.fold_in(key_N, number_T1), size)
        self.action_TNA = (2.0 * u_TNA - 1.0).to(torch.float32)
        self.number_1 = torch.zeros(1, dtype=torch.int64, device=env.device)
        assert isinstance(env.family, MujocoFamily)
        self.engine = env.family.engine
        env.reset(seed)

    def push(self) -> None:
        """Step the physics, and nothing else."""
        self.engine.data["ctrl"].copy_(self._next_action())
        self.engine.step()

    def step(self) -> None:
        """Step the environment."""
        self.env.step(self._next_action())

    def _next_action(self) -> Tensor:
        self.number_1.add_(1).remainder_(NUM_ACTIONS)
        return self.action_TNA.index_select(0, self.number_1).squeeze(0)


def captured(step: Callable[[], None], owner: object, machine: Machine) -> Callable[[], None]:
    """The step as a graph, which may change what `owner` reaches; call it to take the step."""
    graph = machine.make_graph()
    recorded(graph, step, functools.partial(survey, {"owner": owner}))
    # Bound late: some graphs have no `replay` before they are recorded.
    return lambda: graph.replay()


def acting_agent(
    name: str, family: str, num_worlds: int, effort: Effort, machine: Machine
) -> Callable[[], None]:
    """One captured step of an agent in worlds of its own; its storage is written over and over."""
    training = gpu_config(family, name, num_worlds, effort, machine)
    env = make_env(family, num_worlds, effort, machine)
    agent = build_agent(training, env).place(env.family.placement)
    actor = CapturedActor.start(agent, env, effort.seed)
    actor.make_graph = machine.make_graph
    actor.collect(NUM_ACTIONS)
    step = actor.captured
    assert step is not None
    rows = itertools.cycle(range(NUM_ACTIONS))

    def run() -> None:
        if next(rows) == 0:
            step.storage.rewind()
        step.graph.replay()

    return run


def make_env(family: str, num_worlds: int, effort: Effort, machine: Machine) -> TrialEnv:
    """Worlds on the machine."""
    return TrialEnv(family, num_worlds, episode_length=effort.episode_length, device=machine.device)


# --- training ---------------------------------------------------------------------------------


def training_benchmark(family: str, agent: str, num_worlds: int) -> Benchmark:
    """Frames per second of whole updates: rollout and learning."""

    def run(effort: Effort) -> list[Result]:
        return measure_training(family, agent, num_worlds, effort, on_cuda())

    return Benchmark(f"training/{family}-{agent}-{num_worlds}", run)


def measure_training(
    family: str, agent: str, num_worlds: int, effort: Effort, machine: Machine
) -> list[Result]:
    """The first update, in which the step is captured, is not counted."""
    title = f"training/{family}-{agent}-{num_worlds}"
    rate = TRAINING_RATE.get(family)
    bar = None if rate is None else Bar("at least", rate)
    free_before = free_memory(machine)
    try:
        training = Training(gpu_config(family, agent, num_worlds, effort, machine))
        parts = {"rollout s": 0.0, "update s": 0.0}

        def update() -> int:
            progress = training.update()
            parts["rollout s"] = progress.rollout_seconds
            parts["update s"] = progress.update_seconds
            return training.config.frames_per_update

        plan = Plan(rounds=1, seconds=4.0, min_repetitions=1, max_repetitions=3)
        (measured,) = interleave((Case(title, update),), plan, machine.clock)
    except (*OUT_OF_MEMORY, ValueError) as error:
        return [could_not_run(title, error)]
    used = (free_before - free_memory(machine)) / GIB
    details = parts | {"GPU memory GiB": used, "steps of a trial": training.config.trial_length}
    return [Result(title, measured.rate / 1e6, bar, "M/s", details=details)]


def gpu_config(
    family: str, agent: str, num_worlds: int, effort: Effort, machine: Machine
) -> TrainConfig:
    """A run with large minibatches, whose every update makes all its epochs."""
    length = min(effort.episode_length, max(1, MOST_FRAMES // (EPISODES * num_worlds)))
    frames = num_worlds * length * EPISODES
    config = resolve(
        TrainConfig(
            family=family,
            agent=agent,
            frames=frames,
            worlds=num_worlds,
            seed=effort.seed,
            device=machine.device,
            episode_length=length,
            episodes_per_trial=EPISODES,
        )
    )
    learner = dataclasses.replace(
        config.learner,
        epochs=effort.epochs,
        minibatch_frames=max(1, frames // MINIBATCHES),
        stop_divergence=math.inf,
    )
    return dataclasses.replace(config, learner=learner)


# --- memory -----------------------------------------------------------------------------------


def free_memory(machine: Machine) -> int:
    """Bytes free on the GPU once what is cached has been given back; 0 on the CPU."""
    if machine.device != "cuda":
        return 0
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def could_not_run(case: str, error: Exception) -> Result:
    """A case that found no room (or no GPU engine) says so; the others go on."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Result(case, None, notes=(f"could not run: {str(error).splitlines()[0]}",))
