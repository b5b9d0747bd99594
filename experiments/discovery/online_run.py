"""Long lives on disk: windows are lived, noted and saved, and a killed run goes on bit for bit.

Shape legend: W windows, P streams.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.discovery.online import Online
from quickstudy.experiments.progress import PLAIN_LINES
from quickstudy.experiments.run_folder import RunFolder
from quickstudy.experiments.signals import StopRequest

SAVE_EVERY = 500
"""Windows between checkpoints: a minute or two of the published streams."""


@dataclass(frozen=True)
class History:
    """What each window of each stream came to."""

    reward_WP: Tensor
    """Mean reward per step, float64."""
    entropy_WP: Tensor
    """ε of the window's last update, float32."""

    @classmethod
    def blank(cls, num_windows: int, num_streams: int) -> "History":
        shape = (num_windows, num_streams)
        return cls(torch.zeros(shape, dtype=torch.float64), torch.zeros(shape))


class OnlineRun:
    """A run of P streams that learn their rules, window by window."""

    def __init__(self, online: Online, num_windows: int) -> None:
        self.online = online
        self.num_windows = num_windows
        self.done = 0
        self.history = History.blank(num_windows, len(online.rule_PM))

    def window(self) -> None:
        """Live through one window and note it."""
        before_P, began_P = self.online.rows["earned"], self.online.rows["steps"]
        self.online.window()
        rows = self.online.rows
        self.history.reward_WP[self.done] = (rows["earned"] - before_P) / (rows["steps"] - began_P)
        self.history.entropy_WP[self.done] = rows["entropy_weight"]
        self.done += 1

    def state_dict(self) -> dict[str, Any]:
        """All that the rest depends on."""
        return {
            "online": self.online.state_dict(),
            "done": self.done,
            "reward": self.history.reward_WP,
            "entropy": self.history.entropy_WP,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, which may be that of a run that was to be shorter.

        Raises:
            ValueError: if it has already lived through more windows.
        """
        done = state["done"]
        if done > self.num_windows:
            raise ValueError(
                f"{done} windows have been lived already; steps are for {self.num_windows}: "
                "ask for more, or choose another folder."
            )
        total_P = self.online.rows["total"]
        self.online.load_state_dict(state["online"])
        self.online.rows = {**self.online.rows, "total": total_P}
        self.done = done
        self.history.reward_WP[:done] = state["reward"][:done]
        self.history.entropy_WP[:done] = state["entropy"][:done]


def live(run: OnlineRun, folder: Path, config: dict[str, Any], console: Console) -> OnlineRun:
    """Bring the run in `folder` to its end, from wherever it is.

    Raises:
        ValueError: for a folder with a longer run or one of another configuration, or one that is
            in use.
        SystemExit: after a signal to stop, once the run is saved.
    """
    with _opened(folder, config) as run_folder:
        checkpoints = Checkpoints(run_folder.checkpoints, keep=2)
        if checkpoints.paths():
            run.load_state_dict(checkpoints.load_latest()[0])
        _go_on(run, checkpoints, console, folder.name)
    return run


def _go_on(run: OnlineRun, checkpoints: Checkpoints, console: Console, name: str) -> None:
    began, first = time.perf_counter(), run.done
    with StopRequest() as stop:
        while run.done < run.num_windows:
            run.window()
            ends = run.done == run.num_windows or stop.received is not None
            if ends or run.done % SAVE_EVERY == 0:
                checkpoints.save(run.state_dict(), run.done)
            if ends or run.done % max(1, run.num_windows // PLAIN_LINES) == 0:
                seconds = (time.perf_counter() - began) / (run.done - first)
                console.print(f"{name}: {_progress(run, seconds)}", markup=False)
            if stop.received is not None:
                raise SystemExit(stop.exit_code)


def _progress(run: OnlineRun, seconds: float) -> str:
    """Where it is, what was earned lately, and how long it will take at `seconds` per window."""
    recent = slice(max(0, run.done - max(1, run.num_windows // PLAIN_LINES)), run.done)
    reward, entropy = (
        float(x[recent].mean()) for x in (run.history.reward_WP, run.history.entropy_WP)
    )
    minutes = seconds * (run.num_windows - run.done) / 60
    steps = int(run.online.rows["steps"][0])
    return (
        f"{steps / 1e6:.2f} M steps, reward per step {reward:.3f}, ε {entropy:.2f}, "
        f"{seconds * 1e3:.0f} ms per window, {minutes:.0f} min to go"
    )


def _opened(folder: Path, config: dict[str, Any]) -> RunFolder:
    command = sys.argv
    if not (folder / "config.json").exists():
        return RunFolder.create(folder, config, command)
    kept = RunFolder(folder).config()
    if kept != config:
        changed = [name for name in config if kept.get(name) != config[name]]
        raise ValueError(
            f"{folder} holds a run with another {', '.join(changed)}: choose another folder."
        )
    return RunFolder.resume(folder, command)
