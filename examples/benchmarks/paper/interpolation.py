"""Interpolation (table 4): every other frame held out of the fit.

python examples/benchmarks/paper/interpolation.py clips/ --output results/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from experiment import UVG, Clip, Experiment, Figure, Row, bits_per_pixel, main, mean

import garv_gsplat as garv
from garv_gsplat.fitting import held_out
from garv_gsplat.measuring import compare, decoding_speed
from garv_gsplat.metrics import psnr_per_frame


@dataclass
class Interpolation(Experiment):
    """Frames 1, 3, 5 and so on are held out of the fit, all but the last, and decoded as every other frame is. PSNR is
    the mean over frames seen, over those held out, and of the average of the two source frames beside each of these."""

    bpp: float = 0.3
    """rate of the files"""

    name: ClassVar[str] = "interpolation"
    title: ClassVar[str] = "Interpolation, every other frame held out (table 4)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "bpp": ("bpp", ".3f"),
        "seen_psnr": ("frames seen, dB", ".2f"),
        "held_out_psnr": ("frames held out, dB", ".2f"),
        "average_psnr": ("average of neighbours, dB", ".2f"),
        "decode_fps": ("decoding, frames/s", ".0f"),
    }
    paper: ClassVar[list[Row]] = [
        {"by": "GaRV", **UVG, "held_out_psnr": 28.86, "decode_fps": 470.0},
        {"by": "HNeRV-Boost", **UVG, "held_out_psnr": 29.99, "decode_fps": 7.0},
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """One fit, and the averages beside it."""
        frames = clip.video.frames
        path = self.encode(clip, self.bpp, config=garv.FitConfig(hold_out=2), variant="hold_out_2")
        out = held_out(len(frames), 2)
        psnr = compare(path, frames, self.where).psnr
        yield {
            "bpp": bits_per_pixel(path),
            "seen_psnr": psnr[~out].mean().item(),
            "held_out_psnr": psnr[out].mean().item(),
            "average_psnr": psnr_per_frame(averages(frames, out), frames[out]).mean().item(),
            "decode_fps": decoding_speed(path, self.where),
        }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """Bars by clip."""
        axes = figure.add_subplot()
        for k, key in enumerate(("seen_psnr", "held_out_psnr", "average_psnr")):
            places = [place + 0.27 * (k - 1) for place in range(len(rows))]
            axes.bar(places, [row[key] for row in rows], 0.25, label=self.columns[key][0].removesuffix(", dB"))
        axes.set(ylabel="PSNR, dB", ylim=(15, None))
        axes.set_xticks(range(len(rows)), [row["clip"] for row in rows])
        axes.legend()

    def summary(self, rows: list[Row]) -> str:
        """Means over the clips."""
        held, average = mean(rows, "held_out_psnr"), mean(rows, "average_psnr")
        return f"frames held out {held:.2f} dB, averages of their neighbours {average:.2f} dB"


def averages(frames: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Of the frames before and after those held out [T] bool, uint8 [K, H, W, C]."""
    (inside,) = out.nonzero(as_tuple=True)
    return torch.stack([((frames[k - 1].float() + frames[k + 1].float()) / 2).round().to(torch.uint8) for k in inside])


if __name__ == "__main__":
    main(Interpolation)
