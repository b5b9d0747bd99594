"""The terminal that commands write to."""

from rich.console import Console

PLAIN_WIDTH = 120
"""Columns where the output goes to a file or a pipe."""


def make_console() -> Console:
    """A console as wide as the terminal, or 120 columns elsewhere."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
