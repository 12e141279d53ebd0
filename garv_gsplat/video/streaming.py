"""A video without holding all of it: its frames as they are stored, as RGB in batches, and the bytes they take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from garv_gsplat.video.container import Clock, upright
from garv_gsplat.video.frames import VideoError
from garv_gsplat.video.images import image_frames, is_image_path
from garv_gsplat.video.source import open_source
from garv_gsplat.video.timing import Window


@dataclass(frozen=True)
class PictureStream:
    """The stream of a video file that holds its pictures."""

    codec: str
    """FFmpeg's name: h264, hevc, av1, ..."""
    bytes: int
    """of its packets alone, without sound, subtitles, and what the container adds"""


def picture_stream(path: str | os.PathLike[str]) -> PictureStream:
    """Read all packets of a video file and count the bytes of its pictures.

    Raises VideoError for what is no video file, or is damaged.
    """
    source = Path(path)
    if is_image_path(source):
        raise VideoError(f"{source}: is made of images, whose bytes are no video's; give a video file")
    with open_source(source) as opened:
        try:
            size = sum(packet.size for packet in opened.container.demux(opened.stream))
        except av.error.FFmpegError as error:
            raise VideoError(f"{source}: is damaged ({error.strerror}); give another copy") from error
        return PictureStream(opened.codec, size)


def native_frames(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    duration: float | None = None,
    max_frames: int | None = None,
) -> Iterator[av.VideoFrame]:
    """Decode the part of a video that `read_video` takes with the same arguments, frame by frame, as it is stored.

    Frames of a video file are in its own pixel format and not yet turned upright; those of a folder of images are
    rgb24. Damage is passed over. Raises VideoError for what cannot be opened.
    """
    source = Path(path)
    window = Window.parse(source.name, start, duration, max_frames)
    if is_image_path(source):
        for pixels in image_frames(source, window):
            yield av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        return
    with open_source(source) as opened:
        yield from Clock(opened).frames(window)


def rgb_batches(path: str | os.PathLike[str], batch: int) -> Iterator[Tensor]:
    """The frames of a video file as `read_video` gives them, `batch` at a time: [B, H, W, 3] uint8 on the CPU."""
    frames = native_frames(path)
    while pixels := [upright(Path(path), frame) for frame in islice(frames, batch)]:
        yield torch.from_numpy(np.stack(pixels))
