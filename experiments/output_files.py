"""Files that a command writes at its end."""

from pathlib import Path


def require_folder_of(file: Path | None) -> None:
    """Refuse an output file that could not be written, before the work is done.

    Raises:
        ValueError: if the folder that `file` is to be in does not exist.
    """
    if file is not None and not file.resolve().parent.is_dir():
        raise ValueError(f"{file} cannot be written: there is no folder {file.resolve().parent}.")
