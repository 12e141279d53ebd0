"""The video, or the part of one, that files are compared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av

from garv_gsplat.video import Video, native_frames, read_info, read_video


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames to compare with, and where they come from, so that they can be encoded from what is stored there."""

    path: Path
    """a video file or a folder of images"""
    video: Video
    """its part, decoded"""
    part: dict[str, float | int | None]
    """start and duration in seconds and max_frames, as `read_video` takes them"""

    def native_frames(self) -> Iterator[av.VideoFrame]:
        """The same frames, decoded again one by one, as they are stored; see `video.native_frames`."""
        return native_frames(self.path, **self.part)


def read_clip(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    duration: float | None = None,
    max_frames: int | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> Clip:
    """Decode a video or a part of it, as `read_video`.

    on_frame: called with the frames read so far, and all.
    Raises VideoError as `read_video`.
    """
    part = {"start": start, "duration": duration, "max_frames": max_frames}
    total = read_info(path, **part).frames
    step = None if on_frame is None else (lambda count: on_frame(count, total))
    return Clip(Path(path), read_video(path, **part, on_frame=step), part)
