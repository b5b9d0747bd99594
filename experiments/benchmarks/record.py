"""Makes one JSON record of a finished run: what it was, what it reached, and its curve.

python -m quickstudy.experiments.benchmarks.record RUN RECORD.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from quickstudy.experiments.run_folder import RunFolder

CURVE_POINTS = 100


def record(run_dir: Path) -> dict[str, Any]:
    """Configuration, versions, final evaluation and a curve of about 100 points.

    Raises:
        ValueError: if the folder holds no run.
        FileNotFoundError: if the run has not finished.
    """
    run = RunFolder(run_dir)
    rows = run.metrics.rows()
    seconds = sum(
        row["perf/rollout_seconds"] + row["perf/update_seconds"] for row in run.perf.rows()
    )
    environment = json.loads((run_dir / "environment.json").read_text())
    program, *arguments = environment["command"]
    environment["command"] = [Path(program).name, *arguments]
    return {
        "config": run.config(),
        "environment": environment,
        "training_seconds": round(seconds, 1),
        "evaluation": json.loads((run_dir / "evaluation.json").read_text()),
        "curve": [_adaptation(row) for row in _thinned(rows)],
    }


def _thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every n-th row and the last."""
    step = max(1, len(rows) // CURVE_POINTS)
    return rows[step - 1 :: step] if len(rows) % step == 0 else [*rows[step - 1 :: step], rows[-1]]


def _adaptation(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name.startswith(("adapt/", "eval/"))}
    return {"update": row["update"], "frames": row["frames"], **kept}


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(record(source)) + "\n")
