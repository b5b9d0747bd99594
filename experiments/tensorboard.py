"""What a run shows in TensorBoard; the step axis is environment frames."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter


class Dashboard:
    """One run's scalars, dashboard layout, tables and pictures."""

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        """Open the event file.

        Args:
            folder: the run folder.
            purge_step: on resuming, the frames already done: later events of the interrupted
                process are hidden.
        """
        # The writer hides the events of its step, too.
        first = None if purge_step is None else purge_step + 1
        self._writer = SummaryWriter(str(folder), purge_step=first)

    def scalars(self, values: dict[str, float], frames: int) -> None:
        """Write one point of each named curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, frames)

    def layout(self) -> None:
        """Define the custom-scalars page: adaptation in training and on held-out tasks.

        Episodes are matched by a pattern, so that runs with different K share their charts.
        """
        chart = "Multiline"
        self._writer.add_custom_scalars(
            {
                "Adaptation": {
                    "training: return of episode 1 … K": [chart, [r"adapt/return_ep\d+"]],
                    "test tasks: return of episode 1 … K": [chart, [r"eval/test/return_ep\d+"]],
                    "gain (last − first episode)": [chart, ["adapt/gain", "eval/test/gain"]],
                },
                "Learning": {
                    "losses": [chart, ["train/policy_loss", "train/value_loss"]],
                    "divergence and clipping": [chart, ["train/kl", "train/clip_fraction"]],
                },
            }
        )

    def interval_chart(self, page: str, name: str) -> None:
        """Define a page of custom scalars: `name` with the band from `name_low` to `name_high`."""
        band = ["Margin", [name, f"{name}_low", f"{name}_high"]]
        self._writer.add_custom_scalars({page: {name: band}})

    def text(self, name: str, markdown: str, frames: int) -> None:
        """Write a page of Markdown."""
        self._writer.add_text(name, markdown, frames)

    def gif(self, name: str, encoded: bytes, width: int, height: int, frames: int) -> None:
        """Show an encoded GIF on the Images page.

        `SummaryWriter.add_video` writes nothing with moviepy 2, and says so only in the log.
        """
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encoded
        )
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        writer = self._writer._get_file_writer()  # type: ignore[no-untyped-call]  # torch's
        writer.add_summary(summary, frames)

    def picture(self, name: str, image_HW3: npt.NDArray[np.uint8], frames: int) -> None:
        """Show a picture on the Images page."""
        self._writer.add_image(name, image_HW3, frames, dataformats="HWC")

    def hyperparameters(self, config: dict[str, Any], metrics: dict[str, float]) -> None:
        """Fill the HParams page: the flattened configuration beside the final metrics."""
        self._writer.add_hparams(_flatten(config), metrics, run_name=".")

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = str(value) if value is None else value
    return flat
