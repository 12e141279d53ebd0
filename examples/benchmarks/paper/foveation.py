"""Two encodings mixed by where a viewer looks (table 2).

python examples/benchmarks/paper/foveation.py clips/ --output results/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from experiment import UVG, Clip, Experiment, Figure, Row, by_clip, drain, main, mean

import garv_gsplat as garv


@dataclass
class Foveation(Experiment):
    """A window of the video's shape jumps to a random place every half a second. In it the encoding of the high rate is
    drawn, around it that of the low one. PSNR is over all pixels in the windows, and over all others, of 8-bit RGB
    frames decoded from the files. "mixed in" is the time that `garv_gsplat.mix` takes for Gaussians that are on the
    device, the file is written by `mix_files`. Memory is the most that tensors take on a GPU from opening the
    file to its last frame."""

    high: float = 0.06
    """rate of the encoding that is drawn where the viewer looks"""
    low: float = 0.02
    """rate of the other one"""
    part: float = 0.04
    """of the pixels that the viewer looks at"""
    seed: int = 0
    """of the places"""

    name: ClassVar[str] = "foveation"
    title: ClassVar[str] = "Foveation (section 4.4, table 2)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "file": ("file", ""),
        "bytes": ("bytes", ",d"),
        "inside_psnr": ("PSNR inside, dB", ".2f"),
        "outside_psnr": ("PSNR outside, dB", ".2f"),
        "batched_fps": ("batched, frames/s", ".0f"),
        "mb": ("memory, MB", ".0f"),
        "mix_ms": ("mixed in, ms", ".2f"),
    }
    paper: ClassVar[list[Row]] = [
        {"by": "GaRV", **UVG, "file": "mix", "inside_psnr": 32.06, "batched_fps": 240.0, "mb": 210.0, "mix_ms": 1.0},
        {"by": "HNeRV-Boost", **UVG, "inside_psnr": 32.34, "batched_fps": 7.0, "mb": 3500.0},
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """The mix, and what it was made from."""
        paths = [self.encode(clip, bpp) for bpp in (self.high, self.low)]
        region = garv.Region.random(clip.video.info, self.part, seed=self.seed)
        mask = region.mask(clip.video.info)
        files = [garv.GarvFile(path) for path in paths]
        mixed = self.output / f"{paths[0].stem}_{paths[1].stem}_{self.part:g}_seed{self.seed}_mix.garv"
        garv.save(mixed, garv.mix_files(files, [region]).data)
        high, low = (file.read().to(self.where) for file in files)
        mix_ms = 1e3 * self.seconds(lambda: garv.mix(high, low, region))
        for name, path in (("mix", mixed), ("high", paths[0]), ("low", paths[1])):
            self.note(f"{clip.path.stem}: {name}")
            decoder = garv.VideoDecoder(path, device=self.where, dimension_order="NHWC")
            inside, outside = _psnr(decoder, clip.video.frames, mask)
            yield {
                "file": name,
                "bytes": path.stat().st_size,
                "inside_psnr": inside,
                "outside_psnr": outside,
                "batched_fps": len(decoder) / self.seconds(lambda decoder=decoder: drain(decoder.frames())),
                "mb": self.memory(lambda path=path: drain(garv.VideoDecoder(path, device=self.where).frames())),
                "mix_ms": mix_ms if name == "mix" else None,
            }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """Quality inside over the bytes, of every clip."""
        axes = figure.add_subplot()
        for clip, some in by_clip(rows).items():
            points = {row["file"]: (row["bytes"] / 1e3, row["inside_psnr"]) for row in some}
            (line,) = axes.plot(*zip(points["low"], points["high"]), "o-", label=f"{clip}, low and high")
            axes.plot(*points["mix"], "*", markersize=12, color=line.get_color(), label=f"{clip}, mix")
        axes.set(xlabel="kB", ylabel="PSNR inside, dB")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)

    def summary(self, rows: list[Row]) -> str:
        """Means of all clips."""
        mixed, high, low = ([row for row in rows if row["file"] == name] for name in ("mix", "high", "low"))
        quality = ", ".join(
            f"{mean(some, 'inside_psnr'):.2f} dB in {mean(some, 'bytes') / 1e3:.1f} kB ({name})"
            for name, some in (("mix", mixed), ("high", high), ("low", low))
        )
        return f"inside {quality}; mixed in {mean(mixed, 'mix_ms'):.2f} ms"


def _psnr(decoder: garv.VideoDecoder, source: torch.Tensor, mask: torch.Tensor) -> tuple[float, float]:
    """dB over the pixels that a mask [T, H, W] holds, and over all others."""
    errors, counts = torch.zeros(2, dtype=torch.float64), torch.zeros(2)
    for index, frame in enumerate(frame for batch in decoder.frames() for frame in batch.cpu()):
        error = (frame.float() - source[index].float()).square().mean(2)
        for k, chosen in enumerate((mask[index], ~mask[index])):
            errors[k] += error[chosen].sum()
            counts[k] += chosen.sum()
    return tuple((10 * torch.log10(255**2 * counts / errors)).tolist())


if __name__ == "__main__":
    main(Foveation)
