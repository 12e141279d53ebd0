"""What peer.py compares: this package's decoder and two of videos, by the same few calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import av
import torch

import garv_gsplat as garv
from garv_gsplat.grids import Window


class Decoder(Protocol):
    """What is compared: all give uint8 RGB."""

    def frame(self, index: int) -> torch.Tensor:
        """One frame [H, W, 3], asked for alone."""

    def first(self, count: int, crop: Window | None) -> torch.Tensor:
        """The first frames [count, h, w, 3], or a part of each."""


class Garv:
    """This package's."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self._decoder = garv.VideoDecoder(path, device=device, dimension_order="NHWC")

    def frame(self, index: int) -> torch.Tensor:
        """Rendered on its own."""
        return self._decoder[index]

    def first(self, count: int, crop: Window | None) -> torch.Tensor:
        """Only what is asked for."""
        return self._decoder.get_frames_in_range(0, count, crop=crop).data


class PyAV:
    """FFmpeg with its threads: seek to the key frame before, decode on from there."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path))
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"

    def frame(self, index: int) -> torch.Tensor:
        """Of the frames after the key frame the one at the index's time."""
        tick = self._stream.time_base * self._stream.average_rate  # in frames
        self._container.seek(round(index / tick), stream=self._stream)
        frames = self._container.decode(self._stream)
        return torch.from_numpy(next(f for f in frames if round(f.pts * tick) == index).to_ndarray(format="rgb24"))

    def first(self, count: int, crop: Window | None) -> torch.Tensor:
        """In turn; whole frames are decoded, a part is taken of what they hold."""
        self._container.seek(0, stream=self._stream)
        frames = zip(range(count), self._container.decode(self._stream))
        x, y, w, h = crop or (0, 0, self._stream.width, self._stream.height)
        return torch.stack([torch.from_numpy(f.to_ndarray(format="rgb24"))[y : y + h, x : x + w] for _, f in frames])


class TorchCodec:
    """torchcodec on the CPU, with a thread for every CPU."""

    def __init__(self, path: Path) -> None:
        from torchcodec.decoders import VideoDecoder

        self._decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=os.cpu_count())

    def frame(self, index: int) -> torch.Tensor:
        """By its index, which torchcodec finds exactly."""
        return self._decoder[index]

    def first(self, count: int, crop: Window | None) -> torch.Tensor:
        """Whole frames, of which a part is taken."""
        x, y, w, h = crop or (0, 0, self._decoder.metadata.width, self._decoder.metadata.height)
        return self._decoder.get_frames_in_range(0, count).data[:, y : y + h, x : x + w].contiguous()


def find_peer(path: Path) -> type[TorchCodec] | type[PyAV]:
    """torchcodec where it can open the file, else PyAV."""
    try:
        TorchCodec(path)
    except (ImportError, RuntimeError):  # not installed, or without the FFmpeg libraries that it loads
        return PyAV
    return TorchCodec
