"""Two encodings mixed by where a viewer looks (table 2).

python examples/benchmarks/paper/foveation.py clips/ --output results/
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from experiment import UVG, Clip, Experiment, Figure, Row, drain, main

import garv_gsplat as garv


@dataclass
class Foveation(Experiment):
    """In a window of the video's shape at a random place the encoding of the high rate is drawn, around it that of the
    low one. Some windows stay where they are; another one jumps every half a second, which takes more of the high one,
    as its Gaussians outlive the look. PSNR is over all pixels in the windows, and over all others, of 8-bit RGB frames
    decoded from the files; beside a mix stand the two files it was made from, in the same windows. "taken" is what a
    mix's file is larger than the low one, as a part of the high one. "mixed in" is the time that `garv_gsplat.mix`
    takes for Gaussians that are on the device, the file is written by `mix_files`. Memory is the most that tensors
    take on a GPU from opening the file to its last frame."""

    high: float = 0.06
    """rate of the encoding that is drawn where the viewer looks"""
    low: float = 0.02
    """rate of the other one"""
    part: float = 0.04
    """of the pixels that the viewer looks at"""
    windows: int = 3
    """that stay where they are"""
    hold: float = 0.5
    """seconds from one jump to the next"""

    name: ClassVar[str] = "foveation"
    title: ClassVar[str] = "Foveation (section 4.4, table 2)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "window": ("window", ""),
        "bytes": ("bytes", ",d"),
        "taken": ("taken", ".1%"),
        "inside_psnr": ("PSNR inside, dB", ".2f"),
        "high_psnr": ("of the high one, dB", ".2f"),
        "outside_psnr": ("PSNR outside, dB", ".2f"),
        "low_psnr": ("of the low one, dB", ".2f"),
        "batched_fps": ("batched, frames/s", ".0f"),
        "mb": ("memory, MB", ".0f"),
        "mix_ms": ("mixed in, ms", ".2f"),
    }
    paper: ClassVar[list[Row]] = [
        {"by": "GaRV", **UVG, "inside_psnr": 32.06, "batched_fps": 240.0, "mb": 210.0, "mix_ms": 1.0},
        {"by": "HNeRV-Boost", **UVG, "inside_psnr": 32.34, "batched_fps": 7.0, "mb": 3500.0},
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """A mix for each window."""
        paths = [self.encode(clip, bpp) for bpp in (self.high, self.low)]
        for number in range(self.windows + 1):
            stays = number < self.windows
            hold = math.inf if stays else self.hold
            name = f"still {number + 1}" if stays else f"jumps every {hold:g} s"
            self.note(f"{clip.path.stem}: {name}")
            region = garv.Region.random(clip.video.info, self.part, hold, seed=number)
            yield {"window": name, **self._mix(clip, paths, region, f"{self.part:g}_{name.replace(' ', '_')}")}

    def _mix(self, clip: Clip, paths: list[Path], region: garv.Region, label: str) -> Row:
        files = [garv.GarvFile(path) for path in paths]
        mixed = self.output / f"{paths[0].stem}_{paths[1].stem}_{label}.garv"
        garv.save(mixed, garv.mix_files(files, [region]).data)
        high, low = (file.read().to(self.where) for file in files)
        decoder = garv.VideoDecoder(mixed, device=self.where, dimension_order="NHWC")
        mask = region.mask(clip.video.info)
        psnrs = [
            _psnr(garv.VideoDecoder(path, device=self.where, dimension_order="NHWC"), clip.video.frames, mask)
            for path in (mixed, *paths)
        ]
        return {
            "bytes": mixed.stat().st_size,
            "taken": (mixed.stat().st_size - files[1].size) / files[0].size,
            "inside_psnr": psnrs[0][0],
            "high_psnr": psnrs[1][0],
            "outside_psnr": psnrs[0][1],
            "low_psnr": psnrs[2][1],
            "batched_fps": len(decoder) / self.seconds(lambda: drain(decoder.frames())),
            "mb": self.memory(lambda: drain(garv.VideoDecoder(mixed, device=self.where).frames())),
            "mix_ms": 1e3 * self.seconds(lambda: garv.mix(high, low, region)),
        }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """Quality in the windows, of the mixes and of what they were made from."""
        axes = figure.add_subplot()
        places = range(len(rows))
        for name, key in (("mix, inside", "inside_psnr"), ("high, inside", "high_psnr")):
            axes.plot(places, [row[key] for row in rows], "o", label=name)
        for name, key in (("mix, outside", "outside_psnr"), ("low, outside", "low_psnr")):
            axes.plot(places, [row[key] for row in rows], "x", label=name)
        names = (f"{row['clip']}\n{row['window']}\n{row['taken']:.0%} of high" for row in rows)
        axes.set_xticks(places, names, fontsize=6)
        axes.set(ylabel="PSNR, dB")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)

    def summary(self, rows: list[Row]) -> str:
        """Each window of the first clip."""
        some = (row for row in rows if row["clip"] == rows[0]["clip"])
        found = (
            f"{row['window']}: {row['inside_psnr']:.2f} dB ({row['high_psnr']:.2f}), {row['taken']:.1%} of the high one"
            for row in some
        )
        return f"{rows[0]['clip']}, {'; '.join(found)}"


def _psnr(decoder: garv.VideoDecoder, source: torch.Tensor, mask: torch.Tensor) -> tuple[float, float]:
    """dB over the pixels that a mask [T, H, W] holds, and over all others."""
    inside, whole = torch.zeros(2, dtype=torch.float64, device=decoder.device)
    first = 0
    for frames in decoder.frames():
        some = slice(first, first := first + len(frames))
        error = (frames.float() - source[some].to(frames.device)).square().mean(3)
        whole += error.sum()
        inside += (error * mask[some].to(frames.device)).sum()
    counts = mask.sum(), (~mask).sum()
    return tuple(10 * math.log10(255**2 * n / e) for n, e in zip(counts, (inside, whole - inside)))


if __name__ == "__main__":
    main(Foveation)
