"""Reading videos: which reader takes a path, and the two public functions."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from garv_gsplat.video.container import container_info, read_container
from garv_gsplat.video.frames import WANTED, Video, VideoError
from garv_gsplat.video.images import images_info, is_image_path, read_images
from garv_gsplat.video.timing import Window
from garv_gsplat.volume import VideoInfo


def read_video(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    duration: float | None = None,
    max_frames: int | None = None,
    frame_rate: int | float | Fraction | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Video:
    """Decode a video file, a folder of images, or one image.

    Frames outside the asked range are decoded but not kept. `estimate_bytes(read_info(...))` with the same
    arguments says how much memory the result takes.

    Args:
        path: the file or folder.
        start: seconds from the first frame; the first frame shown at or after it becomes frame 0.
        duration: seconds to take from `start` on; to the end if not given.
        max_frames: most frames to take.
        frame_rate: frames per second of a folder of images (25 if not given); videos have their own.
        on_frame: called after every frame kept, with the number of frames so far.

    Raises:
        VideoError: nothing can be read from the path, or nothing lies in the asked range.
    """
    source, window = check_source(path, start, duration, max_frames, frame_rate)
    if is_image_path(source):
        return read_images(source, window, frame_rate, on_frame)
    return read_container(source, window, on_frame)


def read_info(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    duration: float | None = None,
    max_frames: int | None = None,
    frame_rate: int | float | Fraction | None = None,
) -> VideoInfo:
    """What `read_video` with these arguments will deliver, without decoding it where the file allows.

    Image headers or a video's packets are read; a video whose packets do not say how many frames there are is decoded,
    frame by frame.

    Raises:
        VideoError: as `read_video` does, but damage inside the frames is only found by reading them.
    """
    source, window = check_source(path, start, duration, max_frames, frame_rate)
    if is_image_path(source):
        return images_info(source, window, frame_rate)
    return container_info(source, window)


def check_source(
    path: str | os.PathLike[str],
    start: float | None,
    duration: float | None,
    max_frames: int | None = None,
    frame_rate: int | float | Fraction | None = None,
) -> tuple[Path, Window]:
    """Refuse what no reader could take; the arguments are those of `read_video`."""
    source = Path(path)
    window = Window.parse(source.name, start, duration, max_frames)
    try:
        size = source.stat().st_size
    except OSError as error:
        reason = "no such file or folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise VideoError(f"{source}: {reason}; {WANTED}") from error
    if source.is_file() and size == 0:
        raise VideoError(f"{source}: the file is empty; {WANTED}")
    if frame_rate is not None and not is_image_path(source):
        raise VideoError(f"{source}: frame_rate is for folders of images, a video has its own; leave it out")
    return source, window
