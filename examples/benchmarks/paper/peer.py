"""Beside a decoder of videos: random frames, frames in turn and a crop, out of a .garv and out of H.264.

python examples/benchmarks/paper/peer.py clips/ --output results/
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import ClassVar

import torch
from experiment import Clip, Experiment, Figure, Row, bits_per_pixel, main
from peer_decoders import Decoder, Garv, find_peer

from garv_gsplat.bench.machine import device_name
from garv_gsplat.metrics import psnr
from garv_gsplat.video import picture_stream


@dataclass
class Peer(Experiment):
    """Ten random frames asked for one by one, from an open decoder and with opening it; the first 100 frames (or all)
    in one call; and a tenth of the pixels of these, from the middle. uint8 RGB tensors where the decoder works: on the
    CPU, or on the GPU if there is one. The peer is torchcodec where it is installed and finds its FFmpeg libraries,
    otherwise PyAV, which seeks and decodes on; its file is x264's, preset medium, a key frame every 250 frames, of the
    .garv's rate. PSNR is that of the random frames."""

    bpp: float = 0.1
    """rate of both files"""

    name: ClassVar[str] = "peer"
    title: ClassVar[str] = "Random access beside a decoder of H.264"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "bpp": ("bpp", ".3f"),
        "psnr": ("PSNR, dB", ".2f"),
        "random_fps": ("10 random frames, frames/s", ".1f"),
        "opened_fps": ("with opening, frames/s", ".1f"),
        "sequential_fps": ("100 in turn, frames/s", ".0f"),
        "crop_fps": ("a tenth of the pixels, frames/s", ".0f"),
    }
    paper: ClassVar[list[Row]] = []

    def measure(self, clip: Clip) -> Iterator[Row]:
        """A row a decoder and device."""
        ours = self.encode(clip, self.bpp)
        theirs, made = self.baseline(clip, "x264", self.bpp)
        cpu = torch.device("cpu")
        for device in dict.fromkeys((cpu, self.where)):
            facts = {"by": "garv-gsplat", "device": device_name(device), "bpp": bits_per_pixel(ours)}
            yield {**facts, **self._time(clip, partial(Garv, ours, device), device)}
        peer = find_peer(theirs)
        facts = {
            "by": peer.__name__,
            "device": device_name(cpu),
            "bpp": 8 * picture_stream(theirs).bytes / clip.video.info.pixels,
        }
        yield {**facts, **self._time(clip, partial(peer, theirs), cpu), "file": made}

    def _time(self, clip: Clip, open_decoder: Callable[[], Decoder], device: torch.device) -> Row:
        info = clip.video.info
        chosen = random.Random(0).choices(range(info.frames), k=10)
        count = min(100, info.frames)
        width, height = (max(1, round(side * sqrt(0.1))) for side in (info.width, info.height))
        crop = ((info.width - width) // 2, (info.height - height) // 2, width, height)
        decoder = open_decoder()
        frames = torch.stack(one_by_one(decoder, chosen))
        return {
            "psnr": psnr(frames.cpu(), clip.video.frames[chosen]),
            "random_fps": 10 / self.seconds(lambda: one_by_one(decoder, chosen), device),
            "opened_fps": 10 / self.seconds(lambda: one_by_one(open_decoder(), chosen), device),
            "sequential_fps": count / self.seconds(lambda: decoder.first(count, None), device),
            "crop_fps": count / self.seconds(lambda: decoder.first(count, crop), device),
        }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """Speeds of the first clip."""
        some = [row for row in rows if row["clip"] == rows[0]["clip"]]
        keys = ("random_fps", "opened_fps", "sequential_fps", "crop_fps")
        axes = figure.add_subplot()
        for index, row in enumerate(some):
            places = [k + index / (len(some) + 1) for k in range(len(keys))]
            bars = axes.bar(places, [row[key] for key in keys], 1 / (len(some) + 1))
            bars.set_label(f"{row['by']}, {row['device']}")
            axes.bar_label(bars, fmt="%.0f", fontsize=7)
        axes.set_xticks(range(len(keys)), [self.columns[key][0] for key in keys], fontsize=7)
        axes.set(ylabel="frames per second", yscale="log", title=rows[0]["clip"])
        figure.legend(loc="outside lower center", fontsize=7)

    def summary(self, rows: list[Row]) -> str:
        """Random frames of the first clip."""
        some = [row for row in rows if row["clip"] == rows[0]["clip"]]
        speeds = (f"{row['random_fps']:.1f} by {row['by']} on {row['device']}" for row in some)
        return f"{rows[0]['clip']}: random frames per second {', '.join(speeds)}"


def one_by_one(decoder: Decoder, indices: Sequence[int]) -> list[torch.Tensor]:
    """Frames, each by a call of its own."""
    return [decoder.frame(index) for index in indices]


if __name__ == "__main__":
    main(Peer)
