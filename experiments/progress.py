"""The live display of a training run."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from quickstudy.experiments.config import TrainConfig

PLAIN_LINES = 20
"""Lines printed over a run where there is no terminal to animate."""


class Display:
    """A progress bar on a terminal; twenty plain lines elsewhere."""

    def __init__(self, config: TrainConfig, console: Console) -> None:
        self._config = config
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[frames]}"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[returns]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            f"{config.family} {config.agent}",
            total=config.num_updates,
            frames="",
            speed="",
            returns="",
        )

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, update: int, frames: int, speed: float, returns: list[float]) -> None:
        """Show the state after an update: frames done, frames per second, return per episode."""
        texts = {
            "frames": f"{frames / 1e6:.2f} M frames",
            "speed": f"{speed / 1e3:.1f} k/s",
            "returns": "return " + " → ".join(f"{r:.1f}" for r in returns),
        }
        self._progress.update(self._task, completed=update, **texts)  # type: ignore[arg-type]  # fields
        every = max(1, self._config.num_updates // PLAIN_LINES)
        due = update % every == 0 or update == self._config.num_updates
        if not self._console.is_terminal and due:
            self._console.print(f"{self._config.family}: " + ", ".join(texts.values()))
