"""Files that a command writes at its end."""

import json
from pathlib import Path
from typing import Any

from quickstudy.experiments.run_folder import command_line, package_versions


def require_folder_of(file: Path | None) -> None:
    """Refuse an output file that could not be written, before the work is done.

    Raises:
        ValueError: if the folder that `file` is to be in does not exist.
    """
    if file is not None and not file.resolve().parent.is_dir():
        raise ValueError(f"{file} cannot be written: there is no folder {file.resolve().parent}.")


def write_result(file: Path | None, content: dict[str, Any]) -> None:
    """Write a result, with the command and the versions behind it, where a file is asked for."""
    if file is not None:
        file.write_text(json.dumps(origin() | content, indent=1) + "\n")


def origin() -> dict[str, Any]:
    """The command and the versions behind a result."""
    return {"command": command_line(), "versions": package_versions()}
