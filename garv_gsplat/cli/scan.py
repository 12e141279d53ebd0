"""`garv scan`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from garv_gsplat.cli import CommandError


@dataclass
class Scan:
    """Show one row or column of a .garv over all of time, as an image; no frame is decoded.

    Example: garv scan video.garv --output row.png --axis y --at 90
    """

    file: tyro.conf.Positional[Path]
    """the .garv to look into"""
    output: Path
    """the .png to write"""
    at: float
    """which row or column, counted from 0"""
    axis: Literal["x", "y"] = "y"
    """y: a row, which the image shows from left to right, and time from top to bottom; x: a column, which it shows from
    top to bottom, and time from left to right"""
    size: tuple[int, int] | None = None
    """width and height of the image; a pixel for each pixel and frame if not given"""
    device: str | None = None
    """cpu, cuda or cuda:N; a GPU if there is one when not given"""

    def run(self) -> int:
        """Render the slice and save it; the exit code."""
        from PIL import Image

        from garv_gsplat.cli.decode import check_png
        from garv_gsplat.cli.devices import parse_device
        from garv_gsplat.cli.display import progress_bars, result
        from garv_gsplat.decoder import VideoDecoder
        from garv_gsplat.video import check_writable

        if self.output.suffix != ".png":
            raise CommandError(f"{self.output}: must end in .png")
        check_writable(self.output)
        decoder = VideoDecoder(self.file, device=parse_device(self.device), dimension_order="NHWC")
        check_png(self.output, decoder.metadata)
        with progress_bars() as bars:
            task = bars.add_task("scanning", total=1, note="")
            try:
                image = decoder.line_scan(self.axis, self.at, size=self.size).cpu().numpy()
            except ValueError as error:
                raise CommandError(str(error)) from error
            Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(self.output)
            bars.advance(task)
        result(
            f"{self.output}: {self.axis} = {self.at:g} over {len(decoder)} frames, {image.shape[1]}x{image.shape[0]}"
        )
        return 0
