"""What decoding costs at which quality (figure 3).

python examples/benchmarks/paper/decoding_cost.py clips/ --output results/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from experiment import UVG, Clip, Experiment, Figure, Row, bits_per_pixel, by_clip, drain, fit_seconds, main

import garv_gsplat as garv
from garv_gsplat.measuring import compare

STRIDE = 37
"""frames from one to the next that is asked for alone; prime, so that few come twice"""


@dataclass
class DecodingCost(Experiment):
    """Files of several rates, decoded to uint8 RGB on the device: frame by frame, each asked for alone and waited for,
    and all frames in batches, as many as one launch takes. Memory is the most that tensors take on a GPU from opening
    the file on, the Gaussians among them. PSNR is the mean over all frames."""

    bpp: tuple[float, ...] = (0.03, 0.06, 0.12, 0.24)
    """rates of the files"""

    name: ClassVar[str] = "decoding_cost"
    title: ClassVar[str] = "Cost of decoding against quality (figure 3)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "bpp": ("bpp", ".3f"),
        "psnr": ("PSNR, dB", ".2f"),
        "fit_seconds": ("fit, s", ".0f"),
        "alone_fps": ("one by one, frames/s", ".0f"),
        "batched_fps": ("batched, frames/s", ".0f"),
        "alone_mb": ("memory one by one, MB", ".0f"),
        "batched_mb": ("memory batched, MB", ".0f"),
    }
    paper: ClassVar[list[Row]] = [
        {"by": "GaRV", **UVG, "bpp": 0.06, "alone_fps": "470 to 500", "alone_mb": 210},
        {"by": "HNeRV-Boost", **UVG, "alone_fps": 7, "alone_mb": 3500},
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """A row a rate."""
        for bpp in self.bpp:
            yield {"wanted_bpp": bpp, **self._cost(clip, self.encode(clip, bpp))}

    def _cost(self, clip: Clip, path: Path) -> Row:
        decoder = garv.VideoDecoder(path, device=self.where)
        count = len(decoder)
        frames = cycle([k * STRIDE % count for k in range(count)])
        drain(decoder.frames())  # so that nothing is left to be read while frames are timed
        return {
            "bpp": bits_per_pixel(path),
            "num_gaussians": decoder.num_gaussians,
            "psnr": compare(path, clip.video.frames, self.where).psnr.mean().item(),
            "fit_seconds": fit_seconds(path),
            "alone_fps": 1 / self.seconds(lambda: decoder[next(frames)]),
            "batched_fps": count / self.seconds(lambda: drain(decoder.frames())),
            "alone_mb": self.memory(lambda: garv.VideoDecoder(path, device=self.where)[0]),
            "batched_mb": self.memory(lambda: drain(garv.VideoDecoder(path, device=self.where).frames())),
        }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """Speed over quality, and memory where it was measured."""
        panels = [("frames per second", "alone_fps", "batched_fps"), ("memory, MB", "alone_mb", "batched_mb")]
        panels = [panel for panel in panels if None not in [row[panel[1]] for row in rows]]
        for k, (label, alone, batched) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), k + 1)
            for index, (clip, some) in enumerate(by_clip(rows).items()):
                for key, style, how in ((alone, "-", "one by one"), (batched, "--", "batched")):
                    points = [row["psnr"] for row in some], [row[key] for row in some]
                    axes.plot(*points, style, marker="o", markersize=4, color=f"C{index}", label=f"{clip}, {how}")
            axes.set(xlabel="PSNR (dB)", ylabel=label, ylim=(0, None))
            axes.grid(alpha=0.3)
        axes.legend(fontsize=7)

    def summary(self, rows: list[Row]) -> str:
        """Speeds and qualities."""
        (low, high), speeds = ([f(row["psnr"] for row in rows) for f in (min, max)]), [row["alone_fps"] for row in rows]
        return f"{min(speeds):.0f} to {max(speeds):.0f} frames/s one by one, at {low:.2f} to {high:.2f} dB"


if __name__ == "__main__":
    main(DecodingCost)
