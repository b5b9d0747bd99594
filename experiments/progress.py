"""The live display of a training run."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from quickstudy.experiments.config import TrainConfig

PLAIN_LINES = 20
"""Lines printed over a run where there is no terminal to animate."""


class LiveBar:
    """A progress bar on a terminal, with texts beside it; nothing elsewhere."""

    def __init__(self, console: Console, name: str, total: float, texts: Sequence[str]) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *(TextColumn(f"{{task.fields[{text}]}}") for text in texts),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        empty: dict[str, Any] = dict.fromkeys(texts, "")
        self._task = self._progress.add_task(name, total=total, **empty)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _move(self, done: float, texts: dict[str, str]) -> None:
        fields: dict[str, Any] = dict(texts)
        self._progress.update(self._task, completed=done, **fields)


class Display(LiveBar):
    """A progress bar on a terminal; twenty plain lines elsewhere."""

    def __init__(self, config: TrainConfig, console: Console) -> None:
        name, texts = f"{config.family} {config.agent}", ("frames", "speed", "returns")
        super().__init__(console, name, config.num_updates, texts)
        self._config = config

    def show(self, update: int, frames: int, speed: float, returns: list[float]) -> None:
        """Show the state after an update: frames done, frames per second, return per episode."""
        texts = {
            "frames": f"{frames / 1e6:.2f} M frames",
            "speed": f"{speed / 1e3:.1f} k/s",
            "returns": "return " + " → ".join(f"{r:.1f}" for r in returns),
        }
        self._move(update, texts)
        every = max(1, self._config.num_updates // PLAIN_LINES)
        due = update % every == 0 or update == self._config.num_updates
        if not self._console.is_terminal and due:
            self._console.print(f"{self._config.family}: " + ", ".join(texts.values()))
