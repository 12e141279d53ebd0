"""What several commands share: which frames are meant, and what may be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from garv_gsplat.cli import CommandError

if TYPE_CHECKING:
    from garv_gsplat.volume import VideoInfo


def chosen_frames(
    info: VideoInfo, frames: tuple[int, int] | None, time: tuple[float, float] | None, fps: float | None = None
) -> Sequence[float]:
    """The numbers of the frames that --frames, --time and --fps ask for. CommandError where there are none."""
    if frames is not None and time is not None:
        raise CommandError("--frames and --time say the same; give one of them")
    if frames is not None and not 0 <= frames[0] < frames[1] <= info.frames:
        raise CommandError(f"--frames must rise within 0 to {info.frames}, got {frames[0]} {frames[1]}")
    if fps is None and time is None:
        return range(*(frames or (0, info.frames)))
    if time is None:
        first, last = frames or (0, info.frames)
        time = (float(info.seconds(first)), float(info.seconds(last - 1) + info.frame_duration(last - 1)))
    try:
        numbers = info.frames_between(*time, fps)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if len(numbers) == 0:
        raise CommandError(f"--time {time[0]:g} {time[1]:g} shows no frame; let it rise")
    return numbers


def shown_info(info: VideoInfo, numbers: Sequence[float], size: tuple[int, int], fps: float | None) -> VideoInfo:
    """The video that chosen frames make when they are shown in turn at a size (width, height)."""
    times, rate = None, info.frame_rate if fps is None else fps
    if fps is None and info.timestamps is not None:
        times = tuple(info.seconds(n) - info.seconds(numbers[0]) for n in numbers)
    size = {"width": size[0], "height": size[1], "frames": len(numbers)}
    return replace(info, **size, frame_rate=rate, timestamps=times, motion=None)


def keep_source(output: Path, file: Path) -> None:
    """CommandError where `output` is the file that is read."""
    if output.is_file() and file.exists() and output.samefile(file):
        raise CommandError(f"{output}: is the .garv itself, which would be overwritten; give another name")
