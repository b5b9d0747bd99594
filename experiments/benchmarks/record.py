"""One JSON record of a finished training or discovery: what it was, what it reached, its curve.

python -m quickstudy.experiments.benchmarks.record RUN RECORD.json [EVALUATION.json]

EVALUATION.json (from `quickstudy eval RUN --json`) stands in for the run's own final evaluation.
"""

import json
import sys
from pathlib import Path
from typing import Any

from quickstudy.experiments.run_folder import RunFolder, typed

CURVE_POINTS = 100
CURVES = ("adapt/", "eval/", "centre/", "discovery/", "rule/")
"""What a curve is kept of: of a training the first two, of a discovery the others."""
SECONDS = ("perf/rollout_seconds", "perf/update_seconds", "perf/seconds")
"""What adds up to the time of a training (the first two), and of a discovery."""
MOST_TASKS = 1000
"""Of more tasks, only what is said about them is kept."""
PER_TASK = (
    *("tasks", "returns", "returns_by_seed", "returns_memory_wiped_by_seed"),
    "successes_by_seed",
)


def record(run_dir: Path, evaluation: Path | None = None) -> dict[str, Any]:
    """Configuration, versions, an evaluation (the final one if None) and about 100 curve points.

    Raises:
        ValueError: if the folder holds no run.
        FileNotFoundError: if the run has not finished.
    """
    run = RunFolder(run_dir)
    rows = run.metrics.rows()
    seconds = sum(row[name] for row in run.perf.rows() for name in SECONDS if name in row)
    environment = json.loads((run_dir / "environment.json").read_text())
    program, *arguments = environment["command"]
    environment["command"] = [typed([program]), *arguments]
    return {
        "config": run.config(),
        "environment": environment,
        "training_seconds": round(seconds, 1),
        "evaluation": _evaluation(evaluation or run_dir / "evaluation.json"),
        "curve": [_curve_point(row) for row in _thinned(rows)],
    }


def _evaluation(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    if len(found.get("tasks", ())) > MOST_TASKS:
        found = {name: value for name, value in found.items() if name not in PER_TASK}
    return found


def _thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every n-th row and the last."""
    step = max(1, len(rows) // CURVE_POINTS)
    return rows[step - 1 :: step] if len(rows) % step == 0 else [*rows[step - 1 :: step], rows[-1]]


def _curve_point(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name.startswith(CURVES)}
    return {"update": row["update"], "frames": row["frames"], **kept}


if __name__ == "__main__":
    source, target, *evaluations = map(Path, sys.argv[1:])
    target.write_text(json.dumps(record(source, *evaluations)) + "\n")
