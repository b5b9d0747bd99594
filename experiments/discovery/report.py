"""`quickstudy discover report`: what a discovered rule is, and what it came to."""

from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from quickstudy.agents.objectives.discovered import Discovered, find_discovered, shipped_names
from quickstudy.agents.objectives.lpg import LPG
from quickstudy.agents.objectives.schedule import Schedule
from quickstudy.envs.atomic_files import read_json, write_json
from quickstudy.envs.errors import require_positive
from quickstudy.experiments.discovery.discover import RULE, shown
from quickstudy.experiments.discovery.drift_report import drift_findings
from quickstudy.experiments.discovery.findings import Findings, without_nan
from quickstudy.experiments.discovery.lpg_report import lpg_findings
from quickstudy.experiments.discovery.schedule_report import schedule_findings
from quickstudy.experiments.output_files import require_folder_of
from quickstudy.experiments.plots import has_matplotlib


def report(name: str, folder: Path | None, total: int, console: Console) -> Path:
    """Print what a rule is; write its figures, pictures and distilled rules; returns the folder.

    Args:
        name: a run folder of `discover`, a rule's file, or the name of a shipped rule.
        folder: where to write, made if it is not there; None: `report` in a run folder, else
            `<name>-report` in the present one.
        total: N of the life that the rule is looked at over.
        console: where to print.

    Raises:
        ValueError: for a rule that is not there or is damaged, or a folder that cannot be made.
    """
    require_positive("updates", total)
    file = rule_file(name)
    folder = _default_folder(name, file) if folder is None else folder
    _require_room_for(folder)
    found = Discovered.load(file)
    findings = examine(found, total)
    for table in (_origin(found, file), *findings.tables):
        console.print(table)
    for note in findings.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    folder.mkdir(exist_ok=True)
    for written in _write(found, findings, folder, total):
        console.print(f"Written: {written}", markup=False, highlight=False, soft_wrap=True)
    if not has_matplotlib():
        console.print("(No pictures: they need matplotlib, pip install 'quickstudy\\[plots]'.)")
    return folder


def examine(found: Discovered, total: int) -> Findings:
    """All there is to say about a rule over a life of `total` updates."""
    network = found.network
    if isinstance(network, LPG):
        return lpg_findings(found, network, total)
    if isinstance(network, Schedule):
        return schedule_findings(found, network, total)
    return drift_findings(found, network, total)


def rule_file(name: str) -> Path:
    """The file of a run folder's rule, of a shipped rule, or the one named.

    Raises:
        ValueError: if there is none.
    """
    folder = Path(name).expanduser()
    if name in shipped_names() or not folder.is_dir():
        return find_discovered(name)
    if not (folder / RULE).is_file():
        raise ValueError(
            f"{folder} holds no {RULE}: its discovery has not ended, or its rules are of a kind "
            "that stays in the checkpoints."
        )
    return folder / RULE


def _default_folder(name: str, file: Path) -> Path:
    return file.parent / "report" if Path(name).is_dir() else Path(f"{file.stem}-report")


def _require_room_for(folder: Path) -> None:
    require_folder_of(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is no folder.")


def _write(found: Discovered, findings: Findings, folder: Path, total: int) -> list[Path]:
    record = {"kind": found.kind, "provenance": asdict(found.provenance), "updates": total}
    figures = folder / "report.json"
    write_json(figures, without_nan(record | findings.record))
    written = [figures]
    for name, rule in findings.rules.items():
        written.append(folder / f"{name}.json")
        rule.save(written[-1])
    if has_matplotlib():
        for name, make in findings.pictures.items():
            written.append(folder / f"{name}.png")
            make().savefig(written[-1])
    return written


def _origin(found: Discovered, file: Path) -> Table:
    table = Table("", "", box=box.SIMPLE, show_header=False, title=str(file))
    origin = found.provenance
    table.add_row("kind", found.kind)
    table.add_row("sizes", str(found.network.config))
    table.add_row("parameters", f"{len(found.rule_M)}, of length {float(found.rule_M.norm()):.4g}")
    table.add_row("found by", origin.command)
    table.add_row("environment steps", f"{origin.environment_steps:,}")
    evaluation = file.parent / "evaluation.json"
    if evaluation.exists():
        figures = read_json(evaluation)["figures"]
        table.add_row("score of the final rule", shown(figures, "final/score"))
        table.add_row("more than its first rule", shown(figures, "final/gain"))
    return table
