"""What a teacher costs: milliseconds per episode that it is told of and replaces.

Shape legend: N worlds.
"""

import time
from statistics import mean, median

import torch
from torch import Tensor

from quickstudy.curricula.curriculum import Curriculum
from quickstudy.curricula.teachers import make_teacher
from quickstudy.envs.tasks import BoxTasks, Parameter
from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result
from quickstudy.experiments.threads import ACTING, torch_threads

SPACE = BoxTasks(Parameter("height", 0.0, 1.0, "m"), Parameter("spacing", 0.0, 1.0, "m"))
ROUNDS = 80
QUICK_ROUNDS = 8


def teacher_benchmark(name: str, num_worlds: int, at_most: float) -> Benchmark:
    """One teacher of a two-dimensional space, where every world ends one episode per round.

    A quarter of the rounds come first, untimed. The value is the mean over the rest, since some
    teachers do most of their work in some of the rounds.
    """
    case = f"teachers/{name}-{num_worlds}"

    def run(effort: Effort) -> list[Result]:
        rounds = ROUNDS if effort.epochs > 1 else QUICK_ROUNDS
        curriculum = Curriculum(make_teacher(name, 2, effort.seed), SPACE, num_worlds)
        with torch_threads(ACTING):
            times = [
                round_ms(curriculum, num_worlds, progress / rounds) for progress in range(rounds)
            ]
        timed = times[rounds // 4 :]
        details = {"median ms": median(timed), "worst ms": max(timed), "rounds": float(len(timed))}
        return [Result(case, mean(timed), Bar("at most", at_most), "ms", details=details)]

    return Benchmark(case, run)


def round_ms(curriculum: Curriculum, num_worlds: int, progress: float) -> float:
    """Milliseconds per episode of a round: telling the scores and planning anew."""
    world_N = torch.arange(num_worlds)
    score_N = success(curriculum.levels(world_N).points, progress)
    start = time.perf_counter()
    curriculum.observe(world_N, score_N)
    return 1e3 * (time.perf_counter() - start) / num_worlds


def success(points: Tensor, progress: float) -> Tensor:
    """A student who masters the space outwards from a corner: 1 or 0 for each level, `(N,)`."""
    mastered_N: Tensor = points.norm(dim=1) < 1.4 * progress
    return mastered_N.to(torch.float64)
