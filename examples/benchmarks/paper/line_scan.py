"""Line scans (section 4.1, equation 7): the xt image of a row.

python examples/benchmarks/paper/line_scan.py clips/ --output results/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from experiment import UVG, Clip, Experiment, Figure, Row, bits_per_pixel, main, mean

import garv_gsplat as garv
from garv_gsplat.metrics import psnr_per_frame


@dataclass
class LineScan(Experiment):
    """The middle row of all frames as one image, columns x and rows t: as one slice of the volume across y, and by
    decoding all frames and taking the row out of each. PSNR is that of either image against the source's rows."""

    bpp: float = 0.1
    """rate of the files"""
    images: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    """the scans [T, W, 3] by clip, for the figure"""

    name: ClassVar[str] = "line_scan"
    title: ClassVar[str] = "Line scan of a row (section 4.1, equation 7)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "bpp": ("bpp", ".3f"),
        "scan_ms": ("line scan, ms", ".2f"),
        "scan_psnr": ("its PSNR, dB", ".2f"),
        "frames_ms": ("all frames, ms", ".1f"),
        "frames_psnr": ("their PSNR, dB", ".2f"),
    }
    paper: ClassVar[list[Row]] = [
        {"by": "GaRV", **UVG, "scan_ms": 8.0},
        {"by": "E-NeRV", **UVG, "frames_ms": 8000.0},
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """Both ways to the same image."""
        path = self.encode(clip, self.bpp)
        decoder = garv.VideoDecoder(path, device=self.where, dimension_order="NHWC")
        row = decoder.metadata.height // 2

        def scan() -> torch.Tensor:
            return decoder.line_scan("y", row)

        def from_frames() -> torch.Tensor:
            return torch.cat([frames[:, row] for frames in decoder.frames()])

        source = clip.video.frames[:, row].to(self.where)[None]
        scanned, taken = scan(), from_frames()
        self.images[clip.path.stem] = scanned.cpu().numpy()
        yield {
            "bpp": bits_per_pixel(path),
            "row": row,
            "scan_ms": 1e3 * self.seconds(scan),
            "scan_psnr": psnr_per_frame(scanned[None], source).item(),
            "frames_ms": 1e3 * self.seconds(from_frames),
            "frames_psnr": psnr_per_frame(taken[None], source).item(),
        }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """The first clip's scan."""
        axes = figure.add_subplot()
        axes.imshow(self.images[rows[0]["clip"]], aspect="auto", interpolation="nearest")
        axes.set(title=f"{rows[0]['clip']}: row {rows[0]['row']} over time", xlabel="x", ylabel="frame")

    def summary(self, rows: list[Row]) -> str:
        """Times of both."""
        return (
            f"a line scan in {mean(rows, 'scan_ms'):.2f} ms, by way of all frames in {mean(rows, 'frames_ms'):.1f} ms"
        )


if __name__ == "__main__":
    main(LineScan)
