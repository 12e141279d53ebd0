"""What a crop costs (figure 5).

python examples/benchmarks/paper/partial_decoding.py clips/ --output results/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from math import sqrt
from pathlib import Path
from typing import ClassVar

from experiment import UVG, Clip, Experiment, Figure, Row, bits_per_pixel, by_clip, drain, main

import garv_gsplat as garv


@dataclass
class PartialDecoding(Experiment):
    """The middle part of the frames, of the video's shape and a fraction of its pixels. "crop=" selects in every frame
    what reaches into the crop; "cropped" is a decoder of its own that kept only such Gaussians, and "discard" the time
    that making it takes. Each frame by frame (alone) and in batches. Memory is the most that tensors take on a GPU: for
    "crop=" from opening the file on, for "cropped" on top of the decoder that it was made from, for frames alone."""

    bpp: float = 0.06
    """rate of the files"""
    fractions: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 0.317, 1 / 2, 1.0)
    """of the pixels; the paper's crop is 0.317"""

    name: ClassVar[str] = "partial_decoding"
    title: ClassVar[str] = "Cost of a part of the frame (figure 5)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "bpp": ("bpp", ".3f"),
        "size": ("crop", ""),
        "fraction": ("of the pixels", ".3f"),
        "select_fps": ("crop= alone, frames/s", ".0f"),
        "select_batched_fps": ("crop= batched, frames/s", ".0f"),
        "cropped_fps": ("cropped alone, frames/s", ".0f"),
        "cropped_batched_fps": ("cropped batched, frames/s", ".0f"),
        "discard_ms": ("discard, ms", ".2f"),
        "select_mb": ("crop= memory, MB", ".0f"),
        "cropped_mb": ("cropped memory, MB", ".0f"),
    }
    paper: ClassVar[list[Row]] = [
        {
            **{"by": "GaRV, beside its whole frame", **UVG, "bpp": 0.06, "size": "1080x608", "fraction": 0.317},
            **{"select_fps": "+250", "cropped_fps": "+500 (2x)", "discard_ms": 2.0},
            **{"select_mb": "-50", "cropped_mb": "-120 (a third left)"},
        },
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """A row a fraction."""
        path = self.encode(clip, self.bpp)
        decoder = garv.VideoDecoder(path, device=self.where)
        drain(decoder.frames())  # all is read, and frames of all fractions find it
        for fraction in self.fractions:
            self.note(f"{clip.path.stem}: {fraction:.3f} of the pixels")
            yield {"bpp": bits_per_pixel(path), "fraction": fraction, **self._crop(path, decoder, fraction)}

    def _crop(self, path: Path, decoder: garv.VideoDecoder, fraction: float) -> Row:
        info = decoder.metadata
        width, height = (max(1, round(side * sqrt(fraction))) for side in (info.width, info.height))
        crop = ((info.width - width) // 2, (info.height - height) // 2, width, height)
        box = garv.Box.from_pixels(info, *crop)
        part = decoder.cropped(box)
        frames = cycle(range(info.frames))

        def open_and_select() -> None:
            garv.VideoDecoder(path, device=self.where).get_frame_at(0, crop=crop)

        return {
            "size": f"{width}x{height}",
            "num_gaussians": part.num_gaussians,
            "select_fps": 1 / self.seconds(lambda: decoder.get_frame_at(next(frames), crop=crop)),
            "select_batched_fps": info.frames / self.seconds(lambda: drain(decoder.frames(crop=crop))),
            "cropped_fps": 1 / self.seconds(lambda: part[next(frames)]),
            "cropped_batched_fps": info.frames / self.seconds(lambda: drain(part.frames())),
            "discard_ms": 1e3 * self.seconds(lambda: decoder.cropped(box)),
            "select_mb": self.memory(open_and_select),
            "cropped_mb": self.memory(lambda: decoder.cropped(box)[0]),
        }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """Time of a frame over the fraction, alone and in batches."""
        for k, how in enumerate(("fps", "batched_fps")):
            axes = figure.add_subplot(1, 2, k + 1)
            for index, (clip, some) in enumerate(by_clip(rows).items()):
                for way, style, label in (("select", "-", "crop="), ("cropped", "--", "cropped()")):
                    points = [row["fraction"] for row in some], [1e3 / row[f"{way}_{how}"] for row in some]
                    axes.plot(*points, style, marker="o", markersize=4, color=f"C{index}", label=f"{clip}, {label}")
            title = "one by one" if how == "fps" else "batched"
            axes.set(xlabel="fraction of the pixels", ylabel="ms a frame", xlim=(0, None), ylim=(0, None), title=title)
            axes.grid(alpha=0.3)
        axes.legend(fontsize=7)

    def summary(self, rows: list[Row]) -> str:
        """The smallest crop of the first clip."""
        row = min(rows, key=lambda row: row["fraction"])
        return (
            f"{row['clip']}, a crop of {row['size']}: {row['select_fps']:.0f} frames/s by crop=, "
            f"{row['cropped_fps']:.0f} after discarding in {row['discard_ms']:.2f} ms"
        )


if __name__ == "__main__":
    main(PartialDecoding)
