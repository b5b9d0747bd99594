"""What rules come to on lives that no discovery has seen. Done once, and kept in a folder.

All who sit an exam have the same keys: the same tasks, first weights and luck, so that they can be
compared life by life.

Shape legend: n lives, S rules (one per meta-seed), M parameters of a rule.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from torch import Tensor

from quickstudy.agents.lifetimes.tabular import RuleConfig, TabularConfig, TabularLifetimes
from quickstudy.envs.atomic_files import read_json, write_json
from quickstudy.experiments.discovery.estimators.pairs import chunks
from quickstudy.experiments.discovery.keys import Purpose, keys
from quickstudy.experiments.discovery.workers import begin_process, process_pool
from quickstudy.experiments.threads import ACTING, torch_threads

_SIDE_BY_SIDE = 128
"""Lives at a time: few enough for the tables of large tasks."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Exam:
    """Lives to judge rules by; those of one purpose and seed are the same at any length."""

    lives: TabularConfig
    count: int
    """n."""
    seed: int
    purpose: Purpose = Purpose.EXAM

    def life_keys(self) -> Tensor:
        """`(n,)`."""
        return keys(self.seed, self.purpose, 0, self.count)

    def under(self, rule: RuleConfig) -> "Exam":
        """The same lives, learned by another kind of rule."""
        return replace(self, lives=replace(self.lives, rule=rule))

    def lasting(self, updates: int) -> "Exam":
        """The same tasks, all lives of this length."""
        return replace(self, lives=replace(self.lives, min_updates=updates, max_updates=updates))


@dataclass(frozen=True)
class Contender:
    """Who sits an exam: rules of one kind."""

    rule: RuleConfig
    rule_SM: Tensor


@dataclass(frozen=True)
class Outcome:
    """Of one exam."""

    score_Sn: dict[str, Tensor]
    """Undiscounted returns at the end of life, float64, by contender; NaN where tables broke."""
    optimal_n: Tensor
    """What optimal policies earn on the same tasks, exactly."""


Sitting = tuple[Exam, Tensor | None]
"""An exam and the rule `(M,)` that sits it; None: optimal policies."""

Plan = Mapping[str, tuple[Exam, Mapping[str, Contender]]]
"""Exams by name, and who sits each by name."""


def hold(exams: Plan, folder: Path, processes: int, console: Console) -> dict[str, Outcome]:
    """All exams, each with its contenders.

    Raises:
        ChildProcessError: if a process died; what was done until then is kept.
    """
    sittings: dict[str, Sitting] = {}
    for name, (exam, contenders) in exams.items():
        sittings[f"{name}/optimal"] = (exam, None)
        for who, contender in contenders.items():
            own = exam.under(contender.rule)
            rules = enumerate(contender.rule_SM)
            sittings |= {f"{name}/{who}-s{s}": (own, rule_M) for s, rule_M in rules}
    done = sat(sittings, folder, processes, console)
    return {name: _outcome(name, contenders, done) for name, (_, contenders) in exams.items()}


def _outcome(name: str, contenders: Mapping[str, Contender], done: Mapping[str, Tensor]) -> Outcome:
    scores = {
        who: torch.stack([done[f"{name}/{who}-s{s}"] for s in range(len(contender.rule_SM))])
        for who, contender in contenders.items()
    }
    return Outcome(scores, done[f"{name}/optimal"])


def sat(
    sittings: Mapping[str, Sitting], folder: Path, processes: int, console: Console
) -> dict[str, Tensor]:
    """`(n,)` returns of every sitting; those in the folder, under the same name, are read there.

    Raises:
        ChildProcessError: if a process died; what was done until then is kept.
    """
    found = {name: _kept(folder / f"{name}.json", sitting) for name, sitting in sittings.items()}
    missing = {name: sittings[name] for name, score_n in found.items() if score_n is None}
    for number, (name, score_n) in enumerate(_done(missing, processes), start=1):
        found[name] = score_n
        _keep(folder / f"{name}.json", missing[name], score_n)
        console.print(f"exam {number} of {len(missing)}: {name}", markup=False)
    return {name: score_n for name, score_n in found.items() if score_n is not None}


@torch.no_grad()
def returns(sitting: Sitting) -> Tensor:
    """`(n,)` float64; rows of lives whose tables broke are NaN."""
    exam, rule_M = sitting
    lifetimes, key_n = TabularLifetimes(exam.lives), exam.life_keys()
    parts = [key_n[part] for part in chunks(exam.count, _SIDE_BY_SIDE)]
    if rule_M is None:
        return torch.cat([lifetimes.optimal_return(key) for key in parts])
    lived = [lifetimes.live(rule_M.expand(len(key), -1), key) for key in parts]
    return torch.cat([life.score_P for life in lived])


# --- over processes ---------------------------------------------------------------------------


def _done(sittings: Mapping[str, Sitting], processes: int) -> Iterator[tuple[str, Tensor]]:
    """Returns by name, in order, as soon as they are there."""
    if processes == 1 or not sittings:
        with torch_threads(ACTING):
            yield from ((name, returns(sitting)) for name, sitting in sittings.items())
        return
    pool = process_pool(processes, begin_process)
    try:
        results = pool.map(_work, map(_packed, sittings.values()))
        yield from zip(sittings, map(torch.from_numpy, results), strict=True)
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "A process died in the middle of an exam (killed, out of memory?). Run the command "
            "again: what is done is kept."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _packed(sitting: Sitting) -> tuple[Exam, Array | None]:
    # Tensors themselves would be sent as handles of shared memory.
    exam, rule_M = sitting
    return exam, None if rule_M is None else rule_M.numpy()


def _work(packed: tuple[Exam, Array | None]) -> Array:
    """In a process of the pool."""
    exam, rule_M = packed
    rule = None if rule_M is None else torch.from_numpy(np.array(rule_M))
    return np.asarray(returns((exam, rule)).numpy())


# --- on disk ----------------------------------------------------------------------------------


def _kept(path: Path, sitting: Sitting) -> Tensor | None:
    """None if nothing is kept there, or something else."""
    if not path.exists():
        return None
    record = read_json(path)
    if record["of"] != _fingerprint(sitting):
        return None
    numbers = [math.nan if x is None else x for x in record["returns"]]
    return torch.tensor(numbers, dtype=torch.float64)


def _keep(path: Path, sitting: Sitting, score_n: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = [x if math.isfinite(x) else None for x in score_n.tolist()]
    write_json(path, {"of": _fingerprint(sitting), "returns": numbers})


def _fingerprint(sitting: Sitting) -> str:
    """Of all that the returns depend on."""
    exam, rule_M = sitting
    rule = b"" if rule_M is None else rule_M.contiguous().numpy().tobytes()
    return hashlib.sha256(json.dumps(asdict(exam)).encode() + rule).hexdigest()
