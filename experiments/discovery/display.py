"""The live display of a discovery."""

from rich.console import Console

from quickstudy.experiments.discovery.discovery import Discovery, Generation
from quickstudy.experiments.progress import PLAIN_LINES, LiveBar


class Display(LiveBar):
    """A progress bar on a terminal; twenty plain lines elsewhere."""

    def __init__(self, discovery: Discovery, console: Console) -> None:
        super().__init__(console, discovery.config.preset, float(PLAIN_LINES), ("text",))
        self._discovery = discovery
        self._shown = -1

    def show(self, generation: Generation) -> None:
        """Show the state after a generation: steps, steps per second, score of the centre."""
        discovery, part = self._discovery, self._discovery.part_done * PLAIN_LINES
        speed = generation.steps / generation.seconds / 1e3
        text = (
            f"generation {discovery.generation}, {discovery.steps / 1e6:.2f} M steps, "
            f"{speed:.0f} k/s, {_score(generation.metrics)}"
        )
        self._move(part, {"text": text})
        if not self._console.is_terminal and int(part) > self._shown:
            self._console.print(f"{discovery.config.preset}: {text}", markup=False)
        self._shown = int(part)


def _score(metrics: dict[str, float]) -> str:
    if "centre/score" not in metrics:
        return "every agent broke"
    point, low, high = (metrics[f"centre/score{end}"] for end in ("", "_low", "_high"))
    return f"score {point:.4g} [{low:.4g}, {high:.4g}]"
