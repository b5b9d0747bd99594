"""A discovered learning rule as a file, so that anyone can learn by it.

One JSON object: what kind of rule it is and how large, where it comes from, and its numbers. Those
that come with the package lie in `discovered/` and go by their names.

Shape legend: M parameters.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from quickstudy.agents.objectives.dpo_family import DPOFamily, DPOFamilyConfig
from quickstudy.agents.objectives.drifts import LearnedDrift, LearnedDriftConfig
from quickstudy.agents.objectives.layout import Layout
from quickstudy.agents.objectives.lifetime import TIME_FEATURES
from quickstudy.agents.objectives.lpg import LPG, LPGConfig
from quickstudy.agents.objectives.schedule import Schedule, ScheduleConfig
from quickstudy.envs.atomic_files import read_json, write_json
from quickstudy.envs.errors import unknown

FORMAT = 1
"""Raised when an older quickstudy could misread what a newer one writes."""

SHIPPED = Path(__file__).resolve().parent / "discovered"
"""Where the package keeps its own."""

Kind = Literal["drift", "dpo", "lpg", "schedule"]
"""A learned drift (LPO, TA-LPO), one distilled into DPO's family, a learned policy gradient (LPG,
TA-LPG), or a schedule of PPO's entropy bonus and discount."""

Network = LearnedDrift | DPOFamily | LPG | Schedule


@dataclass(frozen=True)
class Provenance:
    """How a rule was found."""

    command: str
    seeds: tuple[int, ...]
    """Of the discovery."""
    environment_steps: int
    """All that were spent on it."""
    versions: dict[str, str | None]
    """Of the packages."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else there is to know: plain types."""


@dataclass(frozen=True)
class Discovered:
    """A rule with all that is needed to learn by it."""

    kind: Kind
    network: Network
    rule_M: Tensor
    """`(M,)` float32."""
    provenance: Provenance

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        assert self.rule_M.shape == (self.network.layout.num_parameters,)
        numbers = self.rule_M.tolist()  # float64 holds every float32, and JSON every float64
        write_json(
            path,
            {
                "format": FORMAT,
                "kind": self.kind,
                "config": asdict(self.network.config),
                "num_parameters": len(numbers),
                "sha256": _checksum(self.rule_M),
                "provenance": asdict(self.provenance),
                "rule": numbers,
            },
        )

    @classmethod
    def load(cls, path: Path) -> "Discovered":
        """Read a file and check it.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is damaged, of another format or kind, or its numbers are not those
                that were written; it names the file and what is wrong.
        """
        record = read_json(path)
        try:
            return cls(*_parsed(record))
        except ValueError as error:
            raise ValueError(f"{path} is no usable discovered rule: {error}") from error


def shipped_names() -> list[str]:
    """The rules that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def find_discovered(name: str) -> Path:
    """The file of a shipped rule, or of a user's, absolute.

    Raises:
        ValueError: if `name` is neither; it lists the shipped ones and suggests the nearest.
    """
    if name in shipped_names():
        return SHIPPED / f"{name}.json"
    path = Path(name).expanduser().resolve()
    if path.is_file():
        return path
    raise unknown("discovered rule (and there is no such file)", name, shipped_names())


_NETWORKS: dict[Kind, Callable[[dict[str, Any]], Network]] = {
    "drift": lambda config: LearnedDrift(LearnedDriftConfig(**config)),
    "dpo": lambda config: DPOFamily(DPOFamilyConfig(**config)),
    "lpg": lambda config: LPG(LPGConfig(**config)),
    "schedule": lambda config: Schedule(ScheduleConfig(**config)),
}


def _parsed(record: Any) -> tuple[Kind, Network, Tensor, Provenance]:
    """Raises `ValueError` that says what is wrong."""
    if not isinstance(record, dict) or "format" not in record:
        raise ValueError("it was not written by quickstudy.")
    if record["format"] != FORMAT:
        raise ValueError(f"its format is {record['format']!r}, this quickstudy reads {FORMAT}.")
    missing = {"kind", "config", "num_parameters", "sha256", "provenance", "rule"} - record.keys()
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}.")
    network = _network(record["kind"], record["config"])
    rule_M = _rule(record, network.layout)
    return record["kind"], network, rule_M, _provenance(record["provenance"])


def _network(kind: Any, config: Any) -> Network:
    if not isinstance(kind, str) or kind not in _NETWORKS:
        raise unknown("kind", kind, _NETWORKS)
    if isinstance(config, dict) and config.get("time", "none") not in TIME_FEATURES:
        raise unknown("time features", config["time"], TIME_FEATURES)
    try:
        return _NETWORKS[kind](config)
    except TypeError as error:
        raise ValueError(f"its config does not fit its kind {kind}: {error}.") from error


def _rule(record: dict[str, Any], layout: Layout) -> Tensor:
    try:
        rule_M = torch.tensor(record["rule"], dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError("its rule is not a list of numbers.") from error
    fits = rule_M.shape == (layout.num_parameters,)
    if not fits or record["num_parameters"] != layout.num_parameters:
        raise ValueError(
            f"its rule has the shape {tuple(rule_M.shape)}, it says {record['num_parameters']!r} "
            f"parameters, and its config takes {layout.num_parameters}."
        )
    if _checksum(rule_M) != record["sha256"]:
        raise ValueError("its rule does not match its sha256.")
    if not rule_M.isfinite().all():
        raise ValueError("its rule is not finite.")
    return rule_M


def _provenance(record: Any) -> Provenance:
    try:
        provenance = Provenance(**record)
    except TypeError as error:
        raise ValueError(f"its provenance is incomplete: {error}.") from error
    return Provenance(**{**asdict(provenance), "seeds": tuple(provenance.seeds)})


def _checksum(rule_M: Tensor) -> str:
    """SHA-256 of the numbers as little-endian float32."""
    return hashlib.sha256(rule_M.detach().cpu().numpy().astype("<f4").tobytes()).hexdigest()
