"""The live display of a discovery."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from quickstudy.experiments.discovery.discovery import Discovery, Generation
from quickstudy.experiments.progress import PLAIN_LINES


class Display:
    """A progress bar on a terminal; twenty plain lines elsewhere."""

    def __init__(self, discovery: Discovery, console: Console) -> None:
        self._discovery = discovery
        self._console = console
        self._shown = -1
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        name = discovery.config.preset
        self._task = self._progress.add_task(name, total=float(PLAIN_LINES), text="")

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

    def show(self, generation: Generation) -> None:
        """Show the state after a generation: steps, steps per second, score of the centre."""
        discovery, part = self._discovery, self._discovery.part_done * PLAIN_LINES
        speed = generation.steps / generation.seconds / 1e3
        text = (
            f"generation {discovery.generation}, {discovery.steps / 1e6:.2f} M steps, "
            f"{speed:.0f} k/s, {_score(generation.metrics)}"
        )
        self._progress.update(self._task, completed=part, text=text)
        if not self._console.is_terminal and int(part) > self._shown:
            self._console.print(f"{discovery.config.preset}: {text}", markup=False)
        self._shown = int(part)


def _score(metrics: dict[str, float]) -> str:
    if "centre/score" not in metrics:
        return "every agent broke"
    point, low, high = (metrics[f"centre/score{end}"] for end in ("", "_low", "_high"))
    return f"score {point:.4g} [{low:.4g}, {high:.4g}]"
