"""Peak memory of training: one update in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from quickstudy.experiments.benchmarks.result import Bar, Benchmark, Effort, Result

FAMILY = "HalfCheetahDir"
GIB = 2**30


def memory_benchmark(num_worlds: int, at_most: float) -> Benchmark:
    """Peak resident memory of `train`, in GiB."""
    name = f"memory/{FAMILY}-{num_worlds}"

    def run(effort: Effort) -> list[Result]:
        spec = {
            "worlds": num_worlds,
            "episode_length": effort.episode_length,
            "epochs": effort.epochs,
            "seed": effort.seed,
        }
        peak = measure_in_subprocess(spec)
        return [Result(name, peak / GIB, Bar("at most", at_most), "GiB")]

    return Benchmark(name, run)


def measure_in_subprocess(spec: dict[str, int]) -> int:
    """Bytes that a process doing one update has resident at its peak."""
    command = [sys.executable, "-m", __name__, json.dumps(spec)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout)


def peak_of_one_update(spec: dict[str, int]) -> int:
    """Train for one update in this process; returns its peak resident bytes so far."""
    from quickstudy.agents.learner import LearnerConfig
    from quickstudy.experiments.config import TrainConfig, resolve
    from quickstudy.experiments.training import Training

    config = TrainConfig(
        family=FAMILY,
        worlds=spec["worlds"],
        episode_length=spec["episode_length"],
        seed=spec["seed"],
        learner=LearnerConfig(epochs=spec["epochs"]),
    )
    Training(resolve(config)).update()
    return _peak_resident()


def _peak_resident() -> int:
    """This process's own peak, in bytes.

    `getrusage` would do, but on Linux a child started by `vfork` inherits its parent's peak there.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM.")


if __name__ == "__main__":
    sys.stdout.write(f"{peak_of_one_update(json.loads(sys.argv[1]))}\n")
